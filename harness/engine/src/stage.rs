//! Everything that actions, faults and expectations act on. Shared: the actions of `parallel` run at the same time.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicU32},
    time::Duration,
};

use mesh_types::ClusterName;
use meshbed_driver::Control;
pub(crate) use meshbed_driver::chain;
use meshbed_scenario::{DeploymentKey, Probe};
use tokio::time::{Instant, timeout_at};

use crate::{
    fault::{AnyFault, FaultError, Injected, Injection},
    kubernetes::{Cluster, KubernetesError},
    language::Scenario,
    place::{self, PodOn},
    probe::{Client, ProbeError, Target, lock},
    world::World,
};

/// Why a step could not go on. An expectation that fails is no such error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// The Kubernetes API refused something.
    #[error("the Kubernetes API did not do its part")]
    Kubernetes(#[from] KubernetesError),
    /// A manifest could not be read.
    #[error("failed to use manifest `{}`", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A fault could not be injected or healed.
    #[error("fault `{name}` failed")]
    Fault {
        /// Its name in the scenario.
        name: String,
        /// Why.
        #[source]
        source: FaultError,
    },
    /// A probe could not be started.
    #[error("probe `{name}` failed")]
    Probe {
        /// Its name in the scenario.
        name: String,
        /// Why.
        #[source]
        source: ProbeError,
    },
    /// A probe found nobody who could ask.
    #[error("probe `{name}` has no clients: no cluster has a ready pod of deployment `{deployment}`")]
    NoClients {
        /// Its name in the scenario.
        name: String,
        /// Whose pods would be the clients.
        deployment: DeploymentKey,
    },
    /// A pod's state file could not be read.
    #[error("failed to find pod `{pod}` of cluster `{cluster}` on its nodes")]
    Pod {
        /// Where.
        cluster: ClusterName,
        /// `namespace/name`.
        pod: String,
    },
    /// An action that has no error of its own did not work.
    #[error("failed to {what}")]
    Action {
        /// What was to be done.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The mesh did not settle in time.
    #[error("the mesh had not settled after {waited:?}")]
    Unsettled {
        /// How long was waited.
        waited: Duration,
        /// What was still missing.
        reasons: Vec<String>,
    },
    /// Maps stayed wrong: the agent's fault, not ours.
    #[error("maps were still wrong after {waited:?}")]
    MapsWrong {
        /// How long was waited.
        waited: Duration,
        /// Differences, naming node, service and backend.
        reasons: Vec<String>,
    },
    /// Clients did not send what they should.
    #[error("the steady window was not complete after {waited:?}: {found} of {wanted} requests")]
    Unsteady {
        /// How long was waited.
        waited: Duration,
        /// Requests of the slowest client.
        found: u64,
        /// Requests that every client should have finished.
        wanted: u32,
    },
}

impl StepError {
    /// For `map_err`: `what` failed.
    pub(crate) fn action<E>(what: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let what = what.into();
        move |source| Self::Action { what, source: source.into() }
    }

    /// What to tell: the error with its causes, then one line for each thing that was missing.
    pub(crate) fn findings(&self) -> Vec<String> {
        let mut findings = vec![chain(self)];
        if let Self::Unsettled { reasons, .. } | Self::MapsWrong { reasons, .. } = self {
            findings.extend(reasons.iter().cloned());
        }
        findings
    }
}

/// See the module.
pub(crate) struct Stage {
    pub(crate) scenario: Scenario,
    pub(crate) control: Control,
    pub(crate) clusters: Arc<BTreeMap<ClusterName, Cluster>>,
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) pod_program: PathBuf,
    /// All randomness of the run comes from it.
    pub(crate) seed: u64,
    clients: Mutex<BTreeMap<String, Vec<Client>>>,
    faults: Mutex<BTreeMap<String, Vec<Injected>>>,
    next_fault: Arc<AtomicU32>,
}

impl Stage {
    pub(crate) fn new(
        scenario: Scenario,
        control: Control,
        clusters: BTreeMap<ClusterName, Cluster>,
        world: Arc<Mutex<World>>,
        pod_program: PathBuf,
        seed: u64,
    ) -> Self {
        Self {
            scenario,
            control,
            clusters: Arc::new(clusters),
            world,
            pod_program,
            seed,
            clients: Mutex::default(),
            faults: Mutex::default(),
            next_fault: Arc::default(),
        }
    }

    // ---- probes ----

    pub(crate) async fn start_probe(&self, name: &str) -> Result<(), StepError> {
        self.wait(self.scenario.deadline(), World::unsettled_objects).await?;
        let Some(probe) = self.scenario.probe(name).cloned() else { return Ok(()) };
        let mut clients = Vec::new();
        for (cluster, of) in self.clusters.iter().filter(|(cluster, _)| probe.asks_from(cluster)) {
            let ip = of.cluster_ip(&probe.service).await?;
            let target = Target { address: format!("{ip}:{}", probe.port), probe: &probe };
            clients.extend(self.start_clients(cluster, &probe, &target).await?);
        }
        if clients.is_empty() {
            return Err(StepError::NoClients { name: name.to_owned(), deployment: probe.from });
        }
        self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(name.to_owned(), clients);
        Ok(())
    }

    async fn start_clients(
        &self,
        cluster: &ClusterName,
        probe: &Probe,
        target: &Target<'_>,
    ) -> Result<Vec<Client>, StepError> {
        let outpost = self.control.outpost_of(cluster.as_str());
        let mut clients = Vec::new();
        for pod in self.pods(cluster, &probe.from).await? {
            let client = Client::start(cluster, &pod, &self.pod_program, target, outpost, &self.world).await;
            clients.push(client.map_err(|source| StepError::Probe { name: probe.name.clone(), source })?);
        }
        Ok(clients)
    }

    pub(crate) async fn stop_probe(&self, name: &str) {
        let clients = self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(name);
        for client in clients.unwrap_or_default() {
            client.stop(&self.world).await;
        }
    }

    /// Stops all probes; their last requests are in the record afterwards.
    pub(crate) async fn stop_probes(&self) {
        let names: Vec<String> =
            self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner).keys().cloned().collect();
        for name in names {
            self.stop_probe(&name).await;
        }
    }

    /// The ready pods of a deployment with their nodes and processes, as the kubelets wrote them down.
    pub(crate) async fn pods(
        &self,
        cluster: &ClusterName,
        deployment: &DeploymentKey,
    ) -> Result<Vec<PodOn>, StepError> {
        let names: BTreeSet<String> = {
            let world = lock(&self.world);
            world.objects[cluster].deployment_pods(&deployment.to_string()).into_keys().collect()
        };
        let states = place::of_cluster(&self.control, cluster.as_str()).await;
        let states = states.map_err(StepError::action(format!("list the pods of cluster `{cluster}`")))?;
        let find = |pod: &String| {
            let found = states.iter().find(|(_, state)| format!("{}/{}", state.namespace, state.name) == *pod);
            found.cloned().ok_or_else(|| StepError::Pod { cluster: cluster.clone(), pod: pod.clone() })
        };
        names.iter().map(find).collect()
    }

    // ---- faults ----

    pub(crate) async fn inject(&self, name: &str, fault: &AnyFault) -> Result<(), StepError> {
        let injection = Injection {
            control: self.control.clone(),
            topology: self.scenario.topology().clone(),
            clusters: Arc::clone(&self.clusters),
            world: Arc::clone(&self.world),
            name: name.to_owned(),
            kind: fault.0.kind(),
            seed: self.seed,
            next: Arc::clone(&self.next_fault),
        };
        let injected =
            fault.0.inject(&injection).await.map_err(|source| StepError::Fault { name: name.to_owned(), source })?;
        self.faults.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(name.to_owned(), injected);
        Ok(())
    }

    pub(crate) async fn heal(&self, name: &str) -> Result<(), StepError> {
        let injected = self.faults.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(name);
        for Injected { id, healing } in injected.unwrap_or_default() {
            lock(&self.world).fault_heals(id);
            let witness = healing.await.map_err(|source| StepError::Fault { name: name.to_owned(), source })?;
            lock(&self.world).fault_healed(id, witness);
        }
        Ok(())
    }

    /// A fault that was injected and not healed.
    pub(crate) fn fault_in_force(&self) -> Option<String> {
        self.faults.lock().unwrap_or_else(std::sync::PoisonError::into_inner).keys().next().cloned()
    }

    // ---- conditions ----

    /// Waits until `missing` is empty.
    pub(crate) async fn wait(
        &self,
        wait_max: Duration,
        missing: impl Fn(&World) -> Vec<String>,
    ) -> Result<(), StepError> {
        wait_until(&self.world, wait_max, missing).await
    }
}

/// Waits until `missing` is empty.
pub(crate) async fn wait_until(
    world: &Arc<Mutex<World>>,
    wait_max: Duration,
    missing: impl Fn(&World) -> Vec<String>,
) -> Result<(), StepError> {
    let mut changes = lock(world).changes();
    let deadline = Instant::now() + wait_max;
    loop {
        changes.mark_unchanged();
        let reasons = missing(&lock(world));
        if reasons.is_empty() {
            return Ok(());
        }
        // The sender lives in the world, which we hold: only the deadline can end the wait otherwise.
        if timeout_at(deadline, changes.changed()).await.is_err() {
            return Err(StepError::Unsettled { waited: wait_max, reasons });
        }
    }
}
