//! The decisions of the mesh agent, as values: no I/O, no clock, no task.
//!
//! - [`State::step`] turns what was seen (local services, endpoint slices and namespaces, the node, services and endpoint
//!   slices of remote clusters) into what the load balancer should hold: [`Effect`]s for the datapath.
//! - [`ExportState::step`] turns local services, endpoint slices and namespaces into what the cluster's own kvstore
//!   should hold: [`ExportEffect`]s for the kvstore client.
//! - [`ExportObjects`] does the same for nodes, addresses and identities.
//! - [`Identities`] and [`PodLabels`] say which identity a pod of the local cluster has.
//! - [`ServiceV2`] says in which formats services are written, and which is read of a peer.
//! - [`Ipcache`] turns nodes and addresses into what the ipcache should hold.
//! - [`Lifecycle::step`] turns what happens to the connection with one remote cluster into what is to be done about it.
//!
//! The backends of a frontend are found in this order: what could answer on either side, in which state; port name and
//! protocol; traffic policy; topology hints; affinity.
//!
//! Both states only tell what changed, and both depend only on the newest value of every object, never on the order
//! in which objects became known. The rules are Cilium's (1.19, with the fixes of 1.20 named where they are used).

mod affinity;
mod annotation;
mod backends;
mod event;
mod export;
mod export_objects;
mod frontends;
mod identity;
mod ipcache;
mod lifecycle;
mod local;
mod local_objects;
mod namespaces;
mod node;
mod remote;
mod remote_slice;
mod selector;
mod service_format;
mod slices;
mod state;
mod topology;

pub use affinity::select;
pub use annotation::{AFFINITY, Annotation, GLOBAL, GLOBAL_NAMESPACE, SHARED, affinity, is_global, is_shared};
pub use event::{Effect, Event};
pub use export::{ExportConfig, ExportEffect, ExportState, ExportedSlice, export};
pub use export_objects::ExportObjects;
pub use identity::{Identities, PodLabels};
pub use ipcache::{Ipcache, IpcacheChange};
pub use lifecycle::{Action, Input, Lifecycle, LifecycleConfig, Patience, Trouble};
pub use local::{
    AddressType, Conditions, LocalEndpoint, LocalService, LocalSlice, SERVICE_NAME_LABEL, ServiceKind, ServicePort,
    SlicePort, TargetPort, TrafficDistribution,
};
pub use remote_slice::{RemoteEndpoint, RemoteSlice};
pub use service_format::{ExportFormats, ServiceFormat, ServiceV2};
pub use state::{Config, State};
