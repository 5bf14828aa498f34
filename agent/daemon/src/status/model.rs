//! The answers of the status socket. Field names are those of Cilium's API, as far as we have the thing; fields without a
//! value are left out where Cilium leaves them out.

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
    #[serde(default, skip_serializing_if = "is_zero")]
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

/// The nodes that an agent knows: the answer of `/v1/cluster/nodes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ClusterNodes {
    /// Full name of the agent's own node.
    #[serde(rename = "self")]
    pub(crate) this: String,
    /// All of them, sorted by name.
    #[serde(rename = "nodes-added", default)]
    pub(crate) nodes: Vec<NodeElement>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct NodeElement {
    /// `<cluster>/<node>`.
    pub(crate) name: String,
    /// The addresses by which others know it.
    pub(crate) primary_address: NodeAddressing,
    /// Where it is known from.
    pub(crate) source: NodeSource,
}

/// Where a node is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NodeSource {
    /// It is the agent's own.
    Local,
    /// An object of our own cluster.
    CustomResource,
    /// A remote cluster. Cilium up to 1.19 says `kvstore`.
    Clustermesh,
}

impl NodeSource {
    /// The word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::CustomResource => "custom-resource",
            Self::Clustermesh => "clustermesh",
        }
    }
}

/// One address of each family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct NodeAddressing {
    /// IPv4.
    pub(crate) ipv4: NodeAddressingElement,
    /// IPv6.
    pub(crate) ipv6: NodeAddressingElement,
}

/// An address, and those of the pods behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct NodeAddressingElement {
    /// Addresses of the node's pods.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) alloc_range: String,
    /// The node has an address of this family.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) enabled: bool,
    /// The address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) ip: String,
}

/// A security identity: the answer of `/v1/identity` is a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Its number.
    pub(crate) id: u32,
    /// Its labels, `source:key=value`, sorted.
    #[serde(default)]
    pub(crate) labels: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(value: &usize) -> bool {
    *value == 0
}
