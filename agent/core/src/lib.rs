//! The decisions of the mesh agent, as values: no I/O, no clock, no task.
//!
//! - [`State::step`] turns what was seen (local services and endpoint slices, services of remote clusters)
//!   into what the load balancer should hold: [`Effect`]s for the datapath.
//! - [`ExportState::step`] turns local services and endpoint slices into what the cluster's own kvstore should
//!   hold: [`ExportEffect`]s for the kvstore client.
//!
//! - [`Lifecycle::step`] turns what happens to the connection with one remote cluster into what is to be done about it.
//!
//! The first two only tell what changed, and both depend only on the newest value of every object, never on the order
//! in which objects became known. The rules are Cilium's (1.19, with the fixes of 1.20 named where they are used).

mod affinity;
mod annotation;
mod backends;
mod event;
mod export;
mod frontends;
mod lifecycle;
mod local;
mod local_objects;
mod remote;
mod state;

pub use affinity::select;
pub use annotation::{AFFINITY, Annotation, GLOBAL, SHARED, affinity, is_global, is_shared};
pub use event::{Effect, Event};
pub use export::{ExportConfig, ExportEffect, ExportState, export};
pub use lifecycle::{Action, Input, Lifecycle, LifecycleConfig, ServiceFormat, Trouble};
pub use local::{
    AddressType, LocalEndpoint, LocalService, LocalSlice, SERVICE_NAME_LABEL, ServiceKind, ServicePort, SlicePort,
    TargetPort,
};
pub use state::{Config, State};
