//! Ground to test on: a bpffs and a cgroup of one's own, and backends that answer.
//!
//! The bpffs is mounted in a mount namespace of the test's thread, so the kernel takes it (and every pin, link and
//! program in it) away when the thread ends, however it ends. The cgroup is removed by a guard; one that a killed
//! test left behind is removed by the next.
#![allow(dead_code, reason = "no user of it needs all of it")]

use std::{
    cell::Cell,
    fs,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use mesh_datapath::Options;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::Uid,
};

/// The process is in one cgroup at a time, so tests that share a process take turns.
static TURN: Mutex<()> = Mutex::new(());
/// Start of the names of our cgroups; the rest is the process ID and a number.
const CGROUP_PREFIX: &str = "mesh-datapath-test-";

/// Tells whoever runs the tests.
#[expect(clippy::print_stdout, reason = "the output of a test")]
pub(crate) fn say(what: &str) {
    println!("{what}");
}

/// Runs a test on ground of its own, or says why it does not.
pub(crate) fn run(test: impl FnOnce(&Ground) + Send) {
    if !Uid::effective().is_root() {
        say("skipped: needs root (BPF, mounts, cgroups)");
        return;
    }
    let Some(cgroup2) = cgroup2_mount() else {
        say("skipped: no cgroup v2 is mounted");
        return;
    };
    // A failed test poisons the turn; its ground is cleaned up all the same.
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let result = thread::scope(|scope| {
        let name = thread::current().name().unwrap_or("test").to_owned();
        let body = move || test(&Ground::new(&cgroup2));
        thread::Builder::new().name(name).spawn_scoped(scope, body).expect("a thread can be started").join()
    });
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// Where cgroup v2 is mounted.
fn cgroup2_mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().find_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
        [_, path, "cgroup2", ..] => Some(PathBuf::from(path)),
        _ => None,
    })
}

/// Directory of the cgroup v2 that this process is in.
fn own_cgroup(cgroup2: &Path) -> PathBuf {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap();
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).expect("this process is in a cgroup v2");
    cgroup2.join(path)
}

/// Moves this process into a cgroup.
fn enter(cgroup: &Path) {
    fs::write(cgroup.join("cgroup.procs"), "0").unwrap_or_else(|error| panic!("{}: {error}", cgroup.display()));
}

pub(crate) struct Ground {
    bpf: tempfile::TempDir,
    cgroup: PathBuf,
    other: PathBuf,
    home: PathBuf,
    inside: Cell<bool>,
}

impl Ground {
    fn new(cgroup2: &Path) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        sweep(cgroup2);
        let home = own_cgroup(cgroup2);
        let name = format!("{CGROUP_PREFIX}{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let (cgroup, other) = (cgroup2.join(&name), cgroup2.join(format!("{name}-other")));
        let bpf = tempfile::tempdir().unwrap();
        // From here on drop cleans up.
        let ground = Self { bpf, cgroup, other, home, inside: Cell::new(false) };
        fs::create_dir(&ground.cgroup).unwrap();
        fs::create_dir(&ground.other).unwrap();
        enter(&ground.cgroup);
        ground.inside.set(true);

        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace can be made");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
            .expect("mounts can be made private");
        mount(Some("bpf"), ground.bpf.path(), Some("bpf"), MsFlags::empty(), None::<&str>)
            .expect("a bpffs can be mounted");
        ground
    }

    pub(crate) fn options(&self) -> Options {
        Options { bpf_root: self.bpf.path().to_owned(), cgroup_root: self.cgroup.clone() }
    }

    /// A second cgroup, which nobody is in.
    pub(crate) fn other_cgroup(&self) -> PathBuf {
        self.other.clone()
    }

    /// Puts this process back to where it came from. Sockets made from now on are outside.
    pub(crate) fn leave_cgroup(&self) {
        if self.inside.replace(false) {
            enter(&self.home);
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.leave_cgroup();
        // The mount is in the way of removing the directory; it would go with the thread, but that is later.
        nix::mount::umount2(self.bpf.path(), nix::mount::MntFlags::MNT_DETACH).ok();
        for cgroup in [&self.cgroup, &self.other] {
            let removed = fs::remove_dir(cgroup);
            assert!(removed.is_ok() || thread::panicking(), "{}: {removed:?}", cgroup.display());
        }
    }
}

/// Removes cgroups of processes that are gone.
fn sweep(cgroup2: &Path) {
    for entry in fs::read_dir(cgroup2).unwrap().flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(CGROUP_PREFIX)) else { continue };
        let process = rest.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            fs::remove_dir(entry.path()).ok();
        }
    }
}

/// A server that says its name to everyone who connects.
pub(crate) struct TcpBackend {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TcpBackend {
    pub(crate) fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let serve = move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                // A client that has gone already is its own affair.
                stream.and_then(|mut stream| stream.write_all(name.as_bytes())).ok();
            }
        };
        Self { name, address, stop, thread: Some(thread::spawn(serve)) }
    }
}

impl Drop for TcpBackend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A last connection wakes the server up.
        let woken = TcpStream::connect(self.address);
        if let (Some(thread), Ok(_)) = (self.thread.take(), woken) {
            thread.join().ok();
        }
    }
}
