//! Runs the steps of a scenario: actions in order, settling, a steady window, expectations.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use mesh_types::ClusterName;
use meshbed_driver::RunState;
use meshbed_events::{Event, FaultId, StepOutcome};
use meshbed_node::PodState;
use meshbed_scenario::{Action, DeploymentKey, Expect, Fault, Located, Position, Scenario, Step};
use tokio::time::{Instant, timeout_at};

use crate::{
    expect,
    fault::{FaultError, pod_kill},
    kubernetes::{Cluster, KubernetesError},
    probe::{Client, ProbeError, Target, lock},
    world::{InForce, World},
};

/// How long maps may differ from the truth once the Kubernetes API has settled. Propagation takes milliseconds; on
/// an emulated or overloaded machine it is still far below this.
const MAPS_WAIT_MAX: Duration = Duration::from_secs(10);
/// The steady window may take this many times as long as its requests need at the probe's rate.
const STEADY_SLACK: u32 = 10;

/// Why a step could not go on. An expectation that fails is no such error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// The Kubernetes API refused something.
    #[error("the Kubernetes API did not do its part")]
    Kubernetes(#[source] KubernetesError),
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

/// Everything that steps act on.
pub(crate) struct Stage {
    pub(crate) scenario: Scenario,
    pub(crate) state: RunState,
    pub(crate) clusters: BTreeMap<ClusterName, Cluster>,
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) pod_program: PathBuf,
    clients: BTreeMap<String, Vec<Client>>,
    /// By the scenario's name for them: one fault for each cluster that is hit.
    faults: BTreeMap<String, Vec<(FaultId, pod_kill::PodKill)>>,
    next_fault: FaultId,
}

impl Stage {
    pub(crate) fn new(
        scenario: Scenario,
        state: RunState,
        clusters: BTreeMap<ClusterName, Cluster>,
        world: Arc<Mutex<World>>,
        pod_program: PathBuf,
    ) -> Self {
        Self {
            scenario,
            state,
            clusters,
            world,
            pod_program,
            clients: BTreeMap::new(),
            faults: BTreeMap::new(),
            next_fault: 0,
        }
    }

    /// Runs step `index` and records how it ended.
    pub(crate) async fn run(&mut self, index: usize) -> StepOutcome {
        let step = self.scenario.steps()[index].clone();
        lock(&self.world).step_started(index, &step.name);
        let result = self.perform(index, &step).await;
        let violations = lock(&self.world).step_ends();
        let (outcome, findings) = match result {
            Ok(true) if violations == 0 => (StepOutcome::Passed, Vec::new()),
            Ok(_) => (StepOutcome::Failed, Vec::new()),
            Err(error) => (outcome_of(&error), error.findings()),
        };
        let mut world = lock(&self.world);
        if !findings.is_empty() {
            let expectation = format!("the actions succeed and the mesh settles ({})", self.place(step.position));
            world.emit(Event::Expectation { step: index, expectation, findings });
        }
        world.emit(Event::StepFinished { step: index, outcome });
        world.recorder().flush();
        outcome
    }

    /// `file:line:column` in the scenario.
    fn place(&self, position: Position) -> String {
        format!("{}:{}:{}", self.scenario.file().display(), position.line, position.column)
    }

    async fn perform(&mut self, index: usize, step: &Step) -> Result<bool, StepError> {
        for action in &step.actions {
            self.act(index, &action.value).await?;
        }
        self.settle().await?;
        lock(&self.world).step_settled();
        self.steady_window(step).await?;
        let mut held = true;
        for expectation in &step.expectations {
            held &= self.judge(index, expectation).await?;
        }
        Ok(held)
    }

    async fn act(&mut self, index: usize, action: &Action) -> Result<(), StepError> {
        match action {
            Action::Apply { clusters, files } => {
                for cluster in clusters {
                    for file in files {
                        self.apply(cluster, &file.path(cluster)).await?;
                    }
                }
                Ok(())
            }
            Action::Annotate { clusters, service, set, remove } => {
                for cluster in clusters {
                    let set = set.iter().map(|(name, value)| (name.clone(), value.clone()));
                    let changed = self.clusters[cluster]
                        .annotate(service, set, remove.iter().cloned())
                        .await
                        .map_err(StepError::Kubernetes)?;
                    lock(&self.world).must_see(cluster, changed);
                }
                Ok(())
            }
            Action::Scale { clusters, deployment, replicas } => {
                for cluster in clusters {
                    let replicas = i32::try_from(*replicas).unwrap_or(i32::MAX);
                    let (_, changed) =
                        self.clusters[cluster].scale(deployment, replicas).await.map_err(StepError::Kubernetes)?;
                    lock(&self.world).must_see(cluster, changed);
                }
                Ok(())
            }
            Action::StartProbe(name) => self.start_probe(name).await,
            Action::StopProbe(name) => {
                self.stop_probe(name).await;
                Ok(())
            }
            Action::Fault { name, fault: Fault::PodKill { clusters, deployment } } => {
                self.pod_kill(index, name, clusters, deployment).await
            }
            Action::Heal(name) => self.heal(name).await,
        }
    }

    async fn apply(&self, cluster: &ClusterName, path: &std::path::Path) -> Result<(), StepError> {
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| StepError::Manifest { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.into()))?;
        let documents = meshbed_scenario::manifests(&text).map_err(|error| failed(error.into()))?;
        for document in documents {
            let changed = self.clusters[cluster].apply(&document).await.map_err(StepError::Kubernetes)?;
            lock(&self.world).must_see(cluster, changed);
        }
        Ok(())
    }

    // ---- probes ----

    async fn start_probe(&mut self, name: &str) -> Result<(), StepError> {
        self.wait(self.scenario.deadline(), World::unsettled_objects).await?;
        let Some(probe) = self.scenario.probe(name).cloned() else { return Ok(()) };
        let mut clients = Vec::new();
        for (cluster, of) in &self.clusters {
            let ip = of.cluster_ip(&probe.service).await.map_err(StepError::Kubernetes)?;
            let target = Target { address: format!("{ip}:{}", probe.port), probe: &probe };
            for pod in self.pods(cluster, &probe.from)? {
                let client = Client::start(cluster, &pod, &self.pod_program, &target, &self.world)
                    .map_err(|source| StepError::Probe { name: name.to_owned(), source })?;
                clients.push(client);
            }
        }
        if clients.is_empty() {
            return Err(StepError::NoClients { name: name.to_owned(), deployment: probe.from });
        }
        self.clients.insert(name.to_owned(), clients);
        Ok(())
    }

    async fn stop_probe(&mut self, name: &str) {
        for client in self.clients.remove(name).unwrap_or_default() {
            client.stop(&self.world).await;
        }
    }

    /// Stops all probes; their last requests are in the record afterwards.
    pub(crate) async fn stop_probes(&mut self) {
        for name in self.clients.keys().cloned().collect::<Vec<_>>() {
            self.stop_probe(&name).await;
        }
    }

    /// The ready pods of a deployment with their processes, as the kubelets wrote them down.
    fn pods(&self, cluster: &ClusterName, deployment: &DeploymentKey) -> Result<Vec<PodState>, StepError> {
        let names: BTreeSet<String> = {
            let world = lock(&self.world);
            world.objects[cluster].deployment_pods(&deployment.to_string()).into_keys().collect()
        };
        let mut states = Vec::new();
        for node in self.state.cluster(cluster.as_str()).map_or(&[][..], |cluster| &cluster.nodes) {
            states.extend(PodState::list(&node.kubelet_state_dir).unwrap_or_default());
        }
        let find = |pod: &String| {
            let state = states.iter().find(|state| format!("{}/{}", state.namespace, state.name) == *pod);
            state.cloned().ok_or_else(|| StepError::Pod { cluster: cluster.clone(), pod: pod.clone() })
        };
        names.iter().map(find).collect()
    }

    // ---- faults ----

    async fn pod_kill(
        &mut self,
        index: usize,
        name: &str,
        clusters: &[ClusterName],
        deployment: &DeploymentKey,
    ) -> Result<(), StepError> {
        let failed = |source| StepError::Fault { name: name.to_owned(), source };
        let targets: Vec<(ClusterName, Vec<PodState>)> = clusters
            .iter()
            .map(|cluster| Ok((cluster.clone(), self.pods(cluster, deployment)?)))
            .collect::<Result<_, StepError>>()?;
        let mut undo = Vec::new();
        for (cluster, pods) in &targets {
            let id = self.next_fault;
            self.next_fault += 1;
            let target = format!("{} pods of {} in {cluster}", pods.len(), deployment.name);
            let struck = |dead: BTreeSet<(ClusterName, Ipv4Addr)>| {
                let mut world = lock(&self.world);
                let injected = world.clock.now();
                let names = pods.iter().map(|pod| format!("{cluster}/{}", pod.name)).collect();
                let kind = "pod-kill".to_owned();
                world.emit(Event::FaultInjected { fault: id, kind, target: target.clone(), pods: names });
                let clusters = [cluster.clone()].into();
                world.fault_injected(InForce { id, target: target.clone(), clusters, step: index, injected, dead });
            };
            let witnessed = |witness: String| lock(&self.world).emit(Event::FaultWitnessed { fault: id, witness });
            let injected =
                pod_kill::inject(&self.clusters[cluster], deployment, pods, struck, witnessed).await.map_err(failed)?;
            lock(&self.world).must_see(cluster, injected.changed);
            undo.push((id, injected.undo));
        }
        self.faults.insert(name.to_owned(), undo);
        Ok(())
    }

    async fn heal(&mut self, name: &str) -> Result<(), StepError> {
        for (id, undo) in self.faults.remove(name).unwrap_or_default() {
            lock(&self.world).fault_healed(undo.dead());
            let (cluster, changed) =
                undo.heal().await.map_err(|source| StepError::Fault { name: name.to_owned(), source })?;
            let mut world = lock(&self.world);
            world.must_see(&cluster, changed);
            world.emit(Event::FaultHealed { fault: id });
        }
        Ok(())
    }

    // ---- conditions ----

    async fn settle(&self) -> Result<(), StepError> {
        self.wait(self.scenario.deadline(), World::unsettled_objects).await?;
        let both = |world: &World| {
            let mut reasons = world.unsettled_objects();
            reasons.extend(world.wrong_maps());
            reasons
        };
        match self.wait(MAPS_WAIT_MAX, both).await {
            Err(StepError::Unsettled { waited, .. }) => {
                let (objects, maps) = {
                    let world = lock(&self.world);
                    (world.unsettled_objects(), world.wrong_maps())
                };
                if objects.is_empty() {
                    Err(StepError::MapsWrong { waited, reasons: maps })
                } else {
                    Err(StepError::Unsettled { waited, reasons: objects })
                }
            }
            other => other,
        }
    }

    /// Waits until `missing` is empty.
    async fn wait(&self, wait_max: Duration, missing: impl Fn(&World) -> Vec<String>) -> Result<(), StepError> {
        let mut changes = lock(&self.world).changes();
        let deadline = Instant::now() + wait_max;
        loop {
            changes.mark_unchanged();
            let reasons = missing(&lock(&self.world));
            if reasons.is_empty() {
                return Ok(());
            }
            // The sender lives in the world, which we hold: only the deadline can end the wait otherwise.
            if timeout_at(deadline, changes.changed()).await.is_err() {
                return Err(StepError::Unsettled { waited: wait_max, reasons });
            }
        }
    }

    async fn steady_window(&self, step: &Step) -> Result<(), StepError> {
        let wanted = u64::from(step.steady_requests);
        let slowest = self.scenario.probes().iter().map(|probe| probe.rate.get()).min().unwrap_or(1);
        let timeouts: Duration = self.scenario.probes().iter().map(|probe| probe.timeout).sum();
        let wait_max =
            timeouts + Duration::from_secs(1) * step.steady_requests.div_ceil(slowest).saturating_mul(STEADY_SLACK);
        let missing = |world: &World| match world.steady_requests() {
            Some(found) if found < wanted => vec![found.to_string()],
            _ => Vec::new(),
        };
        match self.wait(wait_max, missing).await {
            Err(StepError::Unsettled { waited, reasons }) => {
                let found = reasons.first().and_then(|text| text.parse().ok()).unwrap_or(0);
                Err(StepError::Unsteady { waited, found, wanted: step.steady_requests })
            }
            other => other,
        }
    }

    async fn judge(&self, index: usize, expectation: &Located<Expect>) -> Result<bool, StepError> {
        let findings = match &expectation.value {
            Expect::Endpoints { in_, service, from } => {
                let listed = self.clusters[in_].endpoints(service).await.map_err(StepError::Kubernetes)?;
                expect::endpoints(from, &listed, |address| {
                    let address: Ipv4Addr = address.parse().ok()?;
                    let owner =
                        self.scenario.topology().clusters().iter().find(|one| one.pod_cidr().contains(&address))?;
                    Some(owner.name().clone())
                })
            }
            other => expect::requests(other, lock(&self.world).steady()),
        };
        let held = findings.is_empty();
        let words = expect::words(&expectation.value);
        let expectation = if held { words } else { format!("{words} ({})", self.place(expectation.position)) };
        lock(&self.world).emit(Event::Expectation { step: index, expectation, findings });
        Ok(held)
    }
}

impl StepError {
    /// What to tell: the error with its causes, then one line for each thing that was missing.
    fn findings(&self) -> Vec<String> {
        let mut findings = vec![chain(self)];
        if let Self::Unsettled { reasons, .. } | Self::MapsWrong { reasons, .. } = self {
            findings.extend(reasons.iter().cloned());
        }
        findings
    }
}

fn outcome_of(error: &StepError) -> StepOutcome {
    match error {
        StepError::Fault { source: FaultError::NoWitness { .. } | FaultError::NoTarget { .. }, .. } => {
            StepOutcome::Invalid
        }
        StepError::Unsettled { .. } | StepError::Unsteady { .. } => StepOutcome::TimedOut,
        StepError::Kubernetes(_)
        | StepError::Manifest { .. }
        | StepError::Fault { .. }
        | StepError::Probe { .. }
        | StepError::NoClients { .. }
        | StepError::Pod { .. }
        | StepError::MapsWrong { .. } => StepOutcome::Failed,
    }
}

/// An error and its sources in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
