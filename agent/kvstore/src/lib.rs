//! The kvstore side of cluster mesh.
//!
//! Two halves that never meet in one process: [`RemoteCluster`] reads another cluster's etcd in the agent,
//! [`Exporter`] writes our own cluster's etcd in the mesh API server. Both are one task that connects, works until
//! something breaks, and begins again; keys and values are `mesh-wire`'s. No decision about backends is made here.

mod backoff;
mod config;
mod connection;
mod error;
#[cfg(test)]
#[path = "../tests/etcd/server.rs"]
#[expect(dead_code, reason = "the etcd of the integration tests can do more than is needed here")]
mod etcd_server;
mod exporter;
mod prefix;
mod remote;

pub use config::{EtcdConfig, EtcdConfigError, EtcdConfigErrorKind};
pub use error::SessionError;
pub use exporter::{Exporter, ExporterOptions, OnWritten, Write};
pub use remote::{
    ClusterIds, RemoteCluster, RemoteConfigStatus, RemoteEvent, RemoteOptions, RemoteStatus, RemoteSynced,
};
