//! `cilium_ipcache_v2`: who is behind an address, and on which node.
//!
//! Made as the load balancer is: the map is the state, its mirror ([`IpcacheContents`]) is read once at the start and
//! changed only by writes that succeeded. There may be hundreds of thousands of entries, so changes come in lots, an
//! update costs no more than a search for each change, and the mirror takes 48 to 64 bytes an entry.
//!
//! | module | what |
//! |---|---|
//! | [`plan`] | changes + contents -> writes; pure |
//! | [`contents`] | the mirror |
//! | [`table`] | runs plans against a store |
//! | [`memory`] | a map in memory, with a record of all writes: [`RecordingIpcache`] |
//!
//! The kernel's map is [`BpfIpcache`](crate::BpfIpcache).

pub mod contents;
pub mod memory;
pub mod plan;
pub mod table;

use mesh_abi::{IpcacheKey, IpcacheValue};
use mesh_types::{IpPrefix, IpcacheEntry};

pub use contents::IpcacheContents;
pub use memory::RecordingIpcache;
pub use table::IpcacheTable;

use crate::{Changed, DatapathError, Interrupted};

/// A change of what is known of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpcacheChange {
    /// The prefix has this entry from now on.
    Upsert(IpPrefix, IpcacheEntry),
    /// The prefix has no entry any more. Unknown ones are no error.
    Delete(IpPrefix),
}

impl IpcacheChange {
    /// The prefix that is changed.
    pub fn prefix(&self) -> IpPrefix {
        match self {
            Self::Upsert(prefix, _) | Self::Delete(prefix) => *prefix,
        }
    }
}

/// Something that knows who is behind an address.
pub trait Ipcache {
    /// Makes many changes at once. Of several changes of a prefix the last one counts. Entries are written before any
    /// is removed, so that an address that moves from one prefix to another is known at every moment.
    ///
    /// # Errors
    ///
    /// When the map cannot be written. What was written until then stays; entries that are to go go even then, because a
    /// map may be too full for the new ones. The same call again finishes the work.
    fn update(&mut self, changes: &[IpcacheChange]) -> Result<Changed, DatapathError>;

    /// Forgets every prefix that is not to be kept, and every entry that is not of our making. For the moment in which
    /// all sources are known after a restart: until then, what was found in the map stays.
    ///
    /// # Errors
    ///
    /// When the map cannot be written. The same call again finishes the work.
    fn prune(&mut self, keep: &dyn Fn(IpPrefix) -> bool) -> Result<Changed, DatapathError>;

    /// Whether there were entries in the map when it was opened.
    fn restored(&self) -> bool;

    /// Makes `entry` be what is known of `prefix`.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    fn upsert(&mut self, prefix: IpPrefix, entry: IpcacheEntry) -> Result<Changed, DatapathError> {
        self.update(&[IpcacheChange::Upsert(prefix, entry)])
    }

    /// Forgets a prefix. Unknown ones are no error.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    fn delete(&mut self, prefix: IpPrefix) -> Result<Changed, DatapathError> {
        self.update(&[IpcacheChange::Delete(prefix)])
    }
}

/// Where the map is: in the kernel or in memory.
pub trait IpcacheStore {
    /// Shows all entries, in no particular order and one or the other twice.
    ///
    /// # Errors
    ///
    /// When the map cannot be read.
    fn read(&self, visit: &mut dyn FnMut(IpcacheKey, IpcacheValue)) -> Result<(), DatapathError>;

    /// Writes entries, one after the other.
    ///
    /// # Errors
    ///
    /// When one fails; those before it were written, those after it were not.
    fn put(&mut self, entries: &[(IpcacheKey, IpcacheValue)]) -> Result<(), Interrupted>;

    /// Removes entries, one after the other. Removing what is not there is no error.
    ///
    /// # Errors
    ///
    /// When one fails; those before it were removed, those after it were not.
    fn remove(&mut self, keys: &[IpcacheKey]) -> Result<(), Interrupted>;
}
