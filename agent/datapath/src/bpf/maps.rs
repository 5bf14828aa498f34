//! The pinned maps.

use std::{
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use mesh_abi::{MAPS, MapSpec};

use super::file_system::{make_directory, remove_pin};
use crate::{DatapathError, Interrupted, MapSource, MapStore, RawEntry, Write, sys};

/// Directory of the pinned maps under a bpffs.
pub fn globals(bpf_root: &Path) -> PathBuf {
    bpf_root.join("tc/globals")
}

/// The kernel's maps, held open.
#[derive(Debug)]
pub struct PinnedMaps {
    /// In the order of [`MAPS`].
    maps: Vec<OwnedFd>,
}

impl PinnedMaps {
    /// Opens the pinned maps under `bpf_root` and makes those that are missing. A pin of another shape is removed and
    /// made anew, empty, as Cilium does.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn open(bpf_root: &Path) -> Result<Self, DatapathError> {
        let directory = globals(bpf_root);
        make_directory(&directory)?;
        let maps = MAPS.iter().map(|spec| open(spec, &directory.join(spec.name))).collect::<Result<_, _>>()?;
        Ok(Self { maps })
    }

    /// A map that is held open.
    ///
    /// # Panics
    ///
    /// When `map` is none of [`MAPS`].
    pub fn fd(&self, map: &MapSpec) -> BorrowedFd<'_> {
        let index = MAPS.iter().position(|spec| spec == map).expect("every map that is used is in `MAPS`");
        self.maps[index].as_fd()
    }

    /// Makes a run of writes to the same map. Returns how many were made, and the error that stopped it.
    fn apply_run(&self, run: &[Write]) -> Result<(), Interrupted> {
        let Some(first) = run.first() else { return Ok(()) };
        let (spec, map) = (first.map(), self.fd(first.map()));
        let interrupted = |(done, source)| Interrupted { done, source };
        if first.value().is_some() {
            let entries: Vec<(&[u8], &[u8])> =
                run.iter().map(|write| (write.key(), write.value().unwrap_or_default())).collect();
            return sys::update_all(map, spec, &entries).map_err(interrupted);
        }
        for (done, write) in run.iter().enumerate() {
            sys::delete(map, spec, write.key()).map_err(|source| Interrupted { done, source })?;
        }
        Ok(())
    }
}

impl MapSource for PinnedMaps {
    fn entries(&self, map: &'static MapSpec) -> Result<Vec<RawEntry>, DatapathError> {
        sys::entries(self.fd(map), map)
    }
}

impl MapStore for PinnedMaps {
    fn apply(&mut self, writes: &[Write]) -> Result<(), Interrupted> {
        let mut done = 0;
        // Slots of a frontend come in runs, so that a batch keeps the order of the whole.
        for run in
            writes.chunk_by(|one, next| one.map() == next.map() && one.value().is_some() == next.value().is_some())
        {
            self.apply_run(run).map_err(|error| Interrupted { done: done + error.done, ..error })?;
            done += run.len();
        }
        Ok(())
    }
}

/// Opens a pin that has the shape of `spec`, or makes it.
pub(super) fn open(spec: &MapSpec, path: &Path) -> Result<OwnedFd, DatapathError> {
    if let Some(fd) = sys::open_pin(path, sys::PinAccess::ReadWrite)? {
        let (found, expected) = (sys::map_info(fd.as_fd())?, sys::MapInfo::from(spec));
        if found == expected {
            return Ok(fd);
        }
        tracing::warn!(map = spec.name, %found, %expected, "pinned map has another shape, making it anew");
        remove_pin(path)?;
    }
    let fd = sys::create_map(spec)?;
    sys::pin(fd.as_fd(), path)?;
    Ok(fd)
}

/// Removes the pins of all our maps.
pub(super) fn remove(bpf_root: &Path) -> Result<(), DatapathError> {
    let directory = globals(bpf_root);
    MAPS.iter().try_for_each(|spec| remove_pin(&directory.join(spec.name)))
}
