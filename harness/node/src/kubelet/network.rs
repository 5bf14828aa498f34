//! A pod's network: a named namespace, a veth pair to the node, one address and two routes.

use std::{
    fs::{self, File, OpenOptions},
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    thread,
};

use futures::TryStreamExt;
use netlink_packet_route::{
    link::{InfoData, InfoVeth, LinkAttribute},
    route::{RouteMessage, RouteScope},
};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::statfs::{NSFS_MAGIC, statfs},
};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tokio::{runtime, sync::oneshot};

/// Where named network namespaces are, as for `ip netns` (ip-netns(8)).
pub(crate) const NETNS_FOLDER: &str = "/run/netns";
/// The calling thread's network namespace.
const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";
/// The pod's end of the pair.
const POD_LINK: &str = "eth0";
/// Start of the name of the node's end, as Cilium calls it.
const LINK_PREFIX: &str = "lxc";
/// How much of a pod's UID is in names.
const UID_DIGITS: usize = 8;
/// Mounts that may pin one namespace, on top of each other.
const PINS_MAX: u32 = 8;
/// Settings of a pod's namespace, below `/proc/sys/net`. Those of IPv6 are absent when the kernel has none.
const SETTINGS: [(&str, &str); 4] = [
    // Nothing here speaks IPv6, and its address detection would delay the link by seconds.
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
    // Probes open hundreds of connections a second; the default range has 28,232 ports.
    ("ipv4/ip_local_port_range", "10000 65535"),
    // As container runtimes set it: programs need no privilege for port 80.
    ("ipv4/ip_unprivileged_port_start", "0"),
];

/// A step of making or removing a network failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {act}")]
pub struct NetworkError {
    act: String,
    #[source]
    source: io::Error,
}

/// Names of what a pod has in the node's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodNames {
    /// File that pins the pod's network namespace.
    pub(crate) netns: PathBuf,
    /// The node's end of the pair.
    pub(crate) link: String,
}

impl PodNames {
    pub(crate) fn new(netns_prefix: &str, uid: &str) -> Self {
        // A UID is 32 hexadecimal digits and hyphens (RFC 9562); eight digits are unique enough for one node's pods,
        // and `lxc` with eight digits fits into an interface name (15 bytes).
        let digits: String = uid.chars().filter(char::is_ascii_hexdigit).take(UID_DIGITS).collect();
        let netns = Path::new(NETNS_FOLDER).join(format!("{netns_prefix}{digits}"));
        Self { netns, link: format!("{LINK_PREFIX}{digits}") }
    }
}

/// The network of the node: the namespace of the thread that opens it.
#[derive(Debug)]
pub(crate) struct NodeNetwork {
    netlink: Handle,
}

impl NodeNetwork {
    /// Must be called on a thread that is in the node's namespace, within a runtime.
    pub(crate) fn open() -> Result<Self, NetworkError> {
        let (connection, netlink, _) = rtnetlink::new_connection().act(|| "open a netlink socket".to_owned())?;
        tokio::spawn(connection);
        Ok(Self { netlink })
    }

    /// Puts the gateway's address on the loopback interface, so that the node answers ARP for it on every pod's link.
    pub(crate) async fn add_gateway(&self, address: Ipv4Addr) -> Result<(), NetworkError> {
        let loopback = index_of(&self.netlink, "lo").await?;
        let up = LinkMessageBuilder::<LinkUnspec>::new().index(loopback).up().build();
        self.netlink.link().change(up).execute().await.act(|| "set `lo` up".to_owned())?;
        let add = self.netlink.address().add(loopback, IpAddr::V4(address), 32).replace();
        add.execute().await.act(|| format!("add gateway address {address} to `lo`"))
    }

    /// Whether the namespace and the link that a kubelet made for a pod are still there.
    pub(crate) async fn is_intact(&self, names: &PodNames) -> bool {
        statfs(&names.netns).is_ok_and(|found| found.filesystem_type() == NSFS_MAGIC)
            && link_of(&self.netlink, &names.link).await.is_ok()
    }

    /// Removes links and namespaces of pods that are not in `kept`, whoever made them.
    pub(crate) async fn sweep(&self, netns_prefix: &str, kept: &[PodNames]) -> Result<(), NetworkError> {
        let links: Vec<_> = self.netlink.link().get().execute().try_collect().await.act(|| "list links".to_owned())?;
        let names = links.into_iter().flat_map(|link| link.attributes).filter_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        });
        for name in names.filter(|name| has_digits(name, LINK_PREFIX)) {
            if !kept.iter().any(|kept| kept.link == name) {
                self.remove_link(&name).await?;
            }
        }
        let list = || format!("list `{NETNS_FOLDER}`");
        for entry in fs::read_dir(NETNS_FOLDER).act(list)? {
            let path = entry.act(list)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if has_digits(&name, netns_prefix) && !kept.iter().any(|kept| kept.netns == path) {
                remove_namespace(&path)?;
            }
        }
        Ok(())
    }

    /// Makes everything. What a failure leaves behind is removed by [`Self::disconnect`].
    pub(crate) async fn connect(
        &self,
        names: &PodNames,
        address: Ipv4Addr,
        gateway: Ipv4Addr,
    ) -> Result<(), NetworkError> {
        let PodNamespace { file, netlink: inside } = make_namespace(names.netns.clone()).await?;
        // Not up yet: `veth_open` (drivers/net/veth.c) refuses while the pair is only half made.
        let peer = LinkMessageBuilder::<LinkUnspec>::new().name(POD_LINK).setns_by_fd(file.as_raw_fd()).build();
        let pair = LinkMessageBuilder::<LinkVeth>::new(&names.link, POD_LINK)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .up()
            .build();
        let act = || format!("make link `{}`", names.link);
        self.netlink.link().add(pair).execute().await.act(act)?;

        let loopback = index_of(&inside, "lo").await?;
        let up = LinkMessageBuilder::<LinkUnspec>::new().index(loopback).up().build();
        inside.link().change(up).execute().await.act(|| "set the pod's `lo` up".to_owned())?;
        // Not when it is made: the peer of a pair is not connected at that moment, and refuses (ENOTCONN).
        let own = link_of(&inside, POD_LINK).await?;
        let up = LinkMessageBuilder::<LinkUnspec>::new().index(own.index).up().build();
        inside.link().change(up).execute().await.act(|| format!("set the pod's `{POD_LINK}` up"))?;
        let add = inside.address().add(own.index, IpAddr::V4(address), 32);
        add.execute().await.act(|| format!("add address {address} to the pod"))?;
        let default =
            RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(own.index).onlink().build();
        inside.route().add(default).execute().await.act(|| format!("add the pod's route via {gateway}"))?;

        let link = link_of(&self.netlink, &names.link).await?;
        add_neighbour(&inside, &own, gateway, &link).await?;
        add_neighbour(&self.netlink, &link, address, &own).await?;
        let add = self.netlink.route().add(route_to(address, Some(link.index))).replace();
        add.execute().await.act(|| format!("add a route to {address}"))
    }

    /// Removes everything that is there. All parts are tried; the first error is returned.
    ///
    /// The route goes first: from then on the node refuses packets to the address at once. While a link is being
    /// removed the kernel drops what is routed to it without a word, and a client's SYN would be lost for a second.
    pub(crate) async fn disconnect(&self, names: &PodNames, address: Ipv4Addr) -> Result<(), NetworkError> {
        let route = self.remove_route(address).await;
        let link = self.remove_link(&names.link).await;
        let namespace = remove_namespace(&names.netns);
        route.and(link).and(namespace)
    }

    async fn remove_route(&self, address: Ipv4Addr) -> Result<(), NetworkError> {
        let del = self.netlink.route().del(route_to(address, None));
        match del.execute().await.act(|| format!("remove the route to {address}")) {
            Err(error) if error.source.raw_os_error() == Some(nix::libc::ESRCH) => Ok(()),
            result => result,
        }
    }

    async fn remove_link(&self, name: &str) -> Result<(), NetworkError> {
        let index = match index_of(&self.netlink, name).await {
            Ok(index) => index,
            Err(error) if is_no_device(&error.source) => return Ok(()),
            Err(error) => return Err(error),
        };
        match self.netlink.link().del(index).execute().await.act(|| format!("remove link `{name}`")) {
            Err(error) if is_no_device(&error.source) => Ok(()),
            result => result,
        }
    }
}

/// The node's route to a pod; without a link, what the kernel needs to find it.
fn route_to(address: Ipv4Addr, link: Option<u32>) -> RouteMessage {
    let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32).scope(RouteScope::Link);
    match link {
        Some(link) => route.output_interface(link).build(),
        None => route.build(),
    }
}

/// A namespace and a netlink socket in it.
struct PodNamespace {
    file: OwnedFd,
    netlink: Handle,
}

/// Makes and pins a namespace, on a thread of its own: threads that are in another namespace must not be used for
/// anything else, and this one ends.
async fn make_namespace(path: PathBuf) -> Result<PodNamespace, NetworkError> {
    let runtime = runtime::Handle::current();
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new()
        .name("netns".to_owned())
        .spawn(move || {
            let made = pin_new(&path).and_then(|file| {
                let _entered = runtime.enter();
                // A socket belongs to the namespace of the thread that opens it, whoever uses it later.
                let (connection, netlink, _) =
                    rtnetlink::new_connection().act(|| "open a netlink socket in the pod".to_owned())?;
                runtime.spawn(connection);
                Ok(PodNamespace { file, netlink })
            });
            // Nobody waits any more only when the kubelet ends; the harness then removes what is left.
            drop(sender.send(made));
        })
        .act(|| "start a thread".to_owned())?;
    receiver
        .await
        .unwrap_or_else(|_| Err(io::Error::other("its thread panicked")).act(|| "make a namespace".to_owned()))
}

fn pin_new(path: &Path) -> Result<OwnedFd, NetworkError> {
    const NONE: Option<&str> = None;
    let act = || format!("make network namespace `{}`", path.display());
    OpenOptions::new().write(true).create_new(true).open(path).act(act)?;
    unshare(CloneFlags::CLONE_NEWNET).act(act)?;
    mount(Some(OWN_NAMESPACE), path, NONE, MsFlags::MS_BIND, NONE).act(act)?;
    for (setting, value) in SETTINGS {
        // This folder shows the namespace of the thread that looks.
        match fs::write(Path::new("/proc/sys/net").join(setting), value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.act(|| format!("set `{setting}` in the pod"))?,
        }
    }
    Ok(File::open(OWN_NAMESPACE).act(act)?.into())
}

fn remove_namespace(path: &Path) -> Result<(), NetworkError> {
    let act = || format!("remove network namespace `{}`", path.display());
    // More than once when somebody bound the whole folder over itself, as `ip netns` does when it is not shared yet.
    for _ in 0..PINS_MAX {
        match umount2(path, MntFlags::MNT_DETACH) {
            Ok(()) => {}
            // EINVAL: it is no mount point (any more) (umount(2)).
            Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => break,
            Err(errno) => return Err(errno).act(act),
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.act(act),
    }
}

/// A link and its hardware address.
struct Found {
    index: u32,
    mac: Vec<u8>,
}

async fn link_of(netlink: &Handle, name: &str) -> Result<Found, NetworkError> {
    let act = || format!("find link `{name}`");
    let link = netlink.link().get().match_name(name.to_owned()).execute().try_next().await.act(act)?;
    let link = link.ok_or_else(|| io::Error::from(nix::errno::Errno::ENODEV)).act(act)?;
    let mac = link.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(mac) => Some(mac),
        _ => None,
    });
    Ok(Found { index: link.header.index, mac: mac.unwrap_or_default() })
}

async fn index_of(netlink: &Handle, name: &str) -> Result<u32, NetworkError> {
    Ok(link_of(netlink, name).await?.index)
}

/// Tells for ever who has `address` at the other end of `link`. Entries that are learnt have to be confirmed again and
/// again, and may be thrown away when all namespaces of the machine together have more than 1,024 (`gc_thresh3`).
async fn add_neighbour(netlink: &Handle, link: &Found, address: Ipv4Addr, to: &Found) -> Result<(), NetworkError> {
    let add = netlink.neighbours().add(link.index, IpAddr::V4(address)).link_layer_address(&to.mac).replace();
    add.execute().await.act(|| format!("add neighbour {address}"))
}

/// Whether a name is one that [`PodNames`] makes.
fn has_digits(name: &str, prefix: &str) -> bool {
    let digits = name.strip_prefix(prefix);
    digits.is_some_and(|digits| digits.len() == UID_DIGITS && digits.chars().all(|digit| digit.is_ascii_hexdigit()))
}

fn is_no_device(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32)
}

/// Attaches what was tried to a failure.
trait Act<T> {
    fn act(self, act: impl FnOnce() -> String) -> Result<T, NetworkError>;
}

impl<T> Act<T> for io::Result<T> {
    fn act(self, act: impl FnOnce() -> String) -> Result<T, NetworkError> {
        self.map_err(|source| NetworkError { act: act(), source })
    }
}

impl<T> Act<T> for nix::Result<T> {
    fn act(self, act: impl FnOnce() -> String) -> Result<T, NetworkError> {
        self.map_err(io::Error::from).act(act)
    }
}

impl<T> Act<T> for Result<T, rtnetlink::Error> {
    fn act(self, act: impl FnOnce() -> String) -> Result<T, NetworkError> {
        self.map_err(|error| match error {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other),
        })
        .act(act)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_into_the_kernels_limits() {
        let names = PodNames::new("mb-k3f9x2-alpha-alpha-1-", "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9");
        assert_eq!(names.netns, Path::new("/run/netns/mb-k3f9x2-alpha-alpha-1-0a1b2c3d"));
        assert_eq!(names.link, "lxc0a1b2c3d");
        assert!(names.link.len() < 16, "IFNAMSIZ counts the NUL");
        assert!(has_digits(&names.link, LINK_PREFIX));
        assert!(!has_digits("lxc_health", LINK_PREFIX), "an agent's own");
        assert!(!has_digits("mb-k3f9x2-alpha-alpha-1-x-0a1b2c3d", "mb-k3f9x2-alpha-alpha-1-"), "another node's");
    }
}
