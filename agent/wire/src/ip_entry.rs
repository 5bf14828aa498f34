//! Value of `cilium/state/ip/v1/default/<ip or cidr>`: an address, its identity, and the node that leads to it.

use std::{
    collections::BTreeMap,
    net::{AddrParseError, IpAddr},
};

use ipnet::IpNet;
use mesh_types::{ClusterId, MaxConnectedClusters, NumericIdentity, Protocol, UnknownProtocol};
use serde::{Deserialize, Serialize};

use crate::{
    IpPrefix,
    go_json::{self, null_as_default},
    go_net,
};

/// An address or CIDR as one cluster exports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpEntry {
    /// What it is about; the key ends in the same.
    pub prefix: IpPrefix,
    /// The node that leads to it: the tunnel's other end. `None` for a node itself, or when unknown.
    pub host: Option<IpAddr>,
    /// Its identity.
    pub identity: NumericIdentity,
    /// 0: no encryption, 1 to 15: SPI of IPsec, 255: WireGuard.
    pub encryption_key: u8,
    /// Empty in all versions known.
    pub metadata: String,
    /// Namespace of the pod; empty when it is no pod's address.
    pub namespace: String,
    /// Name of the pod; empty when it is no pod's address.
    pub pod: String,
    /// Service account of the pod; empty when not told.
    pub service_account: String,
    /// Ports of the pod that have names, by name.
    pub named_ports: BTreeMap<String, NamedPort>,
}

/// What a port name stands for. Host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamedPort {
    /// Port number.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// What a reader expects an ip entry to be, from its key and from the peer's cluster configuration.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedIp {
    /// The end of the key.
    pub prefix: IpPrefix,
    /// ID in the peer's cluster configuration.
    pub cluster_id: ClusterId,
    /// How the mesh splits identities.
    pub limit: MaxConnectedClusters,
}

impl IpEntry {
    /// Reads a value and checks that its addresses are addresses.
    pub fn decode(value: &[u8]) -> Result<Self, IpEntryError> {
        let wire: IpEntryWire = serde_json::from_slice(value).map_err(IpEntryError::Json)?;
        wire.try_into()
    }

    /// Reads a value as a reader of a remote cluster takes it: it must be about what its key says, its identity must be
    /// one that the peer may give out, and the peer's own host is a remote node here.
    pub fn decode_expected(value: &[u8], expected: ExpectedIp) -> Result<Self, IpEntryError> {
        let mut entry = Self::decode(value)?;
        entry.validate(expected)?;
        if entry.identity == NumericIdentity::HOST {
            entry.identity = NumericIdentity::REMOTE_NODE;
        }
        Ok(entry)
    }

    /// Checks that the prefix is the expected one, and that the identity is reserved or of the peer's range.
    pub fn validate(&self, expected: ExpectedIp) -> Result<(), IpEntryError> {
        if self.prefix != expected.prefix {
            return Err(IpEntryError::UnexpectedPrefix { found: self.prefix, expected: expected.prefix });
        }
        let range = expected.cluster_id.identities(expected.limit);
        if self.identity.is_reserved() || range.contains(&self.identity) {
            return Ok(());
        }
        let (found, cluster_id) = (self.identity, expected.cluster_id);
        Err(IpEntryError::IdentityRange { found, cluster_id, first: *range.start(), last: *range.end() })
    }

    /// Writes the value: Cilium's field order, ports in the order of their names.
    pub fn encode(&self) -> Vec<u8> {
        go_json::to_vec(&IpEntryWire::from(self))
    }
}

/// Why an ip value is refused. Readers count it and keep the value that they had.
#[derive(Debug, thiserror::Error)]
pub enum IpEntryError {
    /// Not JSON, or a field of the wrong type.
    #[error("ip entry is malformed")]
    Json(#[source] serde_json::Error),
    /// The field `IP` has no value.
    #[error("field `IP` is empty")]
    Empty,
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
    /// Not a mask of the address's family.
    #[error("`{found}` in field `Mask` is no mask for `{ip}`")]
    Mask {
        /// The text found.
        found: String,
        /// The address beside it.
        ip: IpAddr,
    },
    /// A port with a protocol that pods cannot have.
    #[error("named port `{port}` has no usable protocol")]
    Protocol {
        /// Port name.
        port: String,
        /// The protocol found.
        #[source]
        source: UnknownProtocol,
    },
    /// The value is about another address than its key.
    #[error("IP address does not match the key: got `{found}`, expected `{expected}`")]
    UnexpectedPrefix {
        /// In the value.
        found: IpPrefix,
        /// In the key.
        expected: IpPrefix,
    },
    /// An identity that the peer cannot have allocated.
    #[error("identity {found} is not of cluster {cluster_id}, whose range is {first} to {last}")]
    IdentityRange {
        /// In the value.
        found: NumericIdentity,
        /// The peer.
        cluster_id: ClusterId,
        /// First of its range.
        first: NumericIdentity,
        /// Last of its range.
        last: NumericIdentity,
    },
}

/// The JSON object as it stands in the kvstore; the order of fields is the order of bytes.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct IpEntryWire {
    #[serde(rename = "IP", deserialize_with = "null_as_default")]
    ip: String,
    // `null` for an address. Versions after 1.20 may leave it out.
    #[serde(rename = "Mask")]
    mask: Option<String>,
    #[serde(rename = "HostIP", deserialize_with = "null_as_default")]
    host: String,
    #[serde(rename = "ID", deserialize_with = "null_as_default")]
    identity: NumericIdentity,
    #[serde(rename = "Key", deserialize_with = "null_as_default")]
    encryption_key: u8,
    #[serde(rename = "Metadata", deserialize_with = "null_as_default")]
    metadata: String,
    #[serde(rename = "K8sNamespace", deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(rename = "K8sPodName", deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pod: String,
    #[serde(
        rename = "K8sServiceAccount",
        deserialize_with = "null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    service_account: String,
    #[serde(rename = "NamedPorts", deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    named_ports: Vec<NamedPortWire>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct NamedPortWire {
    #[serde(rename = "Name", deserialize_with = "null_as_default")]
    name: String,
    #[serde(rename = "Port", deserialize_with = "null_as_default")]
    port: u16,
    #[serde(rename = "Protocol", deserialize_with = "null_as_default")]
    protocol: String,
}

impl TryFrom<IpEntryWire> for IpEntry {
    type Error = IpEntryError;

    fn try_from(wire: IpEntryWire) -> Result<Self, Self::Error> {
        let ip = ip_from_wire("IP", wire.ip)?.ok_or(IpEntryError::Empty)?;
        Ok(Self {
            prefix: match wire.mask {
                Some(mask) => IpPrefix::Cidr(cidr(ip, mask)?),
                None => IpPrefix::Address(ip),
            },
            host: ip_from_wire("HostIP", wire.host)?,
            identity: wire.identity,
            encryption_key: wire.encryption_key,
            metadata: wire.metadata,
            namespace: wire.namespace,
            pod: wire.pod,
            service_account: wire.service_account,
            named_ports: wire.named_ports.into_iter().map(named_port).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&IpEntry> for IpEntryWire {
    fn from(entry: &IpEntry) -> Self {
        let named_port = |(name, port): (&String, &NamedPort)| NamedPortWire {
            name: name.clone(),
            port: port.port,
            protocol: port.protocol.to_string(),
        };
        Self {
            ip: entry.prefix.ip().to_string(),
            mask: match entry.prefix {
                IpPrefix::Address(_) => None,
                IpPrefix::Cidr(net) => Some(go_net::mask_text(net)),
            },
            host: go_net::ip_text(entry.host),
            identity: entry.identity,
            encryption_key: entry.encryption_key,
            metadata: entry.metadata.clone(),
            namespace: entry.namespace.clone(),
            pod: entry.pod.clone(),
            service_account: entry.service_account.clone(),
            named_ports: entry.named_ports.iter().map(named_port).collect(),
        }
    }
}

fn ip_from_wire(field: &'static str, text: String) -> Result<Option<IpAddr>, IpEntryError> {
    go_net::ip(&text).map_err(|source| IpEntryError::Address { field, found: text, source })
}

fn cidr(ip: IpAddr, mask: String) -> Result<IpNet, IpEntryError> {
    let net = go_net::prefix_length_of(ip, &mask).and_then(|length| IpNet::new(ip, length).ok());
    net.ok_or(IpEntryError::Mask { found: mask, ip })
}

fn named_port(wire: NamedPortWire) -> Result<(String, NamedPort), IpEntryError> {
    match wire.protocol.parse() {
        Ok(protocol) => Ok((wire.name, NamedPort { port: wire.port, protocol })),
        Err(source) => Err(IpEntryError::Protocol { port: wire.name, source }),
    }
}

#[cfg(test)]
mod tests;
