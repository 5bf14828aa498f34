//! Value of `cilium/state/endpointslices/v1/<cluster>/<namespace>/<slice>`: endpoints of a global service (format v2, from
//! Cilium 1.20 on). A protobuf message, compressed with zstd.

use std::{
    collections::BTreeMap,
    fmt,
    net::{AddrParseError, IpAddr},
};

use mesh_types::{ClusterId, ClusterIdError, ClusterName, ClusterNameError, Protocol, ServiceKey, UnknownProtocol};
use prost::{DecodeError, Message};

use crate::{
    EndpointSliceKey,
    zstd::{self, ZstdError},
};

mod message;

use message::EndpointSliceMessage;

/// Largest value that is decompressed, in bytes. etcd takes no request above 1.5 MiB unless told otherwise.
pub const ENDPOINT_SLICE_COMPRESSED_MAX: usize = 3 << 19;

/// Largest message that comes out of a value, in bytes: a full slice of a thousand endpoints has a few hundred KiB.
/// What a peer's value can make a reader allocate hangs on this.
pub const ENDPOINT_SLICE_MESSAGE_MAX: usize = 1 << 20;

/// Most endpoints of a slice, as in the Kubernetes API.
pub const ENDPOINTS_MAX: usize = 1_000;

/// Most ports of a slice, as in the Kubernetes API.
pub const PORTS_MAX: usize = 20_000;

/// Largest window that a frame may ask for, in bytes. What Cilium's compressor uses at most.
const WINDOW_MAX: u64 = 8 << 20;

/// Label with the name of the service that a slice belongs to.
pub const LABEL_SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Endpoints of a global service as one cluster exports them (format v2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Exporting cluster.
    pub cluster: ClusterName,
    /// ID of the exporting cluster.
    pub cluster_id: ClusterId,
    /// Namespace and name of the slice.
    pub key: EndpointSliceKey,
    /// Labels of the EndpointSlice object; [`LABEL_SERVICE_NAME`] is among them.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the EndpointSlice object.
    pub annotations: BTreeMap<String, String>,
    /// Which family all addresses are of.
    pub address_type: AddressType,
    /// Whoever answers.
    pub endpoints: Vec<Endpoint>,
    /// On which ports all of them answer.
    pub ports: Vec<EndpointPort>,
}

/// The family of a slice's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddressType {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl AddressType {
    /// Whether an address is of the family.
    pub fn is_of(self, ip: IpAddr) -> bool {
        match self {
            Self::Ipv4 => ip.is_ipv4(),
            Self::Ipv6 => ip.is_ipv6(),
        }
    }
}

impl fmt::Display for AddressType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// One pod, or whatever else answers. What is `None` was not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Its addresses, which all lead to the same. All of the slice's family.
    pub addresses: Vec<IpAddr>,
    /// Takes new connections. Not said means yes.
    pub ready: Option<bool>,
    /// Answers, even when it is shutting down. Not said means as `ready`.
    pub serving: Option<bool>,
    /// Is shutting down. Not said means no.
    pub terminating: Option<bool>,
    /// Its hostname, for headless services.
    pub hostname: Option<String>,
    /// Topology labels of API version v1beta1; nobody writes them any more.
    pub deprecated_topology: BTreeMap<String, String>,
    /// Node that it runs on.
    pub node: Option<String>,
    /// Zone that it runs in.
    pub zone: Option<String>,
    /// Zones that it is meant for; `None` when there are no hints.
    pub for_zones: Option<Vec<String>>,
}

/// A port that all endpoints of a slice have. What is `None` was not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointPort {
    /// Its name; empty for an unnamed port.
    pub name: Option<String>,
    /// Transport protocol. Not said means TCP.
    pub protocol: Option<Protocol>,
    /// Number, host byte order. Not said means any.
    pub port: Option<u16>,
    /// What is spoken on it, e.g. `kubernetes.io/h2c`.
    pub app_protocol: Option<String>,
}

/// What a reader expects a slice to be, from its key and from the peer's cluster configuration.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedEndpointSlice<'a> {
    /// Peer that the key belongs to.
    pub cluster: &'a ClusterName,
    /// ID in the peer's cluster configuration.
    pub cluster_id: ClusterId,
    /// Namespace and name at the end of the key.
    pub key: &'a EndpointSliceKey,
}

impl EndpointSlice {
    /// The service that it belongs to; `None` without [`LABEL_SERVICE_NAME`].
    pub fn service(&self) -> Option<ServiceKey> {
        let name = self.labels.get(LABEL_SERVICE_NAME).filter(|name| !name.is_empty())?;
        Some(ServiceKey::new(&self.key.namespace, name))
    }

    /// Reads a value and checks that it is complete and that all its addresses are of its address type.
    pub fn decode(value: &[u8]) -> Result<Self, EndpointSliceError> {
        if value.len() > ENDPOINT_SLICE_COMPRESSED_MAX {
            return Err(EndpointSliceError::ValueTooLarge { length: value.len() });
        }
        let message =
            zstd::decompress(value, ENDPOINT_SLICE_MESSAGE_MAX, WINDOW_MAX).map_err(EndpointSliceError::Zstd)?;
        Self::decode_message(&message)
    }

    /// As [`Self::decode`], of a message that is not compressed.
    pub fn decode_message(message: &[u8]) -> Result<Self, EndpointSliceError> {
        EndpointSliceMessage::decode(message).map_err(EndpointSliceError::Protobuf)?.try_into()
    }

    /// Reads a value and checks that it is what the key and the peer's configuration promise.
    pub fn decode_expected(value: &[u8], expected: ExpectedEndpointSlice<'_>) -> Result<Self, EndpointSliceError> {
        let slice = Self::decode(value)?;
        slice.validate(expected)?;
        Ok(slice)
    }

    /// Checks that cluster, namespace, name and cluster ID are the expected ones.
    pub fn validate(&self, expected: ExpectedEndpointSlice<'_>) -> Result<(), EndpointSliceError> {
        if self.cluster != *expected.cluster {
            let (found, expected) = (self.cluster.clone(), expected.cluster.clone());
            Err(EndpointSliceError::UnexpectedCluster { found, expected })
        } else if self.key != *expected.key {
            let (found, expected) = (self.key.clone(), expected.key.clone());
            Err(EndpointSliceError::UnexpectedKey { found, expected })
        } else if self.cluster_id != expected.cluster_id {
            let (found, expected) = (self.cluster_id, expected.cluster_id);
            Err(EndpointSliceError::UnexpectedClusterId { found, expected })
        } else {
            Ok(())
        }
    }

    /// Writes the value: the message as Cilium writes it, in a frame of our own compressor.
    pub fn encode(&self) -> Vec<u8> {
        zstd::compress(&self.encode_message())
    }

    /// Writes the message, not compressed.
    pub fn encode_message(&self) -> Vec<u8> {
        EndpointSliceMessage::from(self).encode_to_vec()
    }
}

/// Why an endpoint slice value is refused. Readers count it and keep the value that they had.
#[derive(Debug, thiserror::Error)]
pub enum EndpointSliceError {
    /// More bytes than a value of etcd has.
    #[error("endpoint slice has {length} bytes, at most {} are read", ENDPOINT_SLICE_COMPRESSED_MAX)]
    ValueTooLarge {
        /// Length of the value in bytes.
        length: usize,
    },
    /// It cannot be decompressed, or not within the limits.
    #[error("failed to decompress the endpoint slice")]
    Zstd(#[source] ZstdError),
    /// Not protobuf, or a field of the wrong type.
    #[error("endpoint slice is malformed")]
    Protobuf(#[source] DecodeError),
    /// The cluster's name breaks the rules for names.
    #[error("field `cluster` is no cluster name")]
    Cluster(#[source] ClusterNameError),
    /// A field that must have a value has none.
    #[error("field `{field}` is empty")]
    Empty {
        /// Name of the field.
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
    /// A family that addresses of a mesh cannot have, e.g. `FQDN`.
    #[error("field `addressType` is `{found}`, expected `IPv4` or `IPv6`")]
    AddressType {
        /// The text found.
        found: String,
    },
    /// An address that is none.
    #[error("`{found}` in field `endpoints` is no IP address")]
    Address {
        /// The text found.
        found: String,
        /// What the parser says.
        #[source]
        source: AddrParseError,
    },
    /// An address of the other family.
    #[error("`{found}` in field `endpoints` is not of the address type `{expected}`")]
    Family {
        /// The address found.
        found: IpAddr,
        /// What the slice says.
        expected: AddressType,
    },
    /// A port with a protocol that services cannot have.
    #[error("port `{port}` has no usable protocol")]
    Protocol {
        /// Port name; empty for an unnamed port.
        port: String,
        /// The protocol found.
        #[source]
        source: UnknownProtocol,
    },
    /// A port number outside of 16 bits.
    #[error("port `{port}` has the number {found}")]
    Port {
        /// Port name; empty for an unnamed port.
        port: String,
        /// The number found.
        found: i32,
    },
    /// More entries than the Kubernetes API allows.
    #[error("field `{field}` has {count} entries, at most {limit} are read")]
    TooMany {
        /// Name of the field.
        field: &'static str,
        /// How many were found.
        count: usize,
        /// How many are read.
        limit: usize,
    },
    /// The value is about another cluster than its key.
    #[error("unexpected cluster name: got `{found}`, expected `{expected}`")]
    UnexpectedCluster {
        /// In the value.
        found: ClusterName,
        /// In the key.
        expected: ClusterName,
    },
    /// The value is about another slice than its key.
    #[error("namespaced name does not match the key: got `{found}`, expected `{expected}`")]
    UnexpectedKey {
        /// In the value.
        found: EndpointSliceKey,
        /// In the key.
        expected: EndpointSliceKey,
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

#[cfg(test)]
mod tests;
