//! Links, addresses and routes, by netlink.

use std::{fmt, io, net::Ipv4Addr};

use futures::TryStreamExt as _;
use ipnet::Ipv4Net;
use netlink_packet_route::{
    link::LinkFlags,
    route::{RouteScope, RouteType},
};
use rtnetlink::{
    LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::link::{InfoBridge, InfoData, InfoVeth},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Act, SystemError},
    namespace::Namespace,
};

/// How hardware addresses of ours begin: locally administered, one station (IEEE 802).
const LOCALLY_ADMINISTERED: [u8; 2] = [0x02, 0x62];

/// Interface index of `lo` in every namespace.
const LOOPBACK: Index = Index(1);

/// Number of an interface within its namespace. We choose them ourselves: then nothing needs to be looked up, and
/// requests can follow one another at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Index(u32);

impl Index {
    /// A bridge in a cluster's namespace.
    pub(crate) const BRIDGE: Self = Self::numbered(0);
    /// The link of a cluster's namespace to the router.
    pub(crate) const UPLINK: Self = Self::numbered(1);
    /// The link of a node to its cluster's segment.
    pub(crate) const NODE: Self = Self::numbered(0);

    /// The `number`th of ours. Kernels put fallback tunnel devices (`tunl0`, `sit0`, …) into every namespace, with
    /// numbers from 2 on.
    pub(crate) const fn numbered(number: u32) -> Self {
        const FIRST: u32 = 100;
        Self(FIRST + number)
    }

    /// A bridge that joins the link of the cluster at `position` to another machine; behind all links of the router.
    pub(crate) const fn patch(position: u32) -> Self {
        const FIRST: u32 = 1000;
        Self::numbered(FIRST + position)
    }

    /// The bridge port of a cluster's `position`th node.
    pub(crate) const fn of_port(position: u32) -> Self {
        Self::numbered(2 + position)
    }

    /// Number of the node whose bridge port this is, from 1.
    pub(crate) const fn of_node(self) -> u32 {
        self.0 - Self::of_port(0).0 + 1
    }
}

impl From<Index> for u32 {
    fn from(index: Index) -> Self {
        index.0
    }
}

/// Whether a link passes packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// It does.
    Up,
    /// It does not, as if the cable were pulled: both ends have lost their carrier, routes stay.
    Down,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// One end of a veth pair.
#[derive(Clone, Debug)]
pub(crate) struct VethEnd<'ns> {
    /// Where.
    pub(crate) namespace: &'ns Namespace,
    /// Name of the interface.
    pub(crate) name: String,
    /// Number of the interface.
    pub(crate) index: Index,
}

impl Namespace {
    fn doing(&self, what: &str) -> String {
        format!("{what} in `{}`", self.path().display())
    }

    /// Takes `lo` up.
    pub(crate) async fn loopback_up(&self) -> Result<(), SystemError> {
        self.set_link(LOOPBACK, Link::Up).await
    }

    /// Takes an interface up or down. When the call returns, no packet passes one that was taken down.
    pub(crate) async fn set_link(&self, index: Index, link: Link) -> Result<(), SystemError> {
        let message = LinkUnspec::new_with_index(index.0);
        let message = if link == Link::Up { message.up() } else { message.down() };
        self.netlink().link().set(message.build()).execute().await.act(|| self.doing(&format!("take a link {link}")))
    }

    /// Removes an interface, and with it the other end of its veth pair. Returns whether it was there.
    pub(crate) async fn remove_link(&self, index: Index) -> Result<bool, SystemError> {
        match self.netlink().link().del(index.0).execute().await {
            Ok(()) => Ok(true),
            Err(rtnetlink::Error::NetlinkError(message)) if message.to_io().raw_os_error() == Some(libc::ENODEV) => {
                Ok(false)
            }
            other => other.act(|| self.doing("remove a link")).map(|()| true),
        }
    }

    /// Whether an interface has a carrier: it and the other end of its veth pair are up.
    pub(crate) async fn carrier(&self, index: Index) -> Result<bool, SystemError> {
        let act = || self.doing("look at a link");
        let mut links = self.netlink().link().get().match_index(index.0).execute();
        let link = links.try_next().await.act(act)?;
        let link = link.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)).act(act)?;
        Ok(link.header.flags.contains(LinkFlags::LowerUp))
    }

    /// Makes the bridge that is a cluster's segment. Ports forward at once: there are no loops to listen for, and no
    /// IPv6 or multicast worth snooping.
    ///
    /// It has a hardware address of its own, made of `address`. Without one it would have the lowest of its ports' and
    /// change it when a port joins: whoever had learnt the old one, when it was another port's, would talk to nobody
    /// until their neighbour entry is given up, ten seconds later and more (`br_stp_recalculate_bridge_id`,
    /// `br_handle_frame`).
    pub(crate) async fn add_bridge(&self, name: &str, index: Index, address: Ipv4Addr) -> Result<(), SystemError> {
        let hardware_address = [&LOCALLY_ADMINISTERED[..], &address.octets()].concat();
        let message = LinkBridge::new(name)
            .index(index.0)
            .address(hardware_address)
            .set_info_data(InfoData::Bridge(vec![InfoBridge::ForwardDelay(0), InfoBridge::MulticastSnooping(false)]))
            .build();
        self.netlink().link().add(message).execute().await.act(|| self.doing(&format!("make bridge `{name}`")))
    }

    /// Takes the interface number `port` up and makes it a port of `bridge`.
    pub(crate) async fn join_bridge(&self, port: impl Into<u32>, bridge: Index) -> Result<(), SystemError> {
        let message = LinkUnspec::new_with_index(port.into()).controller(bridge.0).up().build();
        self.netlink().link().set(message).execute().await.act(|| self.doing("make an interface a port of a bridge"))
    }

    /// Answers for `address` itself.
    pub(crate) async fn add_own_address(&self, address: Ipv4Addr) -> Result<(), SystemError> {
        self.add_address(LOOPBACK, address, Ipv4Addr::BITS as u8).await
    }

    /// Gives an interface an address.
    pub(crate) async fn add_address(&self, index: Index, address: Ipv4Addr, prefix: u8) -> Result<(), SystemError> {
        let request = self.netlink().address().add(index.0, address.into(), prefix);
        request.execute().await.act(|| self.doing(&format!("add address {address}/{prefix}")))
    }

    /// Routes `destination` through `gateway`.
    pub(crate) async fn add_route(&self, destination: Ipv4Net, gateway: Ipv4Addr) -> Result<(), SystemError> {
        let mut message = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway);
        // The kernel takes a default route by the absence of a destination.
        if destination.prefix_len() > 0 {
            message = message.destination_prefix(destination.network(), destination.prefix_len());
        }
        let request = self.netlink().route().add(message.build());
        request.execute().await.act(|| self.doing(&format!("add route to {destination} via {gateway}")))
    }

    /// Answers for every address of `destination` that has no better route, so that connections to a pod that is gone
    /// are refused by its node at once (RST). Without a route they would go round until their TTL ends; the errors of an
    /// `unreachable` route are limited to one a second for each client (`ip_error` in net/ipv4/route.c), and the limit
    /// is the whole machine's.
    pub(crate) async fn add_refusing(&self, destination: Ipv4Net) -> Result<(), SystemError> {
        let message = RouteMessageBuilder::<Ipv4Addr>::new()
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .output_interface(LOOPBACK.0)
            .destination_prefix(destination.network(), destination.prefix_len());
        let request = self.netlink().route().add(message.build());
        request.execute().await.act(|| self.doing(&format!("add refusing route to {destination}")))
    }
}

/// The destination that everything matches.
pub(crate) fn everywhere() -> Ipv4Net {
    Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0).expect("0 is a valid prefix length")
}

/// Makes a veth pair with its ends in two namespaces and takes both up; `near` becomes a port of the bridge.
pub(crate) async fn add_veth(near: VethEnd<'_>, far: VethEnd<'_>, bridge: Index) -> Result<(), SystemError> {
    let peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(far.name.clone())
        .index(far.index.0)
        .setns_by_fd(far.namespace.raw_fd())
        .build();
    let message = LinkVeth::new(&near.name, &far.name)
        .index(near.index.0)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .controller(bridge.0)
        .up()
        .build();
    let request = near.namespace.netlink().link().add(message);
    request.execute().await.act(|| {
        let far = far.namespace.path().display();
        near.namespace.doing(&format!("make a veth pair to `{far}`"))
    })?;
    // The peer cannot be made up: at that moment it has no peer itself (`veth_open` says ENOTCONN).
    let message = LinkUnspec::new_with_index(far.index.0).up().build();
    let request = far.namespace.netlink().link().set(message);
    request.execute().await.act(|| far.namespace.doing(&format!("take up `{}`", far.name)))
}
