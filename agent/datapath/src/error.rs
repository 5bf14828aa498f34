//! What can go wrong.

use std::{io, path::PathBuf};

use mesh_abi::{MapSpec, WrongLength};
use mesh_types::FrontendAddress;

use crate::sys::Command;

/// An operation on the datapath that failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {act}")]
pub struct DatapathError {
    /// What was being done, such as "write map `cilium_lb4_services_v2`".
    pub act: String,
    /// Why it failed.
    #[source]
    pub kind: DatapathErrorKind,
}

impl DatapathError {
    pub(crate) fn new(act: impl Into<String>, kind: impl Into<DatapathErrorKind>) -> Self {
        Self { act: act.into(), kind: kind.into() }
    }

    /// Whether the same operation may succeed later: the kernel was out of memory or a map was full (`E2BIG` of a hash
    /// map, `ENOSPC` of a trie).
    pub fn is_retryable(&self) -> bool {
        match &self.kind {
            DatapathErrorKind::Bpf { source, .. } => {
                matches!(
                    source.raw_os_error(),
                    Some(libc::ENOMEM | libc::E2BIG | libc::ENOSPC | libc::EAGAIN | libc::EINTR | libc::EBUSY)
                )
            }
            DatapathErrorKind::NoServiceId { .. } | DatapathErrorKind::NoBackendId => true,
            _ => false,
        }
    }
}

/// What is wrong with the embedded object.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// It is no ELF file for BPF, or lacks a variable.
    #[error("it cannot be parsed")]
    Parse(#[source] Box<aya_obj::ParseError>),
    /// It refers to something that is not there.
    #[error("it cannot be relocated")]
    Relocate(#[source] Box<aya_obj::relocation::EbpfRelocationError>),
    /// It uses a map that the agent does not make.
    #[error("it uses the unknown map `{0}`")]
    Map(String),
}

/// Why an operation on the datapath failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatapathErrorKind {
    /// The kernel refused a `bpf(2)` command.
    #[error("the kernel refused `{command}`")]
    Bpf {
        /// The command.
        command: Command,
        /// The error number.
        #[source]
        source: io::Error,
    },
    /// A file or directory could not be used.
    #[error("cannot use `{path}`")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A directory is not on the file system that it must be on.
    #[error("`{path}` is not on a {expected} file system (mount one with `{hint}`)")]
    FileSystem {
        /// The directory.
        path: PathBuf,
        /// Type of the file system that is needed.
        expected: &'static str,
        /// A command that makes it so.
        hint: String,
    },
    /// The embedded object could not be read or relocated.
    #[error("the BPF object was rejected")]
    Object(#[source] ObjectError),
    /// The kernel's verifier rejected a program.
    #[error("the verifier rejected it:\n{log}")]
    Verifier {
        /// The end of what it says.
        log: String,
        /// The error number.
        #[source]
        source: io::Error,
    },
    /// The embedded object lacks a program.
    #[error("the BPF object has no such program")]
    NoProgram,
    /// A pinned map is not the one that it should be.
    #[error("found {found}, expected {expected}")]
    Shape {
        /// Type, sizes and flags found.
        found: String,
        /// Type, sizes and flags that Cilium 1.19 gives it.
        expected: String,
    },
    /// All 65,535 service ids are taken.
    #[error("no free service id for frontend {frontend}")]
    NoServiceId {
        /// The frontend that got none.
        frontend: FrontendAddress,
    },
    /// All backend ids are taken.
    #[error("no free backend id")]
    NoBackendId,
    /// A frontend has more backends than slots can be numbered.
    #[error("frontend {frontend} has {found} backends, at most 65535 fit")]
    TooManyBackends {
        /// The frontend.
        frontend: FrontendAddress,
        /// Number of its backends.
        found: usize,
    },
}

/// Keys or values of another size than the map's.
pub(crate) fn wrong_length(map: &MapSpec, WrongLength { found, expected }: WrongLength) -> DatapathError {
    let kind = DatapathErrorKind::Shape { found: format!("{found} bytes"), expected: format!("{expected} bytes") };
    DatapathError::new(format!("decode map `{map}`"), kind)
}
