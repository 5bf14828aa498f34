//! The topology and scenario language: YAML to validated types, with all findings at once.
//!
//! `yaml` turns text into a tree whose nodes know their line and column; `walk` reads such a tree by our schema and
//! collects what is wrong instead of stopping at it; `read_topology`, `read_scenario` and `read_step`
//! build the public types, which are valid by construction. Nothing here touches a cluster: that is the part of the
//! engine and the driver.

mod action;
mod diagnostics;
mod expect;
mod header;
mod manifest;
mod position;
mod read_scenario;
mod read_step;
mod read_topology;
mod scenario;
mod suggest;
mod topology;
mod walk;
mod yaml;

pub use action::{Action, DeploymentKey, Fault, ManifestFile};
pub use diagnostics::{Diagnostics, FileKind, Finding};
pub use expect::Expect;
pub use manifest::{ManifestError, manifests};
pub use position::{Located, Position};
pub use scenario::{Probe, STEADY_REQUESTS_DEFAULT, Scenario, Step};
pub use topology::{
    CLUSTERS_MAX, CONTROL_PLANE_HOST, Cluster, FIRST_NODE_HOST, NODE_POD_PREFIX, NODES_MAX, Node, ROUTER_HOST, Topology,
};
