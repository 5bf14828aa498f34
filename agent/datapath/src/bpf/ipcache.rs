//! The pinned ipcache.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use mesh_abi::{Bytes as _, IPCACHE, IpcacheKey, IpcacheValue};

use super::{file_system, globals, maps};
use crate::{
    DatapathError, Interrupted,
    ipcache::{IpcacheStore, IpcacheTable},
    sys,
};

/// The kernel's ipcache.
pub type BpfIpcache = IpcacheTable<PinnedIpcache>;

impl BpfIpcache {
    /// Takes over the map pinned below a bpffs, or makes it.
    ///
    /// # Errors
    ///
    /// When the directory is on another file system, or the kernel refuses something.
    pub fn open(bpf_root: &Path) -> Result<Self, DatapathError> {
        file_system::check_bpffs(bpf_root)?;
        Self::take_over(PinnedIpcache::open(bpf_root)?)
    }
}

/// The kernel's map, held open.
#[derive(Debug)]
pub struct PinnedIpcache {
    map: OwnedFd,
}

impl PinnedIpcache {
    /// Opens the pin, or makes it. A pin of another shape is removed and made anew, empty, as Cilium does.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn open(bpf_root: &Path) -> Result<Self, DatapathError> {
        let directory = globals(bpf_root);
        file_system::make_directory(&directory)?;
        Ok(Self { map: maps::open(&IPCACHE, &directory.join(IPCACHE.name))? })
    }
}

impl IpcacheStore for PinnedIpcache {
    fn read(&self, visit: &mut dyn FnMut(IpcacheKey, IpcacheValue)) -> Result<(), DatapathError> {
        sys::visit(self.map.as_fd(), &IPCACHE, &mut |key, value| {
            let sized = "the kernel gives keys and values of the map's sizes";
            visit(IpcacheKey::from_bytes(key).expect(sized), IpcacheValue::from_bytes(value).expect(sized));
        })
    }

    fn put(&mut self, entries: &[(IpcacheKey, IpcacheValue)]) -> Result<(), Interrupted> {
        in_batches(entries, |batch| {
            let bytes: Vec<_> = batch.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())).collect();
            sys::update_all(self.map.as_fd(), &IPCACHE, &bytes)
        })
    }

    fn remove(&mut self, keys: &[IpcacheKey]) -> Result<(), Interrupted> {
        in_batches(keys, |batch| {
            let bytes: Vec<_> = batch.iter().map(|key| key.as_bytes()).collect();
            sys::delete_all(self.map.as_fd(), &IPCACHE, &bytes)
        })
    }
}

/// Does all in parts that are large enough for the kernel and small enough for memory. `act` tells how far it came.
fn in_batches<T>(
    all: &[T],
    mut act: impl FnMut(&[T]) -> Result<(), (usize, DatapathError)>,
) -> Result<(), Interrupted> {
    let mut done = 0;
    for batch in all.chunks(sys::BATCH_ENTRIES) {
        act(batch).map_err(|(more, source)| Interrupted { done: done + more, source })?;
        done += batch.len();
    }
    Ok(())
}
