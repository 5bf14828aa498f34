//! A map in memory: for tests of whatever drives an ipcache.

use std::{collections::BTreeMap, io};

use mesh_abi::{IPCACHE, IpcacheKey, IpcacheValue};

use super::{IpcacheStore, IpcacheTable};
use crate::{DatapathError, DatapathErrorKind, Interrupted, sys::Command};

/// An ipcache that nobody asks but that remembers every write.
pub type RecordingIpcache = IpcacheTable<MemoryIpcache>;

impl RecordingIpcache {
    /// An empty one.
    pub fn empty() -> Self {
        Self::take_over(MemoryIpcache::default()).expect("an empty map in memory can be read")
    }
}

/// One entry that was written or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpcacheWrite {
    /// Written.
    Put(IpcacheKey, IpcacheValue),
    /// Removed.
    Remove(IpcacheKey),
}

/// A map in memory, which can be told to fail.
#[derive(Clone, Debug, Default)]
pub struct MemoryIpcache {
    entries: BTreeMap<IpcacheKey, IpcacheValue>,
    record: Vec<IpcacheWrite>,
    room: Option<usize>,
}

impl MemoryIpcache {
    /// Every write so far, in order.
    pub fn record(&self) -> &[IpcacheWrite] {
        &self.record
    }

    /// Lets the map hold no more than `entries`, instead of as many as Cilium's.
    pub fn limit(&mut self, entries: usize) {
        self.room = Some(entries);
    }

    /// What is in the map.
    pub fn entries(&self) -> &BTreeMap<IpcacheKey, IpcacheValue> {
        &self.entries
    }

    /// Puts an entry into the map as another writer would.
    pub fn put_foreign(&mut self, key: IpcacheKey, value: IpcacheValue) {
        self.entries.insert(key, value);
    }
}

impl IpcacheStore for MemoryIpcache {
    fn read(&self, visit: &mut dyn FnMut(IpcacheKey, IpcacheValue)) -> Result<(), DatapathError> {
        self.entries.iter().for_each(|(key, value)| visit(*key, *value));
        Ok(())
    }

    fn put(&mut self, entries: &[(IpcacheKey, IpcacheValue)]) -> Result<(), Interrupted> {
        let room = self.room.unwrap_or(IPCACHE.max_entries as usize);
        for (done, (key, value)) in entries.iter().enumerate() {
            if self.entries.len() >= room && !self.entries.contains_key(key) {
                // What a full trie says.
                let source = io::Error::from_raw_os_error(libc::ENOSPC);
                let kind = DatapathErrorKind::Bpf { command: Command::MapUpdateElem, source };
                return Err(Interrupted { done, source: DatapathError::new(format!("write map `{IPCACHE}`"), kind) });
            }
            self.entries.insert(*key, *value);
            self.record.push(IpcacheWrite::Put(*key, *value));
        }
        Ok(())
    }

    fn remove(&mut self, keys: &[IpcacheKey]) -> Result<(), Interrupted> {
        for key in keys {
            self.entries.remove(key);
            self.record.push(IpcacheWrite::Remove(*key));
        }
        Ok(())
    }
}
