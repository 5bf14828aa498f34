//! The decisions of the agent, seen from outside: events in, effects applied to a model of the datapath.

mod affinity;
#[cfg(feature = "planted-defects")]
mod defects;
mod export;
mod lifecycle;
mod merge;
mod mesh;
mod ports;
mod properties;
mod recorded;
mod release;
