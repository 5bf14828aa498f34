//! Starting programs in a namespace, a cgroup and, for nodes, with the node's bpffs at `/sys/fs/bpf`; some agents get
//! a cgroup namespace too.
#![expect(unsafe_code, reason = "what a child does between fork and exec can only be said with raw system calls")]

use std::{
    ffi::{CStr, CString, OsStr},
    io,
    os::{
        fd::RawFd,
        unix::{ffi::OsStrExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::Command,
    ptr,
};

use crate::state::NodeState;

/// Where programs expect bpffs.
pub(crate) const BPF_MOUNT_POINT: &CStr = c"/sys/fs/bpf";
/// Where programs in a cgroup namespace of their own find it.
pub(crate) const CGROUP_MOUNT_POINT: &CStr = c"/sys/fs/cgroup";
/// The mount that both mount points are part of.
const SYSFS: &CStr = c"/sys";

/// Whether the program leaves the terminal of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// It is a person's command: Ctrl-C reaches it.
    Inherit,
    /// It is a part of the mesh: Ctrl-C must not reach it, the driver ends it.
    New,
}

/// Where a program runs.
#[derive(Clone, Debug)]
pub(crate) struct Placement<'path> {
    /// Pinned network namespace.
    pub(crate) netns: &'path Path,
    /// cgroup v2 directory.
    pub(crate) cgroup: Option<&'path Path>,
    /// The bpffs that it sees as its own, in a private mount namespace.
    pub(crate) bpf_root: Option<&'path Path>,
    /// The cgroup that it sees as root, in a cgroup namespace of its own.
    pub(crate) cgroup_root: Option<&'path Path>,
    /// Its session.
    pub(crate) session: Session,
    /// A file that it inherits under the same number.
    pub(crate) inherited: Option<RawFd>,
}

/// A command that will run as a program of `node`: in its network namespace and cgroup (so its connections are load
/// balanced as those of the node itself), and with its bpffs at `/sys/fs/bpf`.
pub fn command_in_node(node: &NodeState, program: impl AsRef<OsStr>) -> Command {
    let placement = Placement {
        netns: &node.netns,
        cgroup: Some(&node.cgroup),
        bpf_root: Some(&node.bpf_root),
        cgroup_root: None,
        session: Session::Inherit,
        inherited: None,
    };
    command(&placement, program.as_ref())
}

/// A command that will run in the network namespace pinned as `netns` and, if given, in `cgroup`.
pub fn command_in_netns(netns: &Path, cgroup: Option<&Path>, program: impl AsRef<OsStr>) -> Command {
    let session = Session::Inherit;
    let placement = Placement { netns, cgroup, bpf_root: None, cgroup_root: None, session, inherited: None };
    command(&placement, program.as_ref())
}

/// A command for `placement`. What is wrong with the placement is told when the command is started.
pub(crate) fn command(placement: &Placement<'_>, program: &OsStr) -> Command {
    let entry = Entry::new(placement);
    let mut command = Command::new(program);
    let enter = move || match &entry {
        Some(entry) => entry.enter(),
        None => Err(io::ErrorKind::InvalidInput.into()),
    };
    // SAFETY: between fork and exec, `Entry::enter` only makes system calls on memory prepared before; it neither
    // allocates nor takes locks.
    unsafe { command.pre_exec(enter) };
    command
}

/// A placement with everything that needs memory done in advance.
#[derive(Debug)]
struct Entry {
    netns: CString,
    cgroup_root_procs: Option<CString>,
    cgroup_procs: Option<CString>,
    bpf_root: Option<CString>,
    session: Session,
    inherited: Option<RawFd>,
}

impl Entry {
    /// `None` if a path contains a NUL byte.
    fn new(placement: &Placement<'_>) -> Option<Self> {
        let c_string = |path: &Path| CString::new(path.as_os_str().as_bytes()).ok();
        let optional = |path: Option<PathBuf>| match path {
            Some(path) => c_string(&path).map(Some),
            None => Some(None),
        };
        let procs = |cgroup: Option<&Path>| optional(cgroup.map(|cgroup| cgroup.join("cgroup.procs")));
        Some(Self {
            netns: c_string(placement.netns)?,
            cgroup_root_procs: procs(placement.cgroup_root)?,
            cgroup_procs: procs(placement.cgroup)?,
            bpf_root: optional(placement.bpf_root.map(Path::to_owned))?,
            session: placement.session,
            inherited: placement.inherited,
        })
    }

    /// Runs in the child. Only async-signal-safe calls are allowed here (signal-safety(7)).
    fn enter(&self) -> io::Result<()> {
        // The cgroup comes first: from here on the process is removed with the run whatever happens.
        if let Some(root) = &self.cgroup_root_procs {
            // The root of a new cgroup namespace is where its maker is.
            join_cgroup(root)?;
            // SAFETY: takes a number.
            check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) })?;
        }
        if let Some(procs) = &self.cgroup_procs {
            join_cgroup(procs)?;
        }
        with_file(&self.netns, libc::O_RDONLY, |fd| {
            // SAFETY: takes two numbers.
            check(unsafe { libc::setns(fd, libc::CLONE_NEWNET) })
        })?;
        if self.bpf_root.is_some() || self.cgroup_root_procs.is_some() {
            unshare_sysfs()?;
        }
        if let Some(bpf_root) = &self.bpf_root {
            mount_at(bpf_root, BPF_MOUNT_POINT, None, libc::MS_BIND)?;
        }
        if self.cgroup_root_procs.is_some() {
            mount_at(c"cgroup2", CGROUP_MOUNT_POINT, Some(c"cgroup2"), 0)?;
        }
        if self.session == Session::New {
            // SAFETY: takes nothing. A freshly forked process leads no group, so it cannot fail.
            check(unsafe { libc::setsid() })?;
        }
        if let Some(fd) = self.inherited {
            // SAFETY: takes numbers. Clears close-on-exec in this process only.
            check(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) })?;
        }
        Ok(())
    }
}

/// Mounts below `/sys` become private, all others keep their propagation: namespaces that a kubelet pins in
/// `/run/netns` must be seen on the machine.
fn unshare_sysfs() -> io::Result<()> {
    // SAFETY: takes a number.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: the strings end with NUL and live longer than the calls; null is allowed where it is given.
    check(unsafe { libc::mount(ptr::null(), SYSFS.as_ptr(), ptr::null(), private, ptr::null()) })
}

fn mount_at(source: &CStr, target: &CStr, file_system: Option<&CStr>, flags: libc::c_ulong) -> io::Result<()> {
    let file_system = file_system.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: the strings end with NUL and live longer than the call; null is allowed where it is given.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), file_system, flags, ptr::null()) })
}

/// Moves the calling process into the cgroup whose `cgroup.procs` this is.
fn join_cgroup(procs: &CStr) -> io::Result<()> {
    with_file(procs, libc::O_WRONLY, |fd| {
        // SAFETY: one byte is read from a static string; `0` stands for the writing process.
        check_size(unsafe { libc::write(fd, c"0".as_ptr().cast(), 1) })
    })
}

/// Opens `path`, calls `work` and closes it again.
fn with_file(path: &CStr, flags: i32, work: impl FnOnce(RawFd) -> io::Result<()>) -> io::Result<()> {
    // SAFETY: the string ends with NUL and lives longer than the call.
    let fd = unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) };
    check(fd)?;
    let result = work(fd);
    // SAFETY: closes what was opened above, once.
    unsafe { libc::close(fd) };
    result
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn check_size(result: isize) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use super::command_in_netns;

    #[test]
    fn absent_namespace_is_an_error_of_the_start() {
        let error = command_in_netns(Path::new("/nonexistent/netns"), None, "true").status().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let error = command_in_netns(Path::new("/nul\0/netns"), None, "true").status().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
