//! Kernels by name, and where they come from.

use std::path::{Path, PathBuf};

use crate::Diagnostics;

/// The kernels that are known when no file is given.
const DEFAULT: &str = include_str!("../../../fixtures/kernels.yaml");
/// What findings about [`DEFAULT`] call it.
const DEFAULT_FILE: &str = "fixtures/kernels.yaml";

/// Kernels, as a file of `kind: Kernels` lists them: the oldest first. Names are unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernels {
    pub(crate) kernels: Vec<KernelSpec>,
}

impl Kernels {
    /// Reads and checks the file `path`.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Diagnostics> {
        crate::read_kernels::load(path.as_ref())
    }

    /// Reads and checks `text`; `file_name` is what findings call it.
    pub fn parse(text: &str, file_name: impl AsRef<Path>) -> Result<Self, Diagnostics> {
        crate::read_kernels::parse(text, file_name.as_ref())
    }

    /// All of them, in the order of the file.
    pub fn all(&self) -> &[KernelSpec] {
        &self.kernels
    }

    /// The one with this name.
    pub fn find(&self, name: &str) -> Option<&KernelSpec> {
        self.kernels.iter().find(|kernel| kernel.name == name)
    }
}

impl Default for Kernels {
    /// Those of the project, from the file that is built in.
    fn default() -> Self {
        Self::parse(DEFAULT, DEFAULT_FILE).expect("the file that is built in is valid, a test holds that")
    }
}

/// A kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelSpec {
    pub(crate) name: String,
    pub(crate) source: KernelSource,
}

impl KernelSpec {
    /// Its name, such as `5.10`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it comes from.
    pub fn source(&self) -> &KernelSource {
        &self.source
    }
}

/// Where a kernel comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelSource {
    /// A package of Debian, with those that it depends on in the same version.
    Debian {
        /// Suite, such as `bullseye`.
        suite: String,
        /// Name of the package; `*` stands for any text, and the newest that fits counts.
        package: String,
    },
    /// Files of this machine.
    Path {
        /// The image that boots.
        image: PathBuf,
        /// Folder of its modules, `lib/modules/<release>`.
        modules: Option<PathBuf>,
    },
    /// An image with `/boot/vmlinuz*` and `/lib/modules`, as cilium/ci-kernels publishes them.
    Oci {
        /// Its reference, such as `registry.example/ci-kernels:6.6`, or one with a transport of containers-transports(5).
        reference: String,
    },
}
