//! The kvstore side of cluster mesh.
//!
//! Two halves that never meet in one process: [`RemoteCluster`] reads another cluster's etcd in the agent,
//! [`Exporter`] writes our own cluster's etcd in the mesh API server. Both are one task that connects, works until
//! something breaks, and begins again; keys and values are `mesh-wire`'s. No decision about backends is made here.

mod backoff;
mod error;
pub mod etcd;
mod exporter;
pub mod memory;
mod remote;
pub mod store;

pub use error::{RequestError, SessionError};
pub use etcd::{EtcdConfig, EtcdConfigError, EtcdConfigErrorKind, EtcdConnector, HostAliases};
pub use exporter::{Exporter, ExporterOptions, OnWritten, Scope, Write};
pub use memory::MemoryServer;
pub use remote::{
    ClusterIds, Copied, CopyEvent, Decoded, Reading, RemoteCluster, RemoteConfigStatus, RemoteEvent, RemoteObject,
    RemoteOptions, RemoteStatus, RemoteSynced, Source,
};
