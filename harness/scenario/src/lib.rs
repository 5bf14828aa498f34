//! The topology and scenario language: YAML to validated types, with all findings at once.
//!
//! `yaml` turns text into a tree whose nodes know their place; `expand` fills in parameters and unrolls blocks, trees to
//! trees; `walk` reads a tree by our schema and collects what is wrong instead of stopping at it. [`record!`], [`words!`]
//! and [`element!`] declare what can be read: one declaration is the type, its reader and its JSON Schema. Which
//! actions, faults and expectations there are is not known here: the engine lists them in a [`Language`].
//!
//! Nothing here touches a cluster: that is the part of the engine and the driver.

mod agent;
mod agent_settings;
mod conformance;
mod context;
mod diagnostics;
mod expand;
mod header;
mod kernels;
mod language;
mod link;
mod lint;
mod manifest;
mod map_limits;
mod plan;
mod position;
mod probe;
mod read_agent;
mod read_fault;
mod read_kernels;
mod read_link;
mod read_links;
mod read_scenario;
mod read_step;
mod read_topology;
#[doc(hidden)]
pub mod record;
mod scenario;
mod schema;
mod slowed;
mod step;
mod suggest;
mod template;
mod term;
mod tls;
mod topology;
mod walk;
#[doc(hidden)]
pub mod words;
mod yaml;

pub use agent::{AgentFile, AgentSpec, Capability, NeededCrds, Needs, Ready, Role, StopSignal};
pub use agent_settings::AgentSettings;
pub use conformance::{Conformance, Level, Profile};
pub use context::Context;
pub use diagnostics::{Diagnostics, FileKind, Finding};
pub use kernels::{KernelSource, KernelSpec, Kernels};
pub use language::{Element, Language, LooksAt};
pub use link::{Inbound, Link, LinkConditions, LossRatio, Nat, default_nat_address};
pub use lint::{is_ours, lint, lint_text};
pub use manifest::{ManifestError, manifests};
pub use map_limits::MapLimits;
pub use mesh_types::{ClusterName, MaxConnectedClusters, ServiceKey};
pub use plan::{Plan, PlannedLine, PlannedStep};
pub use position::{Located, Position};
pub use probe::{Probe, ProbeMode};
pub use read_fault::{Fault, KnownFault, read_fault};
pub use record::Record;
pub use scenario::Scenario;
pub use schema::{Json, agent_schema, kernels_schema, schema, steps_schema, topology_schema};
pub use step::{Act, Expected, STEADY_REQUESTS_DEFAULT, Settle, Step, When};
pub use template::{Placeholder, Template};
pub use term::{
    ClusterSet, Clusters, Count, DeploymentKey, ErrorKinds, LinkChange, ManifestFile, ManifestFiles, Name, NodeRef,
    Nodes, Number, PodRef, Ratio, StringMap, Strings, Term,
};
pub use tls::{AuthMode, Ca, Tls};
pub use topology::{
    CLUSTERS_MAX, CONTROL_PLANE_HOST, Cluster, FIRST_NODE_HOST, NODE_POD_PREFIX, NODES_MAX, Node, ROUTER_HOST, Topology,
};
pub use walk::{Cursor, Fields, Findings};
