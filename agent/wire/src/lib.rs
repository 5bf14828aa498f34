//! Keys and values of the mesh's kvstore (etcd), byte for byte as Cilium 1.19 and 1.20 write them.
//!
//! What is here: [`Key`] and the prefixes to watch, and the value of each key that a cluster mesh peer exports:
//! [`ClusterConfig`], [`Node`], [`ClusterService`] (services v1), [`EndpointSlice`] (services v2, from Cilium 1.20 on),
//! [`IpEntry`] and [`IdentityLabels`]. Service exports of the MCS API have keys here, but no value.
//! Canaries and the heartbeat have a plain RFC 3339 time as value, which the caller formats: this crate has
//! no clock, no I/O and no task.
//!
//! Values of a peer are never trusted: a value either decodes into a type that is valid by construction or
//! gives an error that the reader counts, whereupon it keeps what it had before. Unknown fields are ignored
//! and a JSON `null` reads as an absent field, as in Go.

mod cluster_config;
mod cluster_service;
mod endpoint_slice;
mod go_json;
mod go_net;
mod identity_labels;
mod ip_entry;
mod ip_prefix;
mod key;
mod node;
mod zstd;

pub use cluster_config::{Capabilities, ClusterConfig, ClusterConfigError, EndpointSlicesExportMode};
pub use cluster_service::{BackendZone, ClusterService, ClusterServiceError, Expected, L4Address, PortConfiguration};
pub use endpoint_slice::{
    AddressType, ENDPOINT_SLICE_COMPRESSED_MAX, ENDPOINT_SLICE_MESSAGE_MAX, ENDPOINTS_MAX, Endpoint, EndpointPort,
    EndpointSlice, EndpointSliceError, ExpectedEndpointSlice, LABEL_SERVICE_NAME, PORTS_MAX,
};
pub use identity_labels::{
    ExpectedIdentity, IdentityLabels, IdentityLabelsError, LABEL_CLUSTER, LABEL_NAMESPACE, LABEL_NAMESPACE_LABELS,
    LABEL_SERVICE_ACCOUNT, Label, SOURCE_K8S,
};
pub use ip_entry::{ExpectedIp, IpEntry, IpEntryError, NamedPort};
pub use ip_prefix::{IpPrefix, IpPrefixError};
pub use key::{
    CLUSTER_CONFIG_PREFIX, EndpointSliceKey, HEARTBEAT, Key, KeyError, KeyErrorKind, Layout, Resource, SYNCED_PREFIX,
    prefix, synced_prefix,
};
pub use node::{ExpectedNode, Node, NodeAddress, NodeError};
pub use zstd::ZstdError;
