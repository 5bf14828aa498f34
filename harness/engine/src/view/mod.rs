//! How a mesh is right now, for people who look at it: what Kubernetes says, who answers, which map entries are wrong.

mod probes;
mod recent;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use meshbed_driver::RunState;
use meshbed_scenario::Topology;
use serde_json::Value;

use probes::Probing;
pub use probes::ViewerProbe;
use recent::Recent;

use crate::{
    FaultFile, Recorder, RunClock, observers::Observers, probe::lock, settle::Objects, stage::chain, world::World,
};

/// How far before a request its answers are looked at. What is shown here is no verdict.
const GRACE: Duration = Duration::from_secs(1);
/// How long a person waits for a Kubernetes API that may be gone.
const LISTS_WAIT_MAX: Duration = Duration::from_secs(2);
/// Annotations that make a service global, the present name and the old one.
const GLOBAL: [&str; 2] = ["service.cilium.io/global", "io.cilium/global-service"];

/// Why a mesh could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("failed to look at run `{run}`: {why}")]
pub struct ViewError {
    run: String,
    why: String,
}

/// What is looked at, and with what.
pub struct ViewerOptions {
    /// The mesh.
    pub state: RunState,
    /// Its topology.
    pub topology: Topology,
    /// `meshbed-pod`, which asks from within pods.
    pub pod_program: PathBuf,
    /// Who asks whom; nobody when absent.
    pub probe: Option<ViewerProbe>,
}

/// Looks at a mesh, and asks its services. Ends with everything that it started when it is dropped.
pub struct Viewer {
    state: RunState,
    topology: Topology,
    world: Arc<Mutex<World>>,
    recent: Arc<Mutex<Recent>>,
    probing: Option<Probing>,
    _observers: Observers,
}

impl Viewer {
    /// Begins to look.
    pub async fn start(options: ViewerOptions) -> Result<Self, ViewError> {
        let ViewerOptions { state, topology, pod_program, probe } = options;
        let recent: Arc<Mutex<Recent>> = Arc::default();
        let told = Arc::clone(&recent);
        let recorder = Recorder::forgetful(Box::new(move |stamped| recent::note(&told, stamped)));
        let world = Arc::new(Mutex::new(World::new(&topology, GRACE, RunClock::start(), recorder)));
        let observers = Observers::of_view(&state, &world, LISTS_WAIT_MAX).await;
        let failed = |why: String| ViewError { run: state.run.to_string(), why };
        let observers = observers.map_err(|error| failed(chain(error.as_ref())))?;
        let probing = probe.map(|probe| Probing::new(probe, pod_program));
        Ok(Self { state, topology, world, recent, probing, _observers: observers })
    }

    /// Whether the mesh was taken down.
    pub fn is_gone(&self) -> bool {
        !self.state.run_dir.join("run.json").exists()
    }

    /// Starts clients in pods that have none; those of pods that ended are forgotten.
    pub async fn keep_asking(&mut self) {
        if let Some(probing) = &mut self.probing {
            probing.keep_asking(&self.state, &self.world).await;
        }
    }

    /// How the mesh is now.
    pub fn look(&self) -> MeshView {
        let world = lock(&self.world);
        let now = world.clock.now();
        let clusters = self.topology.clusters().iter().map(|cluster| cluster_view(&world, cluster)).collect();
        let mut wrong: Vec<WrongView> = Vec::new();
        for belief in world.beliefs() {
            let place = belief.name();
            wrong.extend(belief.wrong().iter().map(|(difference, since)| WrongView {
                node: place.clone(),
                what: difference.to_string(),
                is_missing: difference.kind.is_missing(),
                age: now.since(*since),
            }));
        }
        wrong.sort_by(|a, b| b.age.cmp(&a.age).then_with(|| (&a.node, &a.what).cmp(&(&b.node, &b.what))));
        let asking = self.probing.as_ref().map(Probing::clusters).unwrap_or_default();
        let answers = self.recent.lock().unwrap_or_else(std::sync::PoisonError::into_inner).answers(now, &asking);
        MeshView {
            run: self.state.run.to_string(),
            topology: self.state.topology.clone(),
            services: services(&world.objects),
            clusters,
            answers,
            note: self.probing.as_ref().and_then(Probing::note),
            wrong,
            faults: FaultFile::all(&self.state.run_dir),
        }
    }
}

fn cluster_view(world: &World, cluster: &meshbed_scenario::Cluster) -> ClusterView {
    let name = cluster.name();
    let node = |node: &meshbed_scenario::Node| {
        let belief = world.beliefs().iter().find(|belief| belief.cluster == *name && belief.node == node.name());
        let maps = belief.and_then(|belief| belief.maps.as_ref());
        NodeView {
            name: node.name().to_owned(),
            is_ready: world.node_is_ready(name, node.name()),
            backends: maps.map(|maps| maps.frontends.values().map(|frontend| frontend.active.len()).sum()),
        }
    };
    ClusterView { name: name.to_string(), nodes: cluster.nodes().iter().map(node).collect() }
}

/// Services that choose pods, with the ready endpoints that each cluster's API lists.
fn services(objects: &BTreeMap<mesh_types::ClusterName, Objects>) -> Vec<ServiceView> {
    let mut services: BTreeMap<String, ServiceView> = BTreeMap::new();
    for (cluster, objects) in objects {
        for (name, service) in &objects.services {
            if service["spec"]["selector"].as_object().is_none_or(serde_json::Map::is_empty) {
                continue;
            }
            let view = services.entry(name.clone()).or_insert_with(|| ServiceView {
                name: name.clone(),
                global_in: BTreeSet::new(),
                endpoints: BTreeMap::new(),
            });
            let annotations = &service["metadata"]["annotations"];
            if GLOBAL.iter().any(|name| annotations[name] == "true") {
                view.global_in.insert(cluster.to_string());
            }
            view.endpoints.insert(cluster.to_string(), ready_endpoints(objects, name));
        }
    }
    services.into_values().collect()
}

fn ready_endpoints(objects: &Objects, service: &str) -> usize {
    let Some((namespace, short)) = service.split_once('/') else { return 0 };
    let of_service = |slice: &&Value| {
        slice["metadata"]["namespace"] == namespace
            && slice["metadata"]["labels"]["kubernetes.io/service-name"] == short
    };
    let endpoints = objects.slices.values().filter(of_service);
    let endpoints = endpoints.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    endpoints.filter(|endpoint| endpoint["conditions"]["ready"].as_bool().unwrap_or(true)).count()
}

/// A mesh at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshView {
    /// ID of the run.
    pub run: String,
    /// Name of the topology.
    pub topology: String,
    /// In the order of the topology.
    pub clusters: Vec<ClusterView>,
    /// By name.
    pub services: Vec<ServiceView>,
    /// Who was answered by whom within the last second.
    pub answers: Vec<AnswersView>,
    /// Why nobody asks, if that is so.
    pub note: Option<String>,
    /// Map entries that are not what they should be, the oldest first.
    pub wrong: Vec<WrongView>,
    /// Faults that were injected by hand, the oldest first.
    pub faults: Vec<FaultFile>,
}

/// A cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Its name.
    pub name: String,
    /// In the order of the topology.
    pub nodes: Vec<NodeView>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Whether the Kubernetes API says that it is ready.
    pub is_ready: bool,
    /// Backends in its maps, over all frontends; `None` when it has no maps.
    pub backends: Option<usize>,
}

/// A service that chooses pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceView {
    /// `namespace/name`.
    pub name: String,
    /// Clusters in which it is global.
    pub global_in: BTreeSet<String>,
    /// Ready endpoints by cluster; clusters that do not have it are left out.
    pub endpoints: BTreeMap<String, usize>,
}

/// Who answered the clients of a cluster within the last second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswersView {
    /// Cluster of the clients.
    pub asking: String,
    /// Requests by the cluster that answered.
    pub from: BTreeMap<String, u64>,
    /// Requests that were not answered.
    pub errors: u64,
}

/// A map entry that is not what it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrongView {
    /// `cluster/node`.
    pub node: String,
    /// What is wrong, as a sentence.
    pub what: String,
    /// It should be there and is not; otherwise it is there and should not be.
    pub is_missing: bool,
    /// For how long.
    pub age: Duration,
}
