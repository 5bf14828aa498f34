//! The datapath of a node: pinned maps, and programs attached to its cgroup.
//!
//! Maps and links are pinned and therefore outlive the agent: while it is being restarted, connections are balanced
//! by the programs and entries of its predecessor. What is on the node's bpffs (`root` = [`Options::bpf_root`]):
//!
//! ```text
//! <root>/tc/globals/<map>                               cilium_lb4_services_v2, …, cilium_ipcache_v2
//! <root>/cilium/socketlb/links/cgroup/<program>         cil_sock4_connect, …
//! ```

mod file_system;
mod ipcache;
mod maps;
mod object;
mod programs;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use mesh_planted::{Defect, planted};
use mesh_types::{Frontend, FrontendAddress};

use crate::{Balancer, Changed, Contents, Datapath, DatapathError, sys};

use object::SetRetval;

pub use ipcache::{BpfIpcache, PinnedIpcache};
pub use maps::{PinnedMaps, globals};
pub use programs::{PROGRAMS, links};

/// Where a node's datapath is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The node's bpffs, such as `/sys/fs/bpf`.
    pub bpf_root: PathBuf,
    /// The cgroup v2 whose processes the programs serve.
    pub cgroup_root: PathBuf,
}

/// The kernel's datapath.
#[derive(Debug)]
pub struct BpfDatapath {
    balancer: Balancer<PinnedMaps>,
    options: Options,
}

impl BpfDatapath {
    /// Makes (or takes over) the maps, loads the programs and attaches them, or puts them in the place of those that
    /// are attached.
    ///
    /// # Errors
    ///
    /// When a directory is on the wrong file system, or the kernel refuses something.
    pub fn open(options: &Options) -> Result<Self, DatapathError> {
        Self::open_with(options, SetRetval::of_kernel())
    }

    fn open_with(options: &Options, set_retval: SetRetval) -> Result<Self, DatapathError> {
        file_system::check_bpffs(&options.bpf_root)?;
        file_system::check_cgroup2(&options.cgroup_root)?;
        if let Err(error) = sys::raise_memlock() {
            tracing::debug!(%error, "limit on locked memory stays; kernels before 5.11 may refuse maps");
        }
        if planted(Defect::RestartClearsMaps) {
            maps::remove(&options.bpf_root)?;
        }
        let balancer = Balancer::open(PinnedMaps::open(&options.bpf_root)?)?;
        programs::attach(&options.bpf_root, &options.cgroup_root, balancer.store(), set_retval)?;
        Ok(Self { balancer, options: options.clone() })
    }

    /// What is in the maps, as far as the agent wrote it.
    pub fn contents(&self) -> &Contents {
        self.balancer.contents()
    }

    /// Detaches the programs and removes all pins: the opposite of [`open`](Self::open), for an explicit clean-up.
    /// Merely dropping the value leaves everything in place.
    ///
    /// # Errors
    ///
    /// When a pin cannot be removed.
    pub fn remove(self) -> Result<(), DatapathError> {
        let root: &Path = &self.options.bpf_root;
        programs::detach(root)?;
        maps::remove(root)
    }
}

#[cfg(feature = "planted-defects")]
impl Drop for BpfDatapath {
    fn drop(&mut self) {
        if planted(Defect::RestartDetaches)
            && let Err(error) = programs::detach(&self.options.bpf_root)
        {
            tracing::error!(%error, "planted defect failed");
        }
    }
}

impl Datapath for BpfDatapath {
    fn upsert(&mut self, frontend: &Frontend) -> Result<Changed, DatapathError> {
        self.balancer.upsert(frontend)
    }

    fn delete(&mut self, address: &FrontendAddress) -> Result<Changed, DatapathError> {
        self.balancer.delete(address)
    }

    fn prune(&mut self, keep: &BTreeSet<FrontendAddress>) -> Result<Changed, DatapathError> {
        self.balancer.prune(keep)
    }

    fn restored(&self) -> bool {
        self.balancer.restored()
    }
}
