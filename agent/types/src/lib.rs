//! The words of a cluster mesh as types: cluster, service, frontend, backend, identity, and who is behind an address.
//!
//! Everything here is a value that is valid by construction. No I/O, no clock, no task. Both the agent
//! and the harness's oracle use these types; neither shares any *decision* with the other through them.

mod affinity;
mod backend;
mod cluster;
mod frontend;
mod identity;
mod ip_prefix;
mod ipcache_entry;
mod protocol;
mod service_key;

pub use affinity::Affinity;
pub use backend::{Backend, BackendAddress, BackendState};
pub use cluster::{ClusterId, ClusterIdError, ClusterName, ClusterNameError, MaxConnectedClusters};
pub use frontend::{Algorithm, Frontend, FrontendAddress, FrontendType, Scope, TrafficPolicies, TrafficPolicy};
pub use identity::{IdentityScope, NumericIdentity};
pub use ip_prefix::{IpPrefix, IpPrefixError};
pub use ipcache_entry::IpcacheEntry;
pub use protocol::{Protocol, UnknownProtocol};
pub use service_key::ServiceKey;
