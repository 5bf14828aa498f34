//! The agent's hand on the datapath: makes the pinned BPF maps equal to what the agent wants, and keeps the socket
//! load balancer attached to the node's cgroup. Two traits are its face: [`Datapath`] for frontends and [`Ipcache`] for
//! addresses. They share nothing but the directory of the pins.
//!
//! It is no place for decisions: which backends a frontend has is settled before (`mesh-core`). What happens here is
//! the step from *desired* to *actual*: ids, slot order, write order, and writing nothing that is there already.
//!
//! The design choice: **the maps are the state**. A mirror of their contents ([`Contents`]) is read once at the start
//! and changed only by writes that succeeded; every plan is made from that mirror. So a restart, an interrupted
//! write and an ordinary update are the same case, and there is no second copy of the truth to fall out of step.
//!
//! | module | what |
//! |---|---|
//! | [`plan`] | desired frontend + contents -> writes in Cilium's order; pure |
//! | [`balancer`] | runs plans against a [`MapStore`] |
//! | [`ipcache`] | the same for addresses: contents, plans, the map in memory |
//! | [`bpf`] | the kernel's maps and programs: [`BpfDatapath`], [`BpfIpcache`] |
//! | [`memory`] | maps in memory, with a record of all writes: [`RecordingDatapath`] |
//! | [`list`] | what `mesh-agent bpf lb list` and `bpf ipcache list` print |
//! | [`sys`] | raw `bpf(2)` |

#[cfg(test)]
extern crate self as mesh_datapath;

pub mod balancer;
pub mod bpf;
mod contents;
mod error;
mod ids;
pub mod ipcache;
pub mod list;
pub mod memory;
pub mod plan;
mod store;
pub mod sys;
mod write;

use std::collections::BTreeSet;

use mesh_types::{Frontend, FrontendAddress};

pub use balancer::Balancer;
pub use bpf::{BpfDatapath, BpfIpcache, Options};
pub use contents::Contents;
pub use error::{DatapathError, DatapathErrorKind, ObjectError};
pub use ipcache::{Ipcache, IpcacheChange, IpcacheContents, RecordingIpcache};
pub use memory::RecordingDatapath;
pub use store::{Interrupted, MapSource, MapStore, RawEntry};
pub use write::Write;

/// How many map entries an operation touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Entries written.
    pub written: usize,
    /// Entries removed.
    pub removed: usize,
}

impl Changed {
    /// Whether nothing had to be done.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

impl std::ops::AddAssign for Changed {
    fn add_assign(&mut self, other: Self) {
        self.written += other.written;
        self.removed += other.removed;
    }
}

/// Something that sends connections to frontends on to backends.
pub trait Datapath {
    /// Makes `frontend` be served by exactly its backends.
    ///
    /// # Errors
    ///
    /// When a map cannot be written. What was written until then stays, in an order in which every intermediate state
    /// is safe; the same call again finishes the work.
    fn upsert(&mut self, frontend: &Frontend) -> Result<Changed, DatapathError>;

    /// Forgets a frontend. Unknown ones are no error.
    ///
    /// # Errors
    ///
    /// As [`upsert`](Self::upsert).
    fn delete(&mut self, address: &FrontendAddress) -> Result<Changed, DatapathError>;

    /// Forgets every frontend that is not in `keep`, and every entry that nothing refers to. For the moment in which
    /// all sources are known after a restart.
    ///
    /// # Errors
    ///
    /// As [`upsert`](Self::upsert).
    fn prune(&mut self, keep: &BTreeSet<FrontendAddress>) -> Result<Changed, DatapathError>;

    /// Whether there were frontends in the maps when the datapath was opened. If so, nothing may be deleted before
    /// all sources are known.
    fn restored(&self) -> bool;
}
