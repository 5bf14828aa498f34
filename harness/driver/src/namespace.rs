//! Network namespaces: made and pinned as `ip netns add` does, and entered.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};
use tokio::{runtime, sync::oneshot};

use crate::{
    error::{Act, SystemError},
    gate::Gate,
};

/// The calling thread's network namespace.
const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";

/// What packets may do in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forwarding {
    /// It is an end point.
    Off,
    /// It routes for others: nodes and the router between the clusters.
    On,
}

/// A namespace that the driver made, with a netlink socket in it.
#[derive(Debug)]
pub(crate) struct Namespace {
    path: PathBuf,
    file: File,
    netlink: rtnetlink::Handle,
}

impl Namespace {
    /// Makes a namespace and pins it as `path`.
    pub(crate) async fn make(path: &Path, forwarding: Forwarding, gate: &Arc<Gate>) -> Result<Self, SystemError> {
        let path = path.to_owned();
        let runtime = runtime::Handle::current();
        let gate = Arc::clone(gate);
        on_own_thread(move || {
            let _pass = gate.pass()?;
            let file = pin_new(&path)?;
            // /proc/sys/net shows the namespace of the thread that looks.
            write_sysctls(forwarding)?;
            // A socket belongs to the namespace of the thread that opens it, whoever uses it later.
            let _entered = runtime.enter();
            let (connection, netlink, _) =
                rtnetlink::new_connection().act(|| "open a netlink socket in a new namespace".to_owned())?;
            runtime.spawn(connection);
            Ok(Self { path, file, netlink })
        })
        .await
    }

    /// Opens the namespace that is pinned as `path`.
    pub(crate) async fn open(path: &Path) -> Result<Self, SystemError> {
        let path = path.to_owned();
        let runtime = runtime::Handle::current();
        on_own_thread(move || {
            let act = || format!("enter network namespace `{}`", path.display());
            let file = File::open(&path).act(act)?;
            setns(&file, CloneFlags::CLONE_NEWNET).act(act)?;
            let _entered = runtime.enter();
            let (connection, netlink, _) =
                rtnetlink::new_connection().act(|| format!("open a netlink socket in `{}`", path.display()))?;
            runtime.spawn(connection);
            Ok(Self { path, file, netlink })
        })
        .await
    }

    /// Where it is pinned.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// For messages that refer to the namespace itself; valid as long as `self`.
    pub(crate) fn raw_fd(&self) -> std::os::fd::RawFd {
        self.file.as_raw_fd()
    }

    /// Its netlink socket.
    pub(crate) fn netlink(&self) -> &rtnetlink::Handle {
        &self.netlink
    }
}

/// Runs `work` on a thread of its own, which ends afterwards, and waits for it without blocking the runtime.
async fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SystemError> + Send + 'static,
) -> Result<T, SystemError> {
    let act = || "start a thread".to_owned();
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new()
        .name("netns".to_owned())
        .spawn(move || {
            // The receiver is gone when bringing up was cancelled; the gate makes sure that nothing is left.
            drop(sender.send(work()));
        })
        .act(act)?;
    match receiver.await {
        Ok(result) => result,
        Err(_) => Err(io::Error::other("it panicked")).act(act),
    }
}

/// Moves the calling thread into a new network namespace and pins that as `path`.
fn pin_new(path: &Path) -> Result<File, SystemError> {
    let act = || format!("make network namespace `{}`", path.display());
    let none: Option<&str> = None;
    OpenOptions::new().write(true).create_new(true).mode(0o444).open(path).act(act)?;
    unshare(CloneFlags::CLONE_NEWNET).act(act)?;
    mount(Some(OWN_NAMESPACE), path, none, MsFlags::MS_BIND, none).act(act)?;
    File::open(OWN_NAMESPACE).act(act)
}

fn write_sysctls(forwarding: Forwarding) -> Result<(), SystemError> {
    let mut settings = vec![
        // Packets leave by other interfaces than they come in by.
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
    ];
    if forwarding == Forwarding::On {
        settings.push(("ipv4/ip_forward", "1"));
        // Nobody needs to be told a shorter way, and a redirect would change routes behind the scenario's back.
        settings.push(("ipv4/conf/all/send_redirects", "0"));
        settings.push(("ipv4/conf/default/send_redirects", "0"));
        // No kind of ICMP is limited: every packet to a pod that is gone gets its error. By default the kernel sends few,
        // and the other clients would hang until their time-out.
        settings.push(("ipv4/icmp_ratemask", "0"));
    }
    for (name, value) in settings {
        let file = Path::new("/proc/sys/net").join(name);
        fs::write(&file, value).act(|| format!("write `{}`", file.display()))?;
    }
    // The mesh is IPv4. Without this, duplicate address detection and router solicitations make noise on every link.
    for name in ["all", "default"] {
        let file = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
        match fs::write(&file, "1") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).act(|| format!("write `{file}`"));
            }
            // A kernel without IPv6 is as good.
            _ => {}
        }
    }
    Ok(())
}

/// Runs `work` on a thread in the namespace pinned as `netns`, for reading `/proc` or opening sockets there.
pub fn in_netns<T: Send>(netns: &Path, work: impl FnOnce() -> io::Result<T> + Send) -> Result<T, SystemError> {
    let act = || format!("work in network namespace `{}`", netns.display());
    let namespace = File::open(netns).act(act)?;
    let run = || {
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        work()
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, run)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
    .act(act)
}
