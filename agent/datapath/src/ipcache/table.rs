//! Runs plans against a map.

use mesh_abi::{IpcacheKey, IpcacheValue};
use mesh_types::IpPrefix;

use super::{Ipcache, IpcacheChange, IpcacheContents, IpcacheStore, plan};
use crate::{Changed, DatapathError, Interrupted};

/// An ipcache whose state is its map.
#[derive(Debug)]
pub struct IpcacheTable<S> {
    store: S,
    contents: IpcacheContents,
    restored: bool,
}

impl<S: IpcacheStore> IpcacheTable<S> {
    /// Takes over what is in the map.
    ///
    /// # Errors
    ///
    /// When the map cannot be read.
    pub fn take_over(store: S) -> Result<Self, DatapathError> {
        let mut contents = IpcacheContents::default();
        store.read(&mut |key, value| contents.put(key, value))?;
        let restored = !contents.is_empty();
        Ok(Self { store, contents, restored })
    }

    /// What is in the map.
    pub fn contents(&self) -> &IpcacheContents {
        &self.contents
    }

    /// The map.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The map.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Gives the map back.
    pub fn into_store(self) -> S {
        self.store
    }

    fn put(&mut self, entries: &[(IpcacheKey, IpcacheValue)]) -> Result<(), DatapathError> {
        if entries.is_empty() {
            return Ok(());
        }
        let result = self.store.put(entries);
        for (key, value) in &entries[..done(&result, entries.len())] {
            self.contents.put(*key, *value);
        }
        result.map_err(|interrupted| interrupted.source)
    }

    fn remove(&mut self, keys: &[IpcacheKey]) -> Result<(), DatapathError> {
        if keys.is_empty() {
            return Ok(());
        }
        let result = self.store.remove(keys);
        for key in &keys[..done(&result, keys.len())] {
            self.contents.remove(key);
        }
        result.map_err(|interrupted| interrupted.source)
    }
}

/// How many of `all` writes were made.
fn done(result: &Result<(), Interrupted>, all: usize) -> usize {
    result.as_ref().map_or_else(|interrupted| interrupted.done, |()| all)
}

impl<S: IpcacheStore> Ipcache for IpcacheTable<S> {
    fn update(&mut self, changes: &[IpcacheChange]) -> Result<Changed, DatapathError> {
        let writes = plan::update(&self.contents, changes);
        let put = self.put(&writes.put);
        let removed = self.remove(&writes.remove);
        put.and(removed)?;
        Ok(Changed { written: writes.put.len(), removed: writes.remove.len() })
    }

    fn prune(&mut self, keep: &dyn Fn(IpPrefix) -> bool) -> Result<Changed, DatapathError> {
        let keys = plan::prune(&self.contents, keep);
        self.remove(&keys)?;
        Ok(Changed { written: 0, removed: keys.len() })
    }

    fn restored(&self) -> bool {
        self.restored
    }
}
