//! What can go wrong with kernels and guests.

use std::{io, path::PathBuf};

/// Why a guest could not be made or run.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// A file operation failed.
    #[error("failed to {act}")]
    Io {
        /// What was tried.
        act: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program of the host is missing or refused.
    #[error("`{program}` failed: {why}")]
    Program {
        /// Its name.
        program: String,
        /// Its own words, or how to get it.
        why: String,
    },
    /// A file is not what it should be.
    #[error("cannot use `{}`: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A kernel cannot be had.
    #[error("kernel `{name}`: {why}")]
    Kernel {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// QEMU ended before the guest said anything.
    #[error("the guest did not start: {0}")]
    NoGuest(String),
}

impl VmError {
    /// For `map_err`: `act` failed.
    pub(crate) fn io(act: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let act = act.into();
        move |source| Self::Io { act, source }
    }

    pub(crate) fn file(path: impl Into<PathBuf>, why: impl Into<String>) -> Self {
        Self::File { path: path.into(), why: why.into() }
    }

    pub(crate) fn kernel(name: &str, why: impl Into<String>) -> Self {
        Self::Kernel { name: name.to_owned(), why: why.into() }
    }

    pub(crate) fn program(program: &str, why: impl Into<String>) -> Self {
        Self::Program { program: program.to_owned(), why: why.into() }
    }
}
