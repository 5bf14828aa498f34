//! Steps that a forked child takes before it becomes another program.
//!
//! Everything here runs between `fork` and `exec` of a process with many threads, so it may only make system calls:
//! no allocation, no lock, no formatting. All strings and file descriptors are made by the parent.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::OwnedFd,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    unistd::{chdir, setsid, write},
};

const ROOT: &CStr = c"/";

/// Joins the cgroup whose `cgroup.procs` is open for writing. `0` stands for the writing process (cgroups(7)).
pub(crate) fn join_cgroup(procs: &OwnedFd) -> io::Result<()> {
    write(procs, b"0")?;
    Ok(())
}

/// Joins a network namespace.
pub(crate) fn join_network(netns: &OwnedFd) -> io::Result<()> {
    Ok(setns(netns, CloneFlags::CLONE_NEWNET)?)
}

/// Joins a mount namespace and goes to its root, as the old working directory may not exist there.
pub(crate) fn join_mounts(mounts: &OwnedFd) -> io::Result<()> {
    setns(mounts, CloneFlags::CLONE_NEWNS)?;
    Ok(chdir(ROOT)?)
}

/// Starts a session, so that signals of the kubelet's terminal do not reach the child.
pub(crate) fn lead_session() -> io::Result<()> {
    setsid()?;
    Ok(())
}

/// Something of the node that a container sees at another path.
#[derive(Debug)]
pub(crate) struct BindMount {
    pub(crate) source: CString,
    pub(crate) target: CString,
}

/// Leaves the parent's mount namespace for a copy of it and binds `mounts` there. The copy is a slave: what the
/// harness mounts or unmounts later is seen here too, what is mounted here is seen nowhere else.
pub(crate) fn private_mounts(mounts: &[BindMount]) -> io::Result<()> {
    const NONE: Option<&CStr> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, ROOT, NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE)?;
    for bind in mounts {
        mount(Some(bind.source.as_c_str()), bind.target.as_c_str(), NONE, MsFlags::MS_BIND, NONE)?;
    }
    Ok(())
}
