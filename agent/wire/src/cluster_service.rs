//! Value of `cilium/state/services/v1/<cluster>/<namespace>/<name>`: a global service and its backends.

use std::{
    collections::BTreeMap,
    net::{AddrParseError, IpAddr},
};

use mesh_types::{ClusterId, ClusterIdError, ClusterName, ClusterNameError, Protocol, ServiceKey, UnknownProtocol};
use serde::{Deserialize, Serialize};

use crate::{
    cluster_config::{cluster_id, exported_id},
    go_json::{self, null_as_default},
};

/// Protocol and number of a port. Host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct L4Address {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port number.
    pub port: u16,
}

/// Port name to port. The name of an unnamed port is the empty text.
pub type PortConfiguration = BTreeMap<String, L4Address>;

/// Where a backend runs, and for which zones it is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendZone {
    /// Its own zone.
    pub zone: String,
    /// Topology hints.
    pub for_zones: Vec<String>,
}

/// A global service as one cluster exports it (format v1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterService {
    /// Exporting cluster.
    pub cluster: ClusterName,
    /// Namespace and name: what it is merged by.
    pub key: ServiceKey,
    /// Cluster IPs of the exporting cluster. Empty for a headless service. Readers do not balance by it.
    pub frontends: BTreeMap<IpAddr, PortConfiguration>,
    /// Pod addresses with their target ports.
    pub backends: BTreeMap<IpAddr, PortConfiguration>,
    /// Hostname by backend address, for headless services.
    pub hostnames: BTreeMap<String, String>,
    /// Zone by backend address.
    pub zones: BTreeMap<String, BackendZone>,
    /// Labels of the Service object.
    pub labels: BTreeMap<String, String>,
    /// Selector of the Service object.
    pub selector: BTreeMap<String, String>,
    /// Whether the exporter uses remote backends itself; `true` in practice.
    pub include_external: bool,
    /// Whether others may use the backends; `true` in practice.
    pub shared: bool,
    /// ID of the exporting cluster.
    pub cluster_id: ClusterId,
}

/// What a reader expects a value to be about, from its key and from the peer's cluster configuration.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Peer that the key belongs to.
    pub cluster: &'a ClusterName,
    /// ID in the peer's cluster configuration.
    pub cluster_id: ClusterId,
    /// Namespace and name at the end of the key.
    pub key: &'a ServiceKey,
}

impl ClusterService {
    /// Reads a value and checks that it is complete and that all its addresses are addresses.
    pub fn decode(value: &[u8]) -> Result<Self, ClusterServiceError> {
        let wire: ClusterServiceWire = serde_json::from_slice(value).map_err(ClusterServiceError::Json)?;
        wire.try_into()
    }

    /// Reads a value and checks that it is what the key and the peer's configuration promise.
    pub fn decode_expected(value: &[u8], expected: Expected<'_>) -> Result<Self, ClusterServiceError> {
        let service = Self::decode(value)?;
        service.validate(expected)?;
        Ok(service)
    }

    /// Checks that cluster, namespace, name and cluster ID are the expected ones.
    pub fn validate(&self, expected: Expected<'_>) -> Result<(), ClusterServiceError> {
        if self.cluster != *expected.cluster {
            let (found, expected) = (self.cluster.clone(), expected.cluster.clone());
            Err(ClusterServiceError::UnexpectedCluster { found, expected })
        } else if self.key != *expected.key {
            let (found, expected) = (self.key.clone(), expected.key.clone());
            Err(ClusterServiceError::UnexpectedKey { found, expected })
        } else if self.cluster_id != expected.cluster_id {
            let (found, expected) = (self.cluster_id, expected.cluster_id);
            Err(ClusterServiceError::UnexpectedClusterId { found, expected })
        } else {
            Ok(())
        }
    }

    /// Writes the value: Cilium's field order, map keys in the order of their bytes.
    pub fn encode(&self) -> Vec<u8> {
        go_json::to_vec(&ClusterServiceWire::from(self))
    }
}

/// Why a service value is refused. Readers count it and keep the value that they had.
#[derive(Debug, thiserror::Error)]
pub enum ClusterServiceError {
    /// Not JSON, or a field of the wrong type.
    #[error("cluster service is malformed")]
    Json(#[source] serde_json::Error),
    /// The cluster's name breaks the rules for names.
    #[error("field `cluster` is no cluster name")]
    Cluster(#[source] ClusterNameError),
    /// A field that must have a value has none.
    #[error("field `{field}` is empty")]
    Empty {
        /// JSON name of the field.
        field: &'static str,
    },
    /// An ID outside `1..=511`.
    #[error("field `clusterID` is {found}")]
    ClusterId {
        /// The number found.
        found: u32,
        /// What is wrong with it.
        #[source]
        source: ClusterIdError,
    },
    /// A key of `frontends` or `backends` is no IP address.
    #[error("`{found}` in field `{field}` is no IP address")]
    Address {
        /// JSON name of the field.
        field: &'static str,
        /// The key found.
        found: String,
        /// What the parser says.
        #[source]
        source: AddrParseError,
    },
    /// A port with a protocol that services cannot have.
    #[error("port `{port}` of `{address}` in field `{field}` has no usable protocol")]
    Protocol {
        /// JSON name of the field.
        field: &'static str,
        /// The address whose port it is.
        address: IpAddr,
        /// Port name; empty for an unnamed port.
        port: String,
        /// The protocol found.
        #[source]
        source: UnknownProtocol,
    },
    /// The value is about another cluster than its key.
    #[error("unexpected cluster name: got `{found}`, expected `{expected}`")]
    UnexpectedCluster {
        /// In the value.
        found: ClusterName,
        /// In the key.
        expected: ClusterName,
    },
    /// The value is about another service than its key.
    #[error("namespaced name does not match the key: got `{found}`, expected `{expected}`")]
    UnexpectedKey {
        /// In the value.
        found: ServiceKey,
        /// In the key.
        expected: ServiceKey,
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

/// Address (as text, so that the order of keys is Go's) to port name to port. Go writes a pointer here, hence
/// the `Option`: a `null` is skipped.
type AddressesWire = BTreeMap<String, Option<BTreeMap<String, Option<L4AddressWire>>>>;

/// The JSON object as it stands in the kvstore; the order of fields is the order of bytes.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClusterServiceWire {
    #[serde(deserialize_with = "null_as_default")]
    cluster: String,
    #[serde(deserialize_with = "null_as_default")]
    namespace: String,
    #[serde(deserialize_with = "null_as_default")]
    name: String,
    #[serde(deserialize_with = "null_as_default")]
    frontends: AddressesWire,
    #[serde(deserialize_with = "null_as_default")]
    backends: AddressesWire,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    hostnames: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    zones: BTreeMap<String, ZoneWire>,
    #[serde(deserialize_with = "null_as_default")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default")]
    selector: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default")]
    include_external: bool,
    #[serde(deserialize_with = "null_as_default")]
    shared: bool,
    #[serde(rename = "clusterID", deserialize_with = "null_as_default")]
    cluster_id: u32,
}

/// The only object whose keys are capitalised: the Go struct has no tags.
#[derive(Clone, Serialize, Deserialize)]
struct L4AddressWire {
    #[serde(rename = "Protocol", default, deserialize_with = "null_as_default")]
    protocol: String,
    #[serde(rename = "Port", default, deserialize_with = "null_as_default")]
    port: u16,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ZoneWire {
    #[serde(deserialize_with = "null_as_default")]
    zone: String,
    #[serde(deserialize_with = "null_as_default")]
    for_zones: Vec<ForZoneWire>,
}

#[derive(Serialize, Deserialize)]
struct ForZoneWire {
    #[serde(default, deserialize_with = "null_as_default")]
    name: String,
}

impl TryFrom<ClusterServiceWire> for ClusterService {
    type Error = ClusterServiceError;

    fn try_from(wire: ClusterServiceWire) -> Result<Self, Self::Error> {
        let fields = [("cluster", &wire.cluster), ("namespace", &wire.namespace), ("name", &wire.name)];
        if let Some((field, _)) = fields.into_iter().find(|(_, text)| text.is_empty()) {
            return Err(ClusterServiceError::Empty { field });
        }
        let zone = |(address, wire): (String, ZoneWire)| {
            let for_zones = wire.for_zones.into_iter().map(|hint| hint.name).collect();
            (address, BackendZone { zone: wire.zone, for_zones })
        };
        Ok(Self {
            cluster: ClusterName::new(wire.cluster).map_err(ClusterServiceError::Cluster)?,
            key: ServiceKey::new(wire.namespace, wire.name),
            frontends: addresses_from_wire("frontends", wire.frontends)?,
            backends: addresses_from_wire("backends", wire.backends)?,
            hostnames: wire.hostnames,
            zones: wire.zones.into_iter().map(zone).collect(),
            labels: wire.labels,
            selector: wire.selector,
            include_external: wire.include_external,
            shared: wire.shared,
            cluster_id: cluster_id(wire.cluster_id)
                .map_err(|source| ClusterServiceError::ClusterId { found: wire.cluster_id, source })?,
        })
    }
}

impl From<&ClusterService> for ClusterServiceWire {
    fn from(service: &ClusterService) -> Self {
        let zone = |(address, zone): (&String, &BackendZone)| {
            let for_zones = zone.for_zones.iter().map(|name| ForZoneWire { name: name.clone() }).collect();
            (address.clone(), ZoneWire { zone: zone.zone.clone(), for_zones })
        };
        Self {
            cluster: service.cluster.to_string(),
            namespace: service.key.namespace.clone(),
            name: service.key.name.clone(),
            frontends: addresses_to_wire(&service.frontends),
            backends: addresses_to_wire(&service.backends),
            hostnames: service.hostnames.clone(),
            zones: service.zones.iter().map(zone).collect(),
            labels: service.labels.clone(),
            selector: service.selector.clone(),
            include_external: service.include_external,
            shared: service.shared,
            cluster_id: exported_id(service.cluster_id),
        }
    }
}

fn addresses_from_wire(
    field: &'static str,
    wire: AddressesWire,
) -> Result<BTreeMap<IpAddr, PortConfiguration>, ClusterServiceError> {
    let mut addresses = BTreeMap::new();
    for (text, ports) in wire {
        let address: IpAddr = match text.parse() {
            Ok(address) => address,
            Err(source) => return Err(ClusterServiceError::Address { field, found: text, source }),
        };
        let mut configuration = PortConfiguration::new();
        for (port, l4) in ports.unwrap_or_default() {
            let Some(l4) = l4 else { continue };
            match l4.protocol.parse() {
                Ok(protocol) => configuration.insert(port, L4Address { protocol, port: l4.port }),
                Err(source) => return Err(ClusterServiceError::Protocol { field, address, port, source }),
            };
        }
        addresses.insert(address, configuration);
    }
    Ok(addresses)
}

fn addresses_to_wire(addresses: &BTreeMap<IpAddr, PortConfiguration>) -> AddressesWire {
    let ports = |configuration: &PortConfiguration| {
        let l4 = |l4: &L4Address| L4AddressWire { protocol: l4.protocol.to_string(), port: l4.port };
        configuration.iter().map(|(name, address)| (name.clone(), Some(l4(address)))).collect()
    };
    addresses.iter().map(|(address, configuration)| (address.to_string(), Some(ports(configuration)))).collect()
}

#[cfg(test)]
mod tests;
