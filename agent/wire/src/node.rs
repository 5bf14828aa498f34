//! Value of `cilium/state/nodes/v1/<cluster>/<node>`: a node and the addresses that lead to it.

use std::{
    collections::BTreeMap,
    net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{Ipv4Net, Ipv6Net};
use mesh_types::{ClusterId, ClusterIdError, ClusterName, ClusterNameError, NumericIdentity};
use serde::{Deserialize, Serialize};

use crate::{
    cluster_config::{cluster_id, exported_id},
    go_json::{self, null_as_default},
    go_net::{self, Family, NetWire},
};

/// A node as one cluster exports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name, unique in its cluster.
    pub name: String,
    /// Exporting cluster.
    pub cluster: ClusterName,
    /// Its own addresses. The first of a kind and family is the one that others use.
    pub addresses: Vec<NodeAddress>,
    /// IPv4 addresses of its pods.
    pub ipv4_pods: Option<Ipv4Net>,
    /// More IPv4 addresses of its pods.
    pub ipv4_pods_secondary: Vec<Ipv4Net>,
    /// IPv6 addresses of its pods.
    pub ipv6_pods: Option<Ipv6Net>,
    /// More IPv6 addresses of its pods.
    pub ipv6_pods_secondary: Vec<Ipv6Net>,
    /// IPv4 address of its health endpoint.
    pub ipv4_health: Option<Ipv4Addr>,
    /// IPv6 address of its health endpoint.
    pub ipv6_health: Option<Ipv6Addr>,
    /// IPv4 address of its ingress proxy.
    pub ipv4_ingress: Option<Ipv4Addr>,
    /// IPv6 address of its ingress proxy.
    pub ipv6_ingress: Option<Ipv6Addr>,
    /// ID of the exporting cluster.
    pub cluster_id: ClusterId,
    /// Where the exporter has it from, e.g. `custom-resource`. Readers set their own.
    pub source: String,
    /// 0: no encryption, 1 to 15: SPI of IPsec, 255: WireGuard.
    pub encryption_key: u8,
    /// Labels of the node; `None` when the exporter wrote `null`.
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations of the node; `None` when the exporter wrote `null`.
    pub annotations: Option<BTreeMap<String, String>>,
    /// Identity by which policies of that node know it. Up to 1.19; `None` when the field is not there.
    pub identity: Option<NumericIdentity>,
    /// WireGuard's public key in base64; empty without WireGuard.
    pub wireguard_public_key: String,
    /// The kernel's random ID of this boot; empty when unknown.
    pub boot_id: String,
}

/// One address of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// `InternalIP`, `ExternalIP`, `CiliumInternalIP`, …: kept as it is, kinds of the future included.
    pub kind: String,
    /// The address.
    pub ip: IpAddr,
}

/// What a reader expects a node to be, from its key and from the peer's cluster configuration.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedNode<'a> {
    /// Peer that the key belongs to.
    pub cluster: &'a ClusterName,
    /// ID in the peer's cluster configuration.
    pub cluster_id: ClusterId,
    /// Node name at the end of the key.
    pub name: &'a str,
}

impl Node {
    /// Reads a value and checks that it is complete and that all its addresses are addresses.
    pub fn decode(value: &[u8]) -> Result<Self, NodeError> {
        let wire: NodeWire = serde_json::from_slice(value).map_err(NodeError::Json)?;
        wire.try_into()
    }

    /// Reads a value and checks that it is what the key and the peer's configuration promise.
    pub fn decode_expected(value: &[u8], expected: ExpectedNode<'_>) -> Result<Self, NodeError> {
        let node = Self::decode(value)?;
        node.validate(expected)?;
        Ok(node)
    }

    /// Checks that cluster, name and cluster ID are the expected ones.
    pub fn validate(&self, expected: ExpectedNode<'_>) -> Result<(), NodeError> {
        if self.cluster != *expected.cluster {
            let (found, expected) = (self.cluster.clone(), expected.cluster.clone());
            Err(NodeError::UnexpectedCluster { found, expected })
        } else if self.name != expected.name {
            let (found, expected) = (self.name.clone(), expected.name.to_owned());
            Err(NodeError::UnexpectedName { found, expected })
        } else if self.cluster_id != expected.cluster_id {
            let (found, expected) = (self.cluster_id, expected.cluster_id);
            Err(NodeError::UnexpectedClusterId { found, expected })
        } else {
            Ok(())
        }
    }

    /// The address of `kind` that others use, of the family that `of` takes.
    pub fn address<T>(&self, kind: &str, of: impl Fn(IpAddr) -> Option<T>) -> Option<T> {
        self.addresses.iter().filter(|address| address.kind == kind).find_map(|address| of(address.ip))
    }

    /// Writes the value: Cilium's field order, map keys in the order of their bytes.
    pub fn encode(&self) -> Vec<u8> {
        go_json::to_vec(&NodeWire::from(self))
    }
}

/// Why a node value is refused. Readers count it and keep the value that they had.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Not JSON, or a field of the wrong type.
    #[error("node is malformed")]
    Json(#[source] serde_json::Error),
    /// The cluster's name breaks the rules for names.
    #[error("field `Cluster` is no cluster name")]
    Cluster(#[source] ClusterNameError),
    /// A field that must have a value has none.
    #[error("field `{field}` is empty")]
    Empty {
        /// JSON name of the field.
        field: &'static str,
    },
    /// An ID outside `1..=511`.
    #[error("field `ClusterID` is {found}")]
    ClusterId {
        /// The number found.
        found: u32,
        /// What is wrong with it.
        #[source]
        source: ClusterIdError,
    },
    /// A text that should be an address.
    #[error("`{found}` in field `{field}` is no IP address")]
    Address {
        /// JSON name of the field.
        field: &'static str,
        /// The text found.
        found: String,
        /// What the parser says.
        #[source]
        source: AddrParseError,
    },
    /// An IPv6 address in a field for IPv4, or the other way round.
    #[error("`{found}` in field `{field}` is of the other IP family")]
    Family {
        /// JSON name of the field.
        field: &'static str,
        /// The address found.
        found: IpAddr,
    },
    /// Address and mask that are no network of the field's family.
    #[error("`{found}` in field `{field}` is no network of its IP family")]
    Network {
        /// JSON name of the field.
        field: &'static str,
        /// Address and mask found.
        found: String,
    },
    /// The value is about another cluster than its key.
    #[error("unexpected cluster name: got `{found}`, expected `{expected}`")]
    UnexpectedCluster {
        /// In the value.
        found: ClusterName,
        /// In the key.
        expected: ClusterName,
    },
    /// The value is about another node than its key.
    #[error("name does not match the key: got `{found}`, expected `{expected}`")]
    UnexpectedName {
        /// In the value.
        found: String,
        /// In the key.
        expected: String,
    },
    /// The value has another cluster ID than the peer's configuration.
    #[error("unexpected cluster ID: got {found}, expected {expected}")]
    UnexpectedClusterId {
        /// In the value.
        found: ClusterId,
        /// In the peer's configuration.
        expected: ClusterId,
    },
}

/// The JSON object as it stands in the kvstore; the order of fields is the order of bytes. The Go struct has no tags, so
/// names are capitalised and nothing is left out: a missing list or network is `null`, a missing address an empty text.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct NodeWire {
    #[serde(rename = "Name", deserialize_with = "null_as_default")]
    name: String,
    #[serde(rename = "Cluster", deserialize_with = "null_as_default")]
    cluster: String,
    #[serde(rename = "IPAddresses")]
    addresses: Option<Vec<AddressWire>>,
    #[serde(rename = "IPv4AllocCIDR")]
    ipv4_pods: Option<NetWire>,
    #[serde(rename = "IPv4SecondaryAllocCIDRs")]
    ipv4_pods_secondary: Option<Vec<Option<NetWire>>>,
    #[serde(rename = "IPv6AllocCIDR")]
    ipv6_pods: Option<NetWire>,
    #[serde(rename = "IPv6SecondaryAllocCIDRs")]
    ipv6_pods_secondary: Option<Vec<Option<NetWire>>>,
    #[serde(rename = "IPv4HealthIP", deserialize_with = "null_as_default")]
    ipv4_health: String,
    #[serde(rename = "IPv6HealthIP", deserialize_with = "null_as_default")]
    ipv6_health: String,
    #[serde(rename = "IPv4IngressIP", deserialize_with = "null_as_default")]
    ipv4_ingress: String,
    #[serde(rename = "IPv6IngressIP", deserialize_with = "null_as_default")]
    ipv6_ingress: String,
    #[serde(rename = "ClusterID", deserialize_with = "null_as_default")]
    cluster_id: u32,
    #[serde(rename = "Source", deserialize_with = "null_as_default")]
    source: String,
    #[serde(rename = "EncryptionKey", deserialize_with = "null_as_default")]
    encryption_key: u8,
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
    #[serde(rename = "Annotations")]
    annotations: Option<BTreeMap<String, String>>,
    // Written by 1.19 and not by 1.20.
    #[serde(rename = "NodeIdentity", skip_serializing_if = "Option::is_none")]
    identity: Option<NumericIdentity>,
    #[serde(rename = "WireguardPubKey", deserialize_with = "null_as_default")]
    wireguard_public_key: String,
    #[serde(rename = "BootID", deserialize_with = "null_as_default")]
    boot_id: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct AddressWire {
    #[serde(rename = "Type", deserialize_with = "null_as_default")]
    kind: String,
    #[serde(rename = "IP", deserialize_with = "null_as_default")]
    ip: String,
}

impl TryFrom<NodeWire> for Node {
    type Error = NodeError;

    fn try_from(wire: NodeWire) -> Result<Self, Self::Error> {
        let fields = [("Name", &wire.name), ("Cluster", &wire.cluster)];
        if let Some((field, _)) = fields.into_iter().find(|(_, text)| text.is_empty()) {
            return Err(NodeError::Empty { field });
        }
        Ok(Self {
            name: wire.name,
            cluster: ClusterName::new(wire.cluster).map_err(NodeError::Cluster)?,
            addresses: addresses_from_wire(wire.addresses.unwrap_or_default())?,
            ipv4_pods: net_from_wire::<Ipv4Addr>("IPv4AllocCIDR", wire.ipv4_pods)?,
            ipv4_pods_secondary: nets_from_wire::<Ipv4Addr>("IPv4SecondaryAllocCIDRs", wire.ipv4_pods_secondary)?,
            ipv6_pods: net_from_wire::<Ipv6Addr>("IPv6AllocCIDR", wire.ipv6_pods)?,
            ipv6_pods_secondary: nets_from_wire::<Ipv6Addr>("IPv6SecondaryAllocCIDRs", wire.ipv6_pods_secondary)?,
            ipv4_health: of_family("IPv4HealthIP", wire.ipv4_health)?,
            ipv6_health: of_family("IPv6HealthIP", wire.ipv6_health)?,
            ipv4_ingress: of_family("IPv4IngressIP", wire.ipv4_ingress)?,
            ipv6_ingress: of_family("IPv6IngressIP", wire.ipv6_ingress)?,
            cluster_id: cluster_id(wire.cluster_id)
                .map_err(|source| NodeError::ClusterId { found: wire.cluster_id, source })?,
            source: wire.source,
            encryption_key: wire.encryption_key,
            labels: wire.labels,
            annotations: wire.annotations,
            identity: wire.identity,
            wireguard_public_key: wire.wireguard_public_key,
            boot_id: wire.boot_id,
        })
    }
}

impl From<&Node> for NodeWire {
    fn from(node: &Node) -> Self {
        let address = |address: &NodeAddress| AddressWire { kind: address.kind.clone(), ip: address.ip.to_string() };
        Self {
            name: node.name.clone(),
            cluster: node.cluster.to_string(),
            addresses: null_if_empty(node.addresses.iter().map(address)),
            ipv4_pods: node.ipv4_pods.map(go_net::net_wire::<Ipv4Addr>),
            ipv4_pods_secondary: nets_to_wire::<Ipv4Addr>(&node.ipv4_pods_secondary),
            ipv6_pods: node.ipv6_pods.map(go_net::net_wire::<Ipv6Addr>),
            ipv6_pods_secondary: nets_to_wire::<Ipv6Addr>(&node.ipv6_pods_secondary),
            ipv4_health: go_net::ip_text(node.ipv4_health),
            ipv6_health: go_net::ip_text(node.ipv6_health),
            ipv4_ingress: go_net::ip_text(node.ipv4_ingress),
            ipv6_ingress: go_net::ip_text(node.ipv6_ingress),
            cluster_id: exported_id(node.cluster_id),
            source: node.source.clone(),
            encryption_key: node.encryption_key,
            labels: node.labels.clone(),
            annotations: node.annotations.clone(),
            identity: node.identity,
            wireguard_public_key: node.wireguard_public_key.clone(),
            boot_id: node.boot_id.clone(),
        }
    }
}

fn ip_from_wire(field: &'static str, text: String) -> Result<Option<IpAddr>, NodeError> {
    go_net::ip(&text).map_err(|source| NodeError::Address { field, found: text, source })
}

/// An address whose field says the family.
fn of_family<F: Family>(field: &'static str, text: String) -> Result<Option<F>, NodeError> {
    let Some(ip) = ip_from_wire(field, text)? else { return Ok(None) };
    F::of(ip).map(Some).ok_or(NodeError::Family { field, found: ip })
}

/// An entry without an address says nothing and is skipped.
fn addresses_from_wire(wire: Vec<AddressWire>) -> Result<Vec<NodeAddress>, NodeError> {
    let mut addresses = Vec::with_capacity(wire.len());
    for AddressWire { kind, ip } in wire {
        addresses.extend(ip_from_wire("IPAddresses", ip)?.map(|ip| NodeAddress { kind, ip }));
    }
    Ok(addresses)
}

fn net_from_wire<F: Family>(field: &'static str, wire: Option<NetWire>) -> Result<Option<F::Net>, NodeError> {
    let Some(wire) = wire else { return Ok(None) };
    go_net::net::<F>(&wire).map(Some).ok_or_else(|| NodeError::Network { field, found: wire.to_string() })
}

fn nets_from_wire<F: Family>(
    field: &'static str,
    wire: Option<Vec<Option<NetWire>>>,
) -> Result<Vec<F::Net>, NodeError> {
    wire.unwrap_or_default().into_iter().filter_map(|net| net_from_wire::<F>(field, net).transpose()).collect()
}

fn nets_to_wire<F: Family>(nets: &[F::Net]) -> Option<Vec<Option<NetWire>>> {
    null_if_empty(nets.iter().map(|&net| Some(go_net::net_wire::<F>(net))))
}

/// Go writes `null` for a list that nothing was ever appended to.
fn null_if_empty<T>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let items: Vec<T> = items.collect();
    (!items.is_empty()).then_some(items)
}

#[cfg(test)]
mod tests;
