//! Removing a run. Everything is found by the run's ID alone, so it works for runs of dead harnesses and for runs that
//! were cut off anywhere; absent things count as removed, so it can be repeated.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::mount::{MntFlags, umount2};

use crate::{
    RunId, cgroup,
    error::{Act, SystemError},
    gate::Gate,
    ground::GroundLock,
    layout::{CGROUP_NAME, NETNS_ROOT, netns_prefix, run_dir},
    mount_table::MountTable,
    process_table,
};

/// How often a running harness may add something while it is being removed before we give up. It notices at once.
const ROUNDS_MAX: usize = 3;

/// Removes `run`. Blocks. Returns what it must not remove and what keeps parts of the run alive: processes that others
/// started in its namespaces.
pub(crate) fn remove(run: &RunId) -> Result<Vec<String>, SystemError> {
    let cgroup_root = MountTable::read()?.cgroup_root().map(Path::to_owned);
    if let Some(root) = &cgroup_root {
        let cgroup = root.join(CGROUP_NAME).join(run.as_str());
        for round in 1..=ROUNDS_MAX {
            cgroup::kill_all(&cgroup)?;
            match cgroup::remove(&cgroup) {
                Ok(()) => break,
                Err(error) if round == ROUNDS_MAX => return Err(error),
                Err(error) => tracing::debug!(%run, %error, "cgroup is in use again"),
            }
        }
    }
    let holders = remove_namespaces(run)?;
    let lock = GroundLock::acquire()?;
    // Before unmounting: the root may be a mount below the run directory.
    lock.release_cgroups(cgroup_root.as_deref())?;
    unmount_below(&run_dir(run))?;
    remove_directory(&run_dir(run))?;
    lock.release_directories()?;
    Ok(holders)
}

/// Pinned namespaces of `run`.
pub(crate) fn namespaces(run: &RunId) -> Result<Vec<PathBuf>, SystemError> {
    let entries = match fs::read_dir(NETNS_ROOT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.act(|| format!("list `{NETNS_ROOT}`"))?,
    };
    let prefix = netns_prefix(run);
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.act(|| format!("list `{NETNS_ROOT}`"))?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn remove_namespaces(run: &RunId) -> Result<Vec<String>, SystemError> {
    let paths = namespaces(run)?;
    let inodes = paths.iter().filter_map(|path| Some(fs::metadata(path).ok()?.ino())).collect();
    paths.iter().try_for_each(|path| remove_namespace(path))?;
    holders(&inodes)
}

/// Takes the pin of a namespace away; it ends with its last user. Absent is fine.
pub(crate) fn remove_namespace(path: &Path) -> Result<(), SystemError> {
    unmount(path)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.act(|| format!("remove `{}`", path.display())),
    }
}

/// Processes in the namespaces with these inode numbers. The run's own ones are dead.
fn holders(inodes: &BTreeSet<u64>) -> Result<Vec<String>, SystemError> {
    let mut holders = Vec::new();
    if inodes.is_empty() {
        return Ok(holders);
    }
    for pid in process_table::pids().act(|| "list `/proc`".to_owned())? {
        // A process that ends meanwhile holds nothing, and a zombie has no namespace.
        let inode = fs::metadata(format!("/proc/{pid}/ns/net")).map(|metadata| metadata.ino());
        if inode.is_ok_and(|inode| inodes.contains(&inode)) {
            let name = process_table::command_name(pid);
            holders.push(format!("process {pid} ({name}), which someone else started in a namespace of the run"));
        }
    }
    Ok(holders)
}

fn unmount_below(path: &Path) -> Result<(), SystemError> {
    for point in MountTable::read()?.below(path) {
        unmount(&point)?;
    }
    Ok(())
}

/// Unmounts `path`; something that is still in use disappears from the tree at once and for good with its last user.
fn unmount(path: &Path) -> Result<(), SystemError> {
    let result = match umount2(path, MntFlags::empty()) {
        Err(nix::Error::EBUSY) => umount2(path, MntFlags::MNT_DETACH),
        other => other,
    };
    match result {
        // Not a mount point, or not there.
        Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => Ok(()),
        Err(error) => Err(error).act(|| format!("unmount `{}`", path.display())),
    }
}

/// Nothing is mounted below `path` any more, so this cannot reach into other file systems. Removing the directory also
/// makes the kernel drop mounts that other mount namespaces (nodes of other runs) still have on it.
fn remove_directory(path: &Path) -> Result<(), SystemError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.act(|| format!("remove `{}`", path.display())),
    }
}

/// Removes the run when it is dropped, unless told otherwise.
#[derive(Debug)]
pub(crate) struct Ownership {
    run: RunId,
    gate: Arc<Gate>,
    armed: bool,
}

impl Ownership {
    /// Takes over the duty to remove `run`, from when it is claimed at the gate.
    pub(crate) fn of(run: RunId) -> Self {
        Self { run, gate: Arc::default(), armed: true }
    }

    /// What everybody who makes a part of the run has to pass.
    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// The run is gone or shall stay.
    pub(crate) fn release(mut self) {
        self.armed = false;
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        self.gate.close();
        if !self.gate.is_claimed() {
            return;
        }
        // Nobody is there to be told; `leftovers` and `orphans` still find what could not be removed.
        match remove(&self.run) {
            Ok(holders) if holders.is_empty() => {}
            Ok(holders) => tracing::warn!(run = %self.run, ?holders, "run is in use by others"),
            Err(error) => tracing::error!(run = %self.run, error = &error as &dyn std::error::Error, "run not removed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::namespaces;
    use crate::RunId;

    #[test]
    fn nothing_is_named_after_a_run_that_never_was() {
        assert!(namespaces(&RunId::random().unwrap()).unwrap().is_empty());
    }
}
