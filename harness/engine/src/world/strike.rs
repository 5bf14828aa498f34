//! What a fault does to the mesh, as far as the harness must know in order to judge.

use std::{collections::BTreeSet, net::Ipv4Addr};

use mesh_types::ClusterName;
use meshbed_events::{FaultId, Micros};
use meshbed_node::PodState;
use meshbed_oracle::{Cut, CutId};

/// A pod by its address.
pub(crate) type PodAddress = (ClusterName, Ipv4Addr);

/// What is about to be broken. Told to the [`super::World`] just before it happens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strike {
    /// In words, such as `2 pods of rebel-base in alpha`.
    pub(crate) target: String,
    /// Clusters that it hits: their clients are looked at for the first answer afterwards.
    pub(crate) clusters: BTreeSet<ClusterName>,
    /// Pods whose processes die, by name.
    pub(crate) pods: BTreeSet<(ClusterName, String)>,
    /// Their addresses.
    pub(crate) dead: BTreeSet<PodAddress>,
    /// Pods whose processes stop without ending.
    pub(crate) hung: BTreeSet<PodAddress>,
    /// What observers can no longer know, and where packets may no longer arrive.
    pub(crate) cuts: Vec<Cut>,
    /// Clusters whose Kubernetes API cannot tell us anything meanwhile: nothing of theirs is waited for.
    pub(crate) silent: BTreeSet<ClusterName>,
    /// Nodes whose pods Kubernetes takes for lost: deployments are settled without them.
    pub(crate) lost_nodes: BTreeSet<(ClusterName, String)>,
    /// Pods (`namespace/name`) that stay unready: deployments are settled without them.
    pub(crate) lost_pods: BTreeSet<(ClusterName, String)>,
}

impl Strike {
    /// A strike at `target` in words.
    pub(crate) fn at(target: impl Into<String>) -> Self {
        Self { target: target.into(), ..Self::default() }
    }

    /// It hits this cluster.
    pub(crate) fn hits(mut self, cluster: &ClusterName) -> Self {
        self.clusters.insert(cluster.clone());
        self
    }

    /// These pods of `cluster` die.
    pub(crate) fn kills<'a>(mut self, cluster: &ClusterName, pods: impl IntoIterator<Item = &'a PodState>) -> Self {
        for pod in pods {
            self.pods.insert((cluster.clone(), pod.name.clone()));
            self.dead.insert((cluster.clone(), pod.ip));
        }
        self.hits(cluster)
    }

    /// These pods of `cluster` stop answering, and stay.
    pub(crate) fn hangs<'a>(mut self, cluster: &ClusterName, pods: impl IntoIterator<Item = &'a PodState>) -> Self {
        for pod in pods {
            self.pods.insert((cluster.clone(), pod.name.clone()));
            self.hung.insert((cluster.clone(), pod.ip));
            self.lost_pods.insert((cluster.clone(), format!("{}/{}", pod.namespace, pod.name)));
        }
        self.hits(cluster)
    }

    /// Something is cut.
    pub(crate) fn cuts(mut self, cut: Cut) -> Self {
        self.cuts.push(cut);
        self
    }

    /// The Kubernetes API of `cluster` falls silent.
    pub(crate) fn silences(mut self, cluster: &ClusterName) -> Self {
        self.silent.insert(cluster.clone());
        self
    }

    /// Kubernetes will take `node` for lost.
    pub(crate) fn loses_node(mut self, cluster: &ClusterName, node: &str) -> Self {
        self.lost_nodes.insert((cluster.clone(), node.to_owned()));
        self
    }
}

/// A strike that happened and was not undone yet.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    pub(crate) id: FaultId,
    pub(crate) step: usize,
    pub(crate) injected: Micros,
    pub(crate) strike: Strike,
    pub(crate) cuts: Vec<CutId>,
}

/// What Kubernetes and the harness must do without, because of all faults in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) silent: BTreeSet<ClusterName>,
    pub(crate) nodes: BTreeSet<(ClusterName, String)>,
    pub(crate) pods: BTreeSet<(ClusterName, String)>,
}

impl Missing {
    /// Of all faults together.
    pub(crate) fn of<'a>(faults: impl IntoIterator<Item = &'a InForce>) -> Self {
        let mut missing = Self::default();
        for fault in faults {
            missing.silent.extend(fault.strike.silent.iter().cloned());
            missing.nodes.extend(fault.strike.lost_nodes.iter().cloned());
            missing.pods.extend(fault.strike.lost_pods.iter().cloned());
        }
        missing
    }
}
