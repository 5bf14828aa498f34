//! The answer of `/v1/healthz`. Field names are those of Cilium's API, as far as we have the thing.

use mesh_kvstore::RemoteStatus;
use serde::{Deserialize, Serialize};

/// How the agent itself is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// All maps are as they should be.
    Ok,
    /// Some map could not be written; the text says why.
    Failure(String),
}

/// Everything that the agent says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AgentStatus {
    /// The agent itself. The name is that of Cilium's API.
    pub(crate) cilium: State,
    /// The mesh.
    pub(crate) cluster_mesh: ClusterMesh,
}

/// State of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// `Ok` or `Failure`.
    pub(crate) state: String,
    /// Why it is a failure.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) msg: String,
}

/// State of the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ClusterMesh {
    /// Each remote cluster, sorted by name.
    #[serde(default)]
    pub(crate) clusters: Vec<RemoteStatus>,
    /// Services of our own cluster that are global.
    #[serde(default)]
    pub(crate) num_global_services: usize,
}

impl AgentStatus {
    /// From what the agent knows.
    pub(crate) fn new(health: Health, num_global_services: usize, clusters: Vec<RemoteStatus>) -> Self {
        let cilium = match health {
            Health::Ok => State { state: "Ok".to_owned(), msg: String::new() },
            Health::Failure(msg) => State { state: "Failure".to_owned(), msg },
        };
        Self { cilium, cluster_mesh: ClusterMesh { clusters, num_global_services } }
    }
}
