//! What a fault works with while it is injected.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use futures::{FutureExt, future::BoxFuture};
use mesh_types::ClusterName;
use meshbed_apiserver::admin::Client;
use meshbed_driver::{ClusterState, Control};
use meshbed_etcd::Etcd;
use meshbed_events::{Event, FaultId};
use meshbed_node::PodState;
use meshbed_scenario::{DeploymentKey, Topology};
use serde::de::DeserializeOwned;

use super::FaultError;
use crate::{
    kubernetes::{Changed, Cluster},
    place::{self, Errand},
    probe::lock,
    world::{Strike, World},
};

/// How to undo one strike: nothing happens before it is awaited. Its value is what showed that all is as it was.
pub(crate) type Healing = BoxFuture<'static, Result<String, FaultError>>;

/// A strike that took effect.
pub(crate) struct Injected {
    pub(crate) id: FaultId,
    pub(crate) healing: Healing,
}

impl Injected {
    /// There is nothing to undo.
    pub(crate) fn for_good(id: FaultId) -> Self {
        Self { id, healing: async { Ok(String::new()) }.boxed() }
    }
}

/// What faults act on, and what they tell.
#[derive(Clone)]
pub(crate) struct Injection {
    /// Processes, cgroups, links and etcds of the mesh.
    pub(crate) control: Control,
    pub(crate) topology: Topology,
    /// The Kubernetes APIs.
    pub(crate) clusters: Arc<std::collections::BTreeMap<ClusterName, Cluster>>,
    pub(crate) world: Arc<Mutex<World>>,
    /// Name of the fault in the scenario.
    pub(crate) name: String,
    /// Its kind.
    pub(crate) kind: &'static str,
    /// Randomness of this fault.
    pub(crate) seed: u64,
    /// Numbers of strikes, shared by all faults of the run.
    pub(crate) next: Arc<AtomicU32>,
}

impl Injection {
    /// Tells everyone what is about to happen. To be called just before it does.
    pub(crate) fn strike(&self, strike: Strike) -> FaultId {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.world).strike(id, &self.name, self.kind, strike);
        id
    }

    /// Something showed that the strike took effect.
    pub(crate) fn witnessed(&self, fault: FaultId, witness: impl Into<String>) {
        lock(&self.world).emit(Event::FaultWitnessed { fault, witness: witness.into() });
    }

    /// The mesh has not settled before the engine's own watch has seen this change.
    pub(crate) fn must_see(&self, cluster: &ClusterName, changed: Changed) {
        lock(&self.world).must_see(cluster, changed);
    }

    /// The API of a cluster.
    pub(crate) fn cluster(&self, name: &ClusterName) -> Result<Cluster, FaultError> {
        self.clusters.get(name).cloned().ok_or_else(|| FaultError::NoTarget { what: format!("no cluster `{name}`") })
    }

    /// A connection to the etcd of a cluster, with full rights.
    pub(crate) async fn etcd(&self, cluster: &ClusterName) -> Result<Etcd, FaultError> {
        let state = self.cluster_state(cluster)?;
        Etcd::connect(&state).await.map_err(FaultError::failed(format!("connect to the etcd of {cluster}")))
    }

    /// A connection to the API server of a cluster, by the socket on which misbehaviour is ordered.
    pub(crate) async fn api_admin(&self, cluster: &ClusterName) -> Result<Client, FaultError> {
        let socket = self.cluster_state(cluster)?.api_admin_socket;
        Client::connect(socket).await.map_err(FaultError::failed(format!("reach the API server of {cluster}")))
    }

    /// Processes, addresses and files of a cluster.
    fn cluster_state(&self, cluster: &ClusterName) -> Result<ClusterState, FaultError> {
        let found = self.control.state().cluster(cluster.as_str()).cloned();
        found.ok_or_else(|| FaultError::NoTarget { what: format!("no cluster `{cluster}`") })
    }

    /// The ready pods of a deployment with their processes, as the kubelets wrote them down; at least one.
    pub(crate) async fn pods(
        &self,
        cluster: &ClusterName,
        deployment: &DeploymentKey,
    ) -> Result<Vec<PodState>, FaultError> {
        let names: BTreeSet<String> = {
            let world = lock(&self.world);
            world.objects[cluster].deployment_pods(&deployment.to_string()).into_keys().collect()
        };
        let states = self.pod_states(cluster).await?;
        let pods: Vec<PodState> =
            states.into_iter().filter(|state| names.contains(&format!("{}/{}", state.namespace, state.name))).collect();
        if pods.is_empty() {
            let what = format!("deployment `{deployment}` of cluster `{cluster}` has no ready pods");
            return Err(FaultError::NoTarget { what });
        }
        Ok(pods)
    }

    /// All pods that run on the nodes of a cluster.
    pub(crate) async fn pod_states(&self, cluster: &ClusterName) -> Result<Vec<PodState>, FaultError> {
        let pods = place::of_cluster(&self.control, cluster.as_str()).await?;
        Ok(pods.into_iter().map(|(_, pod)| pod).collect())
    }

    /// All pods that run on a node.
    pub(crate) async fn pods_on(&self, cluster: &ClusterName, node: &str) -> Result<Vec<PodState>, FaultError> {
        let pods = place::of_cluster(&self.control, cluster.as_str()).await?;
        Ok(pods.into_iter().filter(|(on, _)| on == node).map(|(_, pod)| pod).collect())
    }

    /// Has something done where `cluster` is.
    pub(crate) async fn errand<T: DeserializeOwned>(
        &self,
        cluster: &ClusterName,
        errand: Errand,
    ) -> Result<T, FaultError> {
        place::run(&self.control, cluster.as_str(), errand).await
    }
}
