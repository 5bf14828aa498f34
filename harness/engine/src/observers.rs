//! Everything that tells the world what happens: watches of the Kubernetes APIs and etcds, readers of maps, followers of logs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use mesh_types::ClusterName;
use meshbed_driver::{Control, RunState};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{
    fence,
    kubernetes::Cluster,
    logs::{Line, Logs, Since},
    maps::{Pace, Reader},
    place::Followers,
    probe::lock,
    propagation, watch,
    world::{NodeIndex, World},
};

/// Everything that tells the world what happens; stops when dropped.
pub(crate) struct Observers {
    clusters: BTreeMap<ClusterName, Cluster>,
    tasks: JoinSet<()>,
    /// Kept because they stop when they are dropped.
    _maps: Option<Reader>,
    _logs: Option<Logs>,
    _elsewhere: Vec<Followers>,
}

impl Observers {
    pub(crate) fn clusters(&self) -> &BTreeMap<ClusterName, Cluster> {
        &self.clusters
    }

    /// Everything that can be seen of the mesh.
    pub(crate) async fn start(control: &Control, from: Since, world: &Arc<Mutex<World>>) -> Result<Self, Unobserved> {
        let state = control.state();
        let mut objects = Self::of_objects(&state, world).await?;
        let here = bpf_roots(&state, |cluster| control.outpost_of(cluster.as_str()).is_none());
        let maps = Reader::for_world(here, Pace::Measure, Arc::clone(world))?;
        let mut elsewhere = Vec::new();
        for outpost in control.outposts() {
            let there = bpf_roots(&state, |cluster| outpost.clusters().contains(cluster));
            let logs = into_world(&state, world);
            elsewhere.push(Followers::start(outpost, there, &state.logs_dir, from, logs, world).await?);
        }
        let logs = Logs::follow(&state.logs_dir, from, into_world(&state, world))?;
        propagation::follow(&state.clusters, &mut objects.tasks, world);
        Ok(Self { _maps: Some(maps), _logs: Some(logs), _elsewhere: elsewhere, ..objects })
    }

    /// What a person looks at: Kubernetes objects, then maps. Clusters that give no list within `lists_max` are gone for
    /// now; of the others no map is called wrong only because its services are not known yet.
    pub(crate) async fn of_view(
        state: &RunState,
        world: &Arc<Mutex<World>>,
        lists_max: Duration,
    ) -> Result<Self, Unobserved> {
        let objects = Self::of_objects(state, world).await?;
        let missing = listed(world, &BTreeSet::new(), lists_max).await;
        if !missing.is_empty() {
            tracing::info!(?missing, "going on without");
        }
        let maps = Reader::for_world(bpf_roots(state, |_| true), Pace::Show, Arc::clone(world))?;
        Ok(Self { _maps: Some(maps), ..objects })
    }

    /// Only Kubernetes objects.
    pub(crate) async fn of_objects(state: &RunState, world: &Arc<Mutex<World>>) -> Result<Self, Unobserved> {
        let mut clusters = BTreeMap::new();
        let mut tasks = JoinSet::new();
        let (sender, mut seen) = mpsc::channel(watch::QUEUE_MAX);
        for cluster in &state.clusters {
            let connected = Cluster::connect(cluster.name.clone(), &cluster.kubeconfig_host).await?;
            watch::watch(&connected, &mut tasks, &sender);
            clusters.insert(cluster.name.clone(), connected);
        }
        let of_watches = Arc::clone(world);
        tasks.spawn(async move {
            while let Some(seen) = seen.recv().await {
                lock(&of_watches).seen(seen);
            }
        });
        tasks.spawn(fence::follow(Arc::new(clusters.clone()), Arc::clone(world)));
        Ok(Self { clusters, tasks, _maps: None, _logs: None, _elsewhere: Vec::new() })
    }
}

/// Waits until the watches know what there is in every cluster that is not `silent`; returns what is missing when
/// `wait_max` has passed.
pub(crate) async fn listed(
    world: &Arc<Mutex<World>>,
    silent: &BTreeSet<ClusterName>,
    wait_max: Duration,
) -> Vec<String> {
    let mut changes = lock(world).changes();
    let deadline = Instant::now() + wait_max;
    loop {
        changes.mark_unchanged();
        let missing = lock(world).unlisted(silent);
        if missing.is_empty() || timeout_at(deadline, changes.changed()).await.is_err() {
            return missing;
        }
    }
}

/// Why the mesh could not be observed.
type Unobserved = Box<dyn std::error::Error + Send + Sync>;

/// Numbers and bpffs of the nodes of some clusters.
fn bpf_roots(state: &RunState, wanted: impl Fn(&ClusterName) -> bool) -> Vec<(NodeIndex, PathBuf)> {
    let nodes = state.clusters.iter().flat_map(|cluster| cluster.nodes.iter().map(move |node| (&cluster.name, node)));
    let numbered = nodes.enumerate().filter(|(_, (cluster, _))| wanted(cluster));
    numbered.map(|(number, (_, node))| (number, node.bpf_root.clone())).collect()
}

/// Tells the world of lines in logs.
fn into_world(state: &RunState, world: &Arc<Mutex<World>>) -> impl FnMut(Line) + Send + use<> {
    let clusters = state.processes.iter().map(|process| {
        // What is between the clusters is nobody's.
        (process.name.clone(), process.cluster.as_ref().map(ToString::to_string).unwrap_or_default())
    });
    let (clusters, world): (BTreeMap<String, String>, _) = (clusters.collect(), Arc::clone(world));
    move |line| {
        let cluster = clusters.get(&line.process).map_or("", String::as_str);
        lock(&world).log(cluster, &line.process, &line.level, line.text);
    }
}
