//! What the harness knows of the mesh, and what it makes of it.
//!
//! Watches, map readings and probes tell the [`World`] what they saw; it keeps the oracle up to date, compares every
//! node's maps with it, judges every request, and records all of it. It does no I/O but the record, so it can sit
//! behind a mutex that is never held across an `await`.

mod asked;
mod belief;
mod faults;
mod maps;
mod objects;
mod requests;
mod steps;
mod strike;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use mesh_types::ClusterName;
use meshbed_driver::RunState;
use meshbed_events::{Event, FaultId, Micros, Request};
use meshbed_oracle::{Asked, Oracle};
use meshbed_scenario::{MapLimits, Topology};
use tokio::sync::watch;

pub(crate) use belief::Belief;
pub(crate) use steps::LogLine;
use steps::Running;
pub(crate) use strike::{InForce, Missing, Strike};

use crate::{
    RunClock,
    kubernetes::Changed,
    propagation::{Propagation, Traces},
    recorder::Recorder,
    settle::Objects,
    watch::Kind,
};

/// Index of a node in the order of the topology.
pub(crate) type NodeIndex = usize;

/// Number of one who reads maps.
pub(crate) type ReaderIndex = usize;

/// One who reads the maps of some nodes, again and again.
struct Reader {
    /// When its last complete reading began.
    read_from: Micros,
    /// Wakes it: it sleeps long while all maps are right.
    wake: Box<dyn Fn() + Send>,
}

/// See the module.
pub(crate) struct World {
    pub(crate) clock: RunClock,
    recorder: Recorder,
    oracle: Oracle,
    pub(crate) objects: BTreeMap<ClusterName, Objects>,
    versions: BTreeMap<(ClusterName, String, String), u64>,
    listed: BTreeSet<(ClusterName, Kind)>,
    must_see: Vec<(ClusterName, Changed)>,
    /// Pods of nodes that boot, and the versions in which they are called ready from before.
    booting: BTreeMap<(ClusterName, String), String>,
    beliefs: Vec<Belief>,
    limits: MapLimits,
    in_force: BTreeMap<FaultId, InForce>,
    missing: Missing,
    /// When the truth changes next without anything being told.
    truth_changes: Option<Micros>,
    pending: VecDeque<(Request, Asked)>,
    /// Our watches have brought everything that was true at this time.
    heard: Micros,
    clients: BTreeSet<(String, String)>,
    propagation: Propagation,
    running: Option<Running>,
    violations_between_steps: usize,
    changed: watch::Sender<u64>,
    /// How many times longer than usual everything takes.
    slowness: f64,
    /// Those who read maps.
    readers: Vec<Reader>,
    /// Releases of kernels that are not ours, by the names of the clusters and nodes that are on them.
    kernels: BTreeMap<String, String>,
}

impl World {
    pub(crate) fn new(topology: &Topology, grace: Duration, clock: RunClock, recorder: Recorder) -> Self {
        let clusters: Vec<(ClusterName, Vec<String>)> = topology
            .clusters()
            .iter()
            .map(|cluster| {
                let nodes = cluster.nodes().iter().map(|node| node.name().to_owned()).collect();
                (cluster.name().clone(), nodes)
            })
            .collect();
        let beliefs = clusters
            .iter()
            .flat_map(|(cluster, nodes)| nodes.iter().map(|node| Belief::new(cluster.clone(), node.clone())))
            .collect();
        Self {
            clock,
            recorder,
            oracle: topology.clusters().iter().fold(Oracle::new(clusters.clone(), grace), |oracle, cluster| {
                oracle.with_cluster_id(cluster.name().clone(), cluster.id().get())
            }),
            objects: clusters.into_iter().map(|(cluster, _)| (cluster, Objects::default())).collect(),
            versions: BTreeMap::new(),
            listed: BTreeSet::new(),
            must_see: Vec::new(),
            booting: BTreeMap::new(),
            beliefs,
            limits: MapLimits::default(),
            in_force: BTreeMap::new(),
            missing: Missing::default(),
            truth_changes: None,
            pending: VecDeque::new(),
            heard: Micros(0),
            clients: BTreeSet::new(),
            propagation: Propagation::default(),
            running: None,
            violations_between_steps: 0,
            changed: watch::Sender::new(0),
            slowness: 1.0,
            readers: Vec::new(),
            kernels: BTreeMap::new(),
        }
    }

    /// The same on a machine on which everything takes `factor` times as long.
    pub(crate) fn slowed(mut self, factor: f64) -> Self {
        self.slowness = factor;
        self
    }

    /// The same with clusters on other kernels: their names and those of their nodes, and the releases.
    pub(crate) fn on_kernels(mut self, kernels: impl IntoIterator<Item = (String, String)>) -> Self {
        self.kernels.extend(kernels);
        self
    }

    /// How many times longer than usual everything takes.
    pub(crate) fn slowness(&self) -> f64 {
        self.slowness
    }

    /// Told whenever something changed that a condition may wait for.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn bump(&self) {
        self.changed.send_modify(|generation| *generation += 1);
    }

    /// Records an event that happened now.
    pub(crate) fn emit(&mut self, event: Event) {
        self.recorder.push(self.clock.now(), event);
    }

    pub(crate) fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// The etcd of a cluster has a new revision of a service.
    pub(crate) fn etcd_changed(&mut self, at: Micros, cluster: &ClusterName, service: String, revision: i64) {
        self.propagation.etcd(at, cluster.as_str(), service, revision);
    }

    /// Tells how each change found its way, with what the agents wrote to their traces; those of agents on other machines are
    /// `fetched`.
    pub(crate) fn follow_changes(&mut self, state: &RunState, fetched: &Traces) {
        for (at, hop) in self.propagation.hops(state, fetched, self.clock) {
            self.recorder.push(at, Event::Hop(hop));
        }
    }

    /// What the etcd of `cluster` holds and should not, or the other way round.
    pub(crate) fn kvstore_differences(&self, cluster: &ClusterName, entries: &[(String, Vec<u8>)]) -> Vec<String> {
        self.oracle.kvstore(cluster).differences(entries)
    }
}
