//! Which packets the kernel hands over: policy rules, tables and routes of the router's namespace.
//!
//! Each cluster *c* with a direction that is not clear has a device `wan<id>` and a table `1000 + id` with a default
//! route into that device. A rule for each destination sends packets that come in from *c* to that table. Behind the
//! default route is one that drops everything: were this program to end, the device would vanish and its route with it,
//! and packets must be lost then rather than pass unimpaired. Packets that come back out of a device match no rule and
//! follow the main table. The address that hides a cluster is a route of the main table into the device of the cluster
//! on the other side, so that answers and the kernel's own errors are handed over alike.

use std::{collections::BTreeSet, net::Ipv4Addr};

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use mesh_types::ClusterId;
use netlink_packet_route::{
    route::{RouteMessage, RouteScope, RouteType},
    rule::{RuleAction, RuleAttribute, RuleMessage},
};
use nix::net::if_::if_nametoindex;
use rtnetlink::{Handle, IpVersion, LinkUnspec, RouteMessageBuilder};

use crate::{
    error::{Act, WanError},
    tun::{CLONE_DEVICE, DEVICE_QUEUE, Tun},
};

/// First of our routing tables; those of the kernel are below 256.
const TABLE_BASE: u32 = 1000;
/// Number of our tables: cluster IDs end at 511.
const TABLES: u32 = 512;
/// Place of our rules: after the local table (0), before the main one (32766).
const PRIORITY: u32 = 1000;
/// Metric of the route that drops: the last one to be taken.
const METRIC_LAST: u32 = u32::MAX;
/// MTU of our devices, as large as can be: it is the link's conditions that say what is too large.
const DEVICE_MTU: u32 = 65_535;
/// One thing that hands packets over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Diversion {
    /// What comes in by `interface` for `destination` goes to the device of cluster `id`.
    Incoming {
        /// Name of the interface.
        interface: String,
        /// Addresses.
        destination: Ipv4Net,
        /// The cluster that the interface leads to.
        id: ClusterId,
    },
    /// What goes to `address` goes to the device of cluster `id`.
    Hidden {
        /// The address.
        address: Ipv4Addr,
        /// The cluster on the other side.
        id: ClusterId,
    },
}

/// The router's namespace, as we change it.
#[derive(Debug)]
pub(crate) struct Diverter {
    handle: Handle,
    diversions: BTreeSet<Diversion>,
}

/// Name of the device for packets from the cluster `id`.
pub(crate) fn device_name(id: ClusterId) -> String {
    format!("wan{id}")
}

impl Diverter {
    /// Opens a netlink socket in the calling thread's namespace, and removes rules of a router that was there before.
    pub(crate) async fn new() -> Result<Self, WanError> {
        let (connection, handle, _) = rtnetlink::new_connection().act(|| "open a netlink socket".to_owned())?;
        tokio::spawn(connection);
        let diverter = Self { handle, diversions: BTreeSet::new() };
        diverter.sweep().await?;
        Ok(diverter)
    }

    async fn sweep(&self) -> Result<(), WanError> {
        let rules: Vec<RuleMessage> = self
            .handle
            .rule()
            .get(IpVersion::V4)
            .execute()
            .try_collect()
            .await
            .act(|| "list the policy rules".to_owned())?;
        for rule in rules.into_iter().filter(is_ours) {
            self.handle.rule().del(rule).execute().await.act(|| "remove an old policy rule".to_owned())?;
        }
        Ok(())
    }

    /// Makes the device for packets from the cluster `id`, ready for diversions to it.
    pub(crate) async fn make_device(&self, id: ClusterId) -> Result<Tun, WanError> {
        let name = device_name(id);
        let tun = Tun::open(&name).act(|| format!("make TUN device `{name}` with `{CLONE_DEVICE}`"))?;
        let index = if_nametoindex(name.as_str()).map_err(std::io::Error::from);
        let index = index.act(|| format!("find interface `{name}`"))?;
        let link = LinkUnspec::new_with_index(index).mtu(DEVICE_MTU).txqueuelen(DEVICE_QUEUE).up().build();
        self.handle.link().set(link).execute().await.act(|| format!("take up `{name}`"))?;
        let table = table_of(id);
        let into_device = RouteMessageBuilder::<Ipv4Addr>::new()
            .table_id(table)
            .output_interface(index)
            .scope(RouteScope::Link)
            .build();
        let drop_all = RouteMessageBuilder::<Ipv4Addr>::new()
            .table_id(table)
            .kind(RouteType::BlackHole)
            .priority(METRIC_LAST)
            .build();
        for route in [into_device, drop_all] {
            let request = self.handle.route().add(route).replace();
            request.execute().await.act(|| format!("add a route to table {table}"))?;
        }
        Ok(tun)
    }

    /// Adds what is not there of `wanted`.
    pub(crate) async fn add(&mut self, wanted: &BTreeSet<Diversion>) -> Result<(), WanError> {
        for diversion in wanted {
            if self.diversions.contains(diversion) {
                continue;
            }
            match diversion {
                Diversion::Incoming { interface, destination, id } => {
                    let mut request = self.handle.rule().add().v4();
                    *request.message_mut() = rule(interface, *destination, *id);
                    request.execute().await
                }
                Diversion::Hidden { address, id } => {
                    self.handle.route().add(hidden_route(*address, *id)?).replace().execute().await
                }
            }
            .act(|| format!("add {diversion:?}"))?;
            self.diversions.insert(diversion.clone());
        }
        Ok(())
    }

    /// Removes what is there beyond `wanted`.
    pub(crate) async fn remove_others(&mut self, wanted: &BTreeSet<Diversion>) -> Result<(), WanError> {
        let others: Vec<Diversion> = self.diversions.difference(wanted).cloned().collect();
        for diversion in others {
            match &diversion {
                Diversion::Incoming { interface, destination, id } => {
                    self.handle.rule().del(rule(interface, *destination, *id)).execute().await
                }
                Diversion::Hidden { address, id } => {
                    self.handle.route().del(hidden_route(*address, *id)?).execute().await
                }
            }
            .act(|| format!("remove {diversion:?}"))?;
            self.diversions.remove(&diversion);
        }
        Ok(())
    }
}

fn table_of(id: ClusterId) -> u32 {
    TABLE_BASE + u32::from(id.get())
}

fn rule(interface: &str, destination: Ipv4Net, id: ClusterId) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = netlink_packet_route::AddressFamily::Inet;
    message.header.action = RuleAction::ToTable;
    message.header.dst_len = destination.prefix_len();
    message.attributes = vec![
        RuleAttribute::Iifname(interface.to_owned()),
        RuleAttribute::Destination(destination.network().into()),
        RuleAttribute::Table(table_of(id)),
        RuleAttribute::Priority(PRIORITY),
    ];
    message
}

fn is_ours(rule: &RuleMessage) -> bool {
    rule.attributes.iter().any(|attribute| match attribute {
        RuleAttribute::Table(table) => (TABLE_BASE..TABLE_BASE + TABLES).contains(table),
        _ => false,
    })
}

fn hidden_route(address: Ipv4Addr, id: ClusterId) -> Result<RouteMessage, WanError> {
    let name = device_name(id);
    let index = if_nametoindex(name.as_str()).map_err(std::io::Error::from);
    Ok(RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(address, 32)
        .output_interface(index.act(|| format!("find interface `{name}`"))?)
        .scope(RouteScope::Link)
        .build())
}
