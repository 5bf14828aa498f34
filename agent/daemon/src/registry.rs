//! What is known of the nodes and security identities of all clusters: for `node list` and `identity list`.
//!
//! Compact, because a mesh has tens of thousands of them: of a node what the list shows, of an identity its labels in the
//! form in which they travel.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{Ipv4Net, Ipv6Net};
use mesh_types::{ClusterName, NumericIdentity};
use mesh_wire::{IdentityLabels, Node};

use crate::status::{ClusterNodes, Identity, NodeAddressing, NodeElement, NodeSource};

/// The reserved identities and their labels, as every cluster has them (1.3 of the reference).
const RESERVED: [(NumericIdentity, &[&str]); 10] = [
    (NumericIdentity::HOST, &["reserved:host"]),
    (NumericIdentity::WORLD, &["reserved:world"]),
    (NumericIdentity::UNMANAGED, &["reserved:unmanaged"]),
    (NumericIdentity::HEALTH, &["reserved:health"]),
    (NumericIdentity::INIT, &["reserved:init"]),
    (NumericIdentity::REMOTE_NODE, &["reserved:remote-node"]),
    (NumericIdentity::KUBE_APISERVER, &["reserved:kube-apiserver", "reserved:remote-node"]),
    (NumericIdentity::INGRESS, &["reserved:ingress"]),
    (NumericIdentity::WORLD_IPV4, &["reserved:world-ipv4"]),
    (NumericIdentity::WORLD_IPV6, &["reserved:world-ipv6"]),
];

/// The cluster whose names are written without it: Cilium's name for a cluster that is in no mesh.
const NO_MESH: &str = "default";

/// Whose an object is; `None` is our own cluster.
pub(crate) type Owner = Option<ClusterName>;

/// Nodes and identities by owner.
pub(crate) struct Registry {
    cluster: ClusterName,
    /// Name of our own node.
    node: Box<str>,
    nodes: BTreeMap<Owner, BTreeMap<Box<str>, Known>>,
    identities: BTreeMap<Owner, BTreeMap<NumericIdentity, Box<[u8]>>>,
}

/// What is kept of a node.
struct Known {
    ipv4: Option<Ipv4Addr>,
    ipv4_pods: Option<Ipv4Net>,
    /// Boxed, for most nodes have none and it is four times as large.
    ipv6: Option<Box<(Option<Ipv6Addr>, Option<Ipv6Net>)>>,
}

impl Registry {
    /// Of node `node` of `cluster`; nothing is known yet.
    pub(crate) fn new(cluster: ClusterName, node: &str) -> Self {
        Self { cluster, node: node.into(), nodes: BTreeMap::new(), identities: BTreeMap::new() }
    }

    /// Name of our own node.
    pub(crate) fn node_name(&self) -> &str {
        &self.node
    }

    /// The newest value of a node; `None` when it is gone.
    pub(crate) fn node(&mut self, owner: Owner, name: &str, node: Option<&Node>) {
        let nodes = self.nodes.entry(owner).or_default();
        match node {
            Some(node) => drop(nodes.insert(name.into(), Known::of(node))),
            None => drop(nodes.remove(name)),
        }
    }

    /// The newest labels of an identity; `None` when it is gone.
    pub(crate) fn identity(&mut self, owner: Owner, identity: NumericIdentity, labels: Option<&IdentityLabels>) {
        let identities = self.identities.entry(owner).or_default();
        match labels {
            Some(labels) => drop(identities.insert(identity, labels.encode().into())),
            None => drop(identities.remove(&identity)),
        }
    }

    /// A remote cluster is no more, and nothing of it.
    pub(crate) fn remove_cluster(&mut self, cluster: &ClusterName) {
        let owner = Some(cluster.clone());
        self.nodes.remove(&owner);
        self.identities.remove(&owner);
    }

    /// All nodes, sorted by their full names.
    pub(crate) fn nodes(&self) -> ClusterNodes {
        let full = |owner: &Owner, name: &str| match owner.as_ref().unwrap_or(&self.cluster).as_str() {
            NO_MESH => name.to_owned(),
            cluster => format!("{cluster}/{name}"),
        };
        let source = |owner: &Owner, name: &str| match owner {
            Some(_) => NodeSource::Clustermesh,
            None if *name == *self.node => NodeSource::Local,
            None => NodeSource::CustomResource,
        };
        let all =
            self.nodes.iter().flat_map(|(owner, nodes)| nodes.iter().map(move |(name, node)| (owner, name, node)));
        let mut nodes: Vec<NodeElement> =
            all.map(|(owner, name, node)| node.element(full(owner, name), source(owner, name))).collect();
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        ClusterNodes { this: full(&None, &self.node), nodes }
    }

    /// All identities, the reserved ones too, sorted by number.
    pub(crate) fn identities(&self) -> Vec<Identity> {
        let reserved = RESERVED.iter().map(|(id, labels)| (*id, labels.iter().map(|label| (*label).into()).collect()));
        let others = self.identities.values().flatten().map(|(id, labels)| (*id, texts(labels)));
        let all = reserved.chain(others).map(|(id, labels)| Identity { id: id.get(), labels });
        let mut identities: Vec<Identity> = all.collect();
        identities.sort_by_key(|identity| identity.id);
        identities
    }
}

impl Known {
    fn of(node: &Node) -> Self {
        let ipv4 = primary(node, |ip| match ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        });
        let ipv6 = primary(node, |ip| match ip {
            IpAddr::V6(ip) => Some(ip),
            IpAddr::V4(_) => None,
        });
        let has_ipv6 = ipv6.is_some() || node.ipv6_pods.is_some();
        Self { ipv4, ipv4_pods: node.ipv4_pods, ipv6: has_ipv6.then(|| Box::new((ipv6, node.ipv6_pods))) }
    }

    fn element(&self, name: String, source: NodeSource) -> NodeElement {
        let (ipv6, ipv6_pods) = self.ipv6.as_deref().copied().unwrap_or_default();
        NodeElement {
            name,
            primary_address: NodeAddressing {
                ipv4: element(self.ipv4.map(Into::into), self.ipv4_pods.map(|pods| pods.to_string())),
                ipv6: element(ipv6.map(Into::into), ipv6_pods.map(|pods| pods.to_string())),
            },
            source,
        }
    }
}

fn element(ip: Option<IpAddr>, pods: Option<String>) -> crate::status::NodeAddressingElement {
    let ip = ip.map(|ip| ip.to_string()).unwrap_or_default();
    crate::status::NodeAddressingElement { alloc_range: pods.unwrap_or_default(), enabled: !ip.is_empty(), ip }
}

/// The address by which others know a node: an internal one if there is one, else an external one, as in Cilium.
fn primary<T>(node: &Node, of: impl Fn(IpAddr) -> Option<T> + Copy) -> Option<T> {
    node.address("InternalIP", of).or_else(|| node.address("ExternalIP", of))
}

/// Labels as a list shows them: `source:key=value`, and `source:key` for one without a value.
fn texts(encoded: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(encoded);
    let label = |label: &str| match label.split_once('=') {
        Some((key, "")) => key.to_owned(),
        _ => label.to_owned(),
    };
    text.split_terminator(';').map(label).collect()
}

#[cfg(test)]
mod tests;
