//! The decisions of the agent, seen from outside: events in, effects applied to a model of the datapath.

mod affinity;
#[cfg(feature = "planted-defects")]
mod defects;
mod export;
mod export_slices;
mod frontends;
mod ipcache;
mod lifecycle;
mod merge;
mod mesh;
mod namespaces;
mod ports;
mod properties;
mod recorded;
mod release;
mod remote_slices;
