//! What runs share on a machine: `/run/meshbed`, `/run/netns` and the parent of the cgroups. The first run makes
//! them, the last one removes them; a lock on the directory `/run` keeps two runs from doing so at once.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use nix::{
    fcntl::{Flock, FlockArg},
    mount::{MntFlags, MsFlags, mount, umount2},
};

use crate::{
    error::{Act, SystemError},
    layout::{CGROUP_NAME, NETNS_ROOT, RUNS_ROOT},
    mount_table::MountTable,
};

/// Source of the tmpfs that we mount at `/run/netns`, by which a later run recognises it as ours.
const NETNS_MOUNT_SOURCE: &str = "meshbed-netns";

/// Held while shared things are made or removed.
#[derive(Debug)]
pub(crate) struct GroundLock {
    _lock: Flock<File>,
}

impl GroundLock {
    /// Waits for the other runs. They hold it for some system calls only.
    pub(crate) fn acquire() -> Result<Self, SystemError> {
        let act = || "lock the directory `/run`".to_owned();
        let directory = File::open("/run").act(act)?;
        let lock = Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, error)| error).act(act)?;
        Ok(Self { _lock: lock })
    }

    /// Makes the shared directories.
    pub(crate) fn prepare(&self, cgroup_root: Option<&Path>) -> Result<(), SystemError> {
        make_directory(Path::new(RUNS_ROOT))?;
        if let Some(cgroup_root) = cgroup_root {
            make_directory(&cgroup_root.join(CGROUP_NAME))?;
        }
        prepare_netns_root(Path::new(NETNS_ROOT))
    }

    /// Removes the parent of the cgroups if no run has one.
    pub(crate) fn release_cgroups(&self, cgroup_root: Option<&Path>) -> Result<(), SystemError> {
        cgroup_root.map_or(Ok(()), |root| remove_if_empty(&root.join(CGROUP_NAME)))
    }

    /// Removes the shared directories that no run uses.
    pub(crate) fn release_directories(&self) -> Result<(), SystemError> {
        remove_if_empty(Path::new(RUNS_ROOT))?;
        release_netns_root(Path::new(NETNS_ROOT))
    }
}

fn make_directory(path: &Path) -> Result<(), SystemError> {
    fs::create_dir_all(path).act(|| format!("make `{}`", path.display()))
}

/// Removes `path` unless something is in it (for a cgroup: also a process). Absent is fine.
fn remove_if_empty(path: &Path) -> Result<(), SystemError> {
    match fs::remove_dir(path) {
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy => Ok(()),
            _ => Err(error).act(|| format!("remove `{}`", path.display())),
        },
        Ok(()) => Ok(()),
    }
}

fn is_empty(path: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(path)?.next().is_none())
}

/// Kubelets run in mount namespaces of their own and pin the namespaces of their pods, which must be visible on the
/// machine: the mount that `/run/netns` is on has to be shared. On machines with systemd it is. Elsewhere `ip netns`
/// would mount the directory over itself; a tmpfs serves the same purpose and can be recognised as ours later.
fn prepare_netns_root(root: &Path) -> Result<(), SystemError> {
    make_directory(root)?;
    if MountTable::read()?.covering(root).is_some_and(|mount| mount.shared) {
        return Ok(());
    }
    let act = || format!("make `{}` a shared mount", root.display());
    let none: Option<&str> = None;
    if is_empty(root).act(act)? {
        mount(Some(NETNS_MOUNT_SOURCE), root, Some("tmpfs"), MsFlags::empty(), Some("mode=0755")).act(act)?;
    } else {
        // Somebody's namespaces are pinned there without `ip netns`: keep them visible.
        mount(Some(root), root, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).act(act)?;
    }
    mount(none, root, none, MsFlags::MS_SHARED, none).act(act)
}

/// Unmounts what we mounted, and removes the directory: whoever needs it makes it. A mount of `ip netns` stays.
fn release_netns_root(root: &Path) -> Result<(), SystemError> {
    let act = || format!("unmount `{}`", root.display());
    if MountTable::read()?.at(root).is_some_and(|mount| mount.source == NETNS_MOUNT_SOURCE) {
        if !is_empty(root).act(act)? {
            return Ok(());
        }
        umount2(root, MntFlags::MNT_DETACH).act(act)?;
    }
    remove_if_empty(root)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::remove_if_empty;

    #[test]
    fn only_empty_directories_go() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        fs::create_dir(&inner).unwrap();
        remove_if_empty(directory.path()).unwrap();
        assert!(inner.exists());
        remove_if_empty(&inner).unwrap();
        assert!(!inner.exists());
        remove_if_empty(&inner).unwrap();
    }
}
