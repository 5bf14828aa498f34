//! The Kubernetes API of one emulated cluster, and the controllers behind it.
//!
//! [`run`] serves what `kubectl` and client libraries need of namespaces, services, config maps, workloads, pods, nodes
//! and endpoint slices; `README.md` beside this crate lists what is emulated and what is not.
//!
//! From the outside in: `http` (paths, queries, tables, watches), `registry` (what creating, changing and deleting
//! mean), `kinds` (defaults, checks, columns), `patch` (pure), `store` (revisions, history, selectors) and
//! `controllers`, which run under the same lock as the write that concerns them.

pub mod admin;
mod cluster;
mod controllers;
mod error;
mod http;
mod json;
mod kinds;
mod misbehaviour;
mod network;
mod notify;
mod options;
mod patch;
mod registry;
mod server;
mod store;
mod tls;

pub use options::{Limits, NODE_MONITOR_GRACE_PERIOD, Options};
pub use server::{RunError, Server, run};
pub use store::JournalError;
pub use tls::TlsError;
