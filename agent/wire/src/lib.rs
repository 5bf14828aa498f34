//! Keys and values of the mesh's kvstore (etcd), byte for byte as Cilium 1.19 writes them.
//!
//! What is here: [`Key`] and the prefixes to watch, [`ClusterConfig`], [`ClusterService`] (services v1).
//! Canaries and the heartbeat have a plain RFC 3339 time as value, which the caller formats: this crate has
//! no clock, no I/O and no task.
//!
//! Values of a peer are never trusted: a value either decodes into a type that is valid by construction or
//! gives an error that the reader counts, whereupon it keeps what it had before. Unknown fields are ignored
//! and a JSON `null` reads as an absent field, as in Go.

mod cluster_config;
mod cluster_service;
mod go_json;
mod key;

pub use cluster_config::{Capabilities, ClusterConfig, ClusterConfigError, EndpointSlicesExportMode};
pub use cluster_service::{BackendZone, ClusterService, ClusterServiceError, Expected, L4Address, PortConfiguration};
pub use key::{
    CLUSTER_CONFIG_PREFIX, HEARTBEAT, Key, KeyError, KeyErrorKind, Layout, Resource, SYNCED_PREFIX, services_prefix,
    synced_prefix,
};
