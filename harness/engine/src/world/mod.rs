//! What the harness knows of the mesh, and what it makes of it.
//!
//! Watches, map readings and probes tell the [`World`] what they saw; it keeps the oracle up to date, compares every
//! node's maps with it, judges every request, and records all of it. It does no I/O but the record, so it can sit
//! behind a mutex that is never held across an `await`.

mod asked;
mod belief;
mod strike;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    thread::Thread,
    time::Duration,
};

use mesh_types::ClusterName;
use meshbed_driver::RunState;
use meshbed_events::{Event, FaultId, MapState, Micros, Request, SourcePlace, Stopwatch};
use meshbed_oracle::{Asked, Judgement, Oracle};
use meshbed_scenario::{MapLimits, Topology};
use tokio::sync::watch;

pub(crate) use belief::Belief;
pub(crate) use strike::{InForce, Missing, Strike};

use crate::{
    RunClock,
    kubernetes::Changed,
    maps::HOLE,
    propagation::Propagation,
    recorder::Recorder,
    settle::Objects,
    stopwatch,
    watch::{Kind, Seen},
};

/// Violations recorded one by one in a step; more are only counted, so that a broken mesh does not fill the disk.
const VIOLATIONS_MAX: usize = 20;

/// Index of a node in the order of the topology.
pub(crate) type NodeIndex = usize;

/// The step that is running.
#[derive(Debug, Default)]
struct Running {
    step: usize,
    acted: Option<Micros>,
    settled: Option<Micros>,
    steady: Vec<Request>,
    steady_by_client: BTreeMap<(String, String), u64>,
    all: Vec<Request>,
    violations: usize,
    /// Faults that the step injected, healed ones included.
    faults: Vec<InForce>,
    by_client: BTreeMap<(String, String), u64>,
    logs: Vec<LogLine>,
    /// When any node's maps changed.
    map_changes: Vec<Micros>,
    started: Micros,
}

/// A line that a process of the mesh wrote to its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogLine {
    /// The process, such as `agent-alpha-1`.
    pub(crate) process: String,
    /// The line.
    pub(crate) text: String,
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
    beliefs: Vec<Belief>,
    limits: MapLimits,
    in_force: BTreeMap<FaultId, InForce>,
    missing: Missing,
    /// When the truth changes next without anything being told.
    truth_changes: Option<Micros>,
    pending: VecDeque<(Request, Asked)>,
    clients: BTreeSet<(String, String)>,
    propagation: Propagation,
    running: Option<Running>,
    violations_between_steps: usize,
    changed: watch::Sender<u64>,
    /// When the last complete reading of all maps began.
    read_from: Micros,
    /// The thread that reads maps; it sleeps long while all are right.
    reader: Option<Thread>,
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
            beliefs,
            limits: MapLimits::default(),
            in_force: BTreeMap::new(),
            missing: Missing::default(),
            truth_changes: None,
            pending: VecDeque::new(),
            clients: BTreeSet::new(),
            propagation: Propagation::default(),
            running: None,
            violations_between_steps: 0,
            changed: watch::Sender::new(0),
            read_from: Micros(0),
            reader: None,
        }
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

    // ---- Kubernetes objects ----

    /// An action changed this object: the mesh has not settled before our own watch has seen it.
    pub(crate) fn must_see(&mut self, cluster: &ClusterName, changed: Changed) {
        let watched = Kind::ALL.iter().any(|kind| kind.as_str() == changed.kind);
        if watched {
            self.must_see.push((cluster.clone(), changed));
        }
    }

    pub(crate) fn seen(&mut self, seen: Seen) {
        let at = self.clock.now();
        match seen {
            Seen::Listed { cluster, kind } => {
                self.listed.insert((cluster, kind));
            }
            Seen::Object { cluster, kind, name, version, object, deleted } => {
                self.object(at, &cluster, kind, &name, version, object, deleted);
            }
        }
        self.bump();
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one watch event")]
    fn object(
        &mut self,
        at: Micros,
        cluster: &ClusterName,
        kind: Kind,
        name: &str,
        version: u64,
        object: serde_json::Value,
        deleted: bool,
    ) {
        let told = match kind {
            Kind::Service => self.oracle.service(at, cluster, &object, deleted),
            Kind::EndpointSlice => self.oracle.slice(at, cluster, &object, deleted),
            Kind::Pod | Kind::Deployment | Kind::Node => Ok(()),
        };
        if let Err(error) = told {
            let text = format!("the oracle cannot read {} `{name}` of {cluster}: {error}", kind.as_str());
            self.recorder.push(at, Event::Violation { step: self.step(), message: text });
            self.count_violation();
        }
        self.versions.insert((cluster.clone(), kind.as_str().to_owned(), name.to_owned()), version);
        self.propagation.object(at, cluster.as_str(), kind, name, version, &object);
        let change = describe(kind, &object, deleted);
        self.recorder.push(
            at,
            Event::ObjectChanged {
                cluster: cluster.to_string(),
                kind: kind.as_str().to_owned(),
                name: name.to_owned(),
                change,
            },
        );
        let Some(objects) = self.objects.get_mut(cluster) else { return };
        let by_name = objects.of_mut(kind);
        if deleted {
            by_name.remove(name);
        } else {
            by_name.insert(name.to_owned(), object);
        }
        if matches!(kind, Kind::Service | Kind::EndpointSlice) {
            self.refresh_truth(at);
        }
    }

    // ---- belief against reality ----

    /// From now on this thread is woken when maps begin to differ from the truth.
    pub(crate) fn read_by(&mut self, reader: Thread) {
        self.reader = Some(reader);
    }

    fn refresh_truth(&mut self, at: Micros) {
        let were_right = self.all_maps_right();
        for node in 0..self.beliefs.len() {
            self.compare(at, node);
        }
        if were_right
            && !self.all_maps_right()
            && let Some(reader) = &self.reader
        {
            reader.unpark();
        }
        self.truth_changes = self.oracle.truth_changes_after(at);
    }

    /// A node's maps were read.
    pub(crate) fn maps(&mut self, at: Micros, node: NodeIndex, state: MapState) {
        let belief = &mut self.beliefs[node];
        if belief.maps.as_ref() == Some(&state) {
            return;
        }
        let (cluster, name) = (belief.cluster.to_string(), belief.node.clone());
        let before = belief.maps.replace(state.clone());
        self.propagation.maps(at, &cluster, &name, before.as_ref(), &state);
        if let Some(running) = &mut self.running {
            running.map_changes.push(at);
        }
        let holes: Vec<String> = state.defects.iter().filter(|defect| defect.ends_with(HOLE)).cloned().collect();
        let place = format!("{cluster}/{name}");
        self.recorder.push(at, Event::MapChanged { cluster, node: name, state });
        // A packet can meet it at once, however short it lasts: the reader made sure that it was no torn reading.
        for hole in holes {
            self.violation(format!("node `{place}`: {hole}"));
        }
        self.compare(at, node);
        self.bump();
    }

    fn compare(&mut self, at: Micros, node: NodeIndex) {
        let belief = &mut self.beliefs[node];
        let truth = self.oracle.truth_at(at, &belief.cluster, &belief.node);
        for event in belief.compare(at, &truth) {
            self.recorder.push(at, event);
        }
        if self.beliefs[node].is_right() {
            let belief = &self.beliefs[node];
            self.oracle.node_right(at, &belief.cluster, &belief.node);
        }
    }

    /// Complains about entries that are wrong for too long. Called whenever the maps were read, changed or not.
    ///
    /// `read_from` is when the reading of all maps began.
    pub(crate) fn tick(&mut self, read_from: Micros) {
        let now = self.clock.now();
        let acted = self.running.as_ref().and_then(|running| running.acted);
        let first_since = acted.is_some_and(|acted| self.read_from < acted && read_from >= acted);
        self.read_from = read_from;
        if first_since {
            self.bump();
        }
        if self.truth_changes.is_some_and(|at| at <= now) {
            self.refresh_truth(now);
        }
        let limits = self.limits;
        let complaints: Vec<_> = self.beliefs.iter_mut().flat_map(|belief| belief.too_old(now, &limits)).collect();
        for complaint in complaints {
            self.violation(complaint.message);
        }
    }

    /// Every node whose maps are not what they should be; empty when all are right.
    pub(crate) fn wrong_maps(&self) -> Vec<String> {
        self.beliefs.iter().filter(|belief| !belief.is_right()).flat_map(Belief::sentences).collect()
    }

    /// Whether every node's maps were read and are right.
    pub(crate) fn all_maps_right(&self) -> bool {
        self.beliefs.iter().all(Belief::is_right)
    }

    /// What each node's maps hold.
    pub(crate) fn beliefs(&self) -> &[Belief] {
        &self.beliefs
    }

    /// What the Kubernetes API has not done yet; empty when it has settled.
    pub(crate) fn unsettled_objects(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for (cluster, objects) in &self.objects {
            if self.missing.silent.contains(cluster) {
                continue;
            }
            for kind in Kind::ALL {
                if !self.listed.contains(&(cluster.clone(), kind)) {
                    reasons.push(format!("{cluster}: no complete list of {} yet", kind.as_str()));
                }
            }
            reasons.extend(
                objects.unsettled(cluster, &self.missing).into_iter().map(|reason| format!("{cluster}: {reason}")),
            );
        }
        for (cluster, changed) in self.must_see.iter().filter(|(cluster, _)| !self.missing.silent.contains(cluster)) {
            let key = (cluster.clone(), changed.kind.clone(), changed.name.clone());
            if self.versions.get(&key).is_none_or(|seen| *seen < changed.resource_version) {
                reasons.push(format!(
                    "{cluster}: {} `{}` at resource version {} not seen yet",
                    changed.kind, changed.name, changed.resource_version
                ));
            }
        }
        reasons
    }

    /// Kinds of objects of which a cluster that is not in `silent` has given no complete list yet.
    pub(crate) fn unlisted(&self, silent: &BTreeSet<ClusterName>) -> Vec<String> {
        let speaking = self.objects.keys().filter(|cluster| !silent.contains(*cluster));
        let kinds = speaking.flat_map(|cluster| Kind::ALL.map(|kind| (cluster.clone(), kind)));
        let missing = kinds.filter(|wanted| !self.listed.contains(wanted));
        missing.map(|(cluster, kind)| format!("{cluster}: no complete list of {} yet", kind.as_str())).collect()
    }

    /// Clusters whose Kubernetes API is silent because of faults in force.
    pub(crate) fn silent(&self) -> &BTreeSet<ClusterName> {
        &self.missing.silent
    }

    /// What keeps an object that should be gone; empty when our watch no longer has it.
    pub(crate) fn still_there(&self, (cluster, kind, name): &(ClusterName, &str, String)) -> Vec<String> {
        let Some(objects) = self.objects.get(cluster) else { return Vec::new() };
        let by_name = Kind::ALL.iter().find(|one| one.as_str() == *kind).map(|kind| objects.of(*kind));
        let there = by_name.is_some_and(|objects| objects.contains_key(name));
        if there { vec![format!("{cluster}: {kind} `{name}` is still there")] } else { Vec::new() }
    }

    /// Whether the Kubernetes API of `cluster` says that `node` is ready.
    pub(crate) fn node_is_ready(&self, cluster: &ClusterName, node: &str) -> bool {
        self.objects.get(cluster).is_some_and(|objects| objects.node_is_ready(node))
    }

    /// What the etcd of `cluster` holds and should not, or the other way round.
    pub(crate) fn kvstore_differences(&self, cluster: &ClusterName, entries: &[(String, Vec<u8>)]) -> Vec<String> {
        self.oracle.kvstore(cluster).differences(entries)
    }

    // ---- propagation ----

    /// The etcd of a cluster has a new revision of a service.
    pub(crate) fn etcd_changed(&mut self, at: Micros, cluster: &ClusterName, service: String, revision: i64) {
        self.propagation.etcd(at, cluster.as_str(), service, revision);
    }

    /// Tells how each change found its way, with what the agents wrote to their traces.
    pub(crate) fn follow_changes(&mut self, state: &RunState) {
        for (at, hop) in self.propagation.hops(state, self.clock) {
            self.recorder.push(at, Event::Hop(hop));
        }
    }

    // ---- logs ----

    /// A process of the mesh wrote to its log.
    pub(crate) fn log(&mut self, cluster: &str, process: &str, level: &str, text: String) {
        let (process, cluster, level) = (process.to_owned(), cluster.to_owned(), level.to_owned());
        if let Some(running) = &mut self.running {
            running.logs.push(LogLine { process: process.clone(), text: text.clone() });
        }
        self.emit(Event::Log { process, cluster, level, text });
        self.bump();
    }

    /// What was logged since the step began.
    pub(crate) fn logs(&self) -> &[LogLine] {
        self.running.as_ref().map_or(&[], |running| &running.logs)
    }

    // ---- requests ----

    /// A client that sends requests from now on.
    pub(crate) fn client(&mut self, cluster: &ClusterName, pod: &str) {
        self.clients.insert((cluster.to_string(), pod.to_owned()));
    }

    /// A client that sends no more.
    pub(crate) fn client_stopped(&mut self, cluster: &ClusterName, pod: &str) {
        self.clients.remove(&(cluster.to_string(), pod.to_owned()));
        self.bump();
    }

    pub(crate) fn request(&mut self, request: Request) {
        self.recorder.push(request.done, Event::Request(request.clone()));
        if let Some(running) = &mut self.running {
            running.all.push(request.clone());
            let client = (request.cluster.clone(), request.client.clone());
            *running.by_client.entry(client.clone()).or_default() += 1;
            if running.settled.is_some_and(|settled| request.sent >= settled) {
                *running.steady_by_client.entry(client).or_default() += 1;
                running.steady.push(request.clone());
            }
        }
        if let Some(asked) = asked::asked(&request) {
            self.pending.push_back((request, asked));
        }
        self.judge_until(self.clock.now());
        self.bump();
    }

    /// Fewest steady requests that any client has finished; `None` when there are no clients.
    pub(crate) fn steady_requests(&self) -> Option<u64> {
        let running = self.running.as_ref()?;
        self.clients.iter().map(|client| running.steady_by_client.get(client).copied().unwrap_or(0)).min()
    }

    /// Fewest requests that any client has finished since the step began; `None` when there are no clients.
    pub(crate) fn requests_of_slowest_client(&self) -> Option<u64> {
        let running = self.running.as_ref()?;
        self.clients.iter().map(|client| running.by_client.get(client).copied().unwrap_or(0)).min()
    }

    /// Judges what can be judged at `now`.
    fn judge_until(&mut self, now: Micros) {
        while let Some((_, asked)) = self.pending.front()
            && self.oracle.judgeable_from(asked) <= now
        {
            if let Some((request, asked)) = self.pending.pop_front() {
                self.judge(&request, &asked);
            }
        }
    }

    fn judge(&mut self, request: &Request, asked: &Asked) {
        let Judgement::Wrong { message } = self.oracle.judge(asked) else { return };
        self.violation(format!("client `{}`, request {}: {message}", request.client, request.sequence));
    }

    fn violation(&mut self, message: String) {
        if self.count_violation() <= VIOLATIONS_MAX {
            self.emit(Event::Violation { step: self.step(), message });
        }
    }

    fn step(&self) -> Option<usize> {
        self.running.as_ref().map(|running| running.step)
    }

    /// Counts a violation and returns how many there were in this step.
    fn count_violation(&mut self) -> usize {
        match &mut self.running {
            Some(running) => {
                running.violations += 1;
                running.violations
            }
            None => {
                self.violations_between_steps += 1;
                self.violations_between_steps
            }
        }
    }

    // ---- faults ----

    /// Something is about to be broken. What the oracle makes of it counts from now.
    pub(crate) fn strike(&mut self, id: FaultId, name: &str, kind: &str, strike: Strike) -> Micros {
        let at = self.clock.now();
        for (cluster, ip) in &strike.dead {
            self.oracle.pod_dead(at, cluster, *ip);
        }
        for (cluster, ip) in &strike.hung {
            self.oracle.pod_hung(at, cluster, *ip);
        }
        let cuts = strike.cuts.iter().map(|cut| self.oracle.cut(at, cut.clone())).collect();
        let pods = strike.pods.iter().map(|(cluster, pod)| format!("{cluster}/{pod}")).collect();
        let (name, kind) = (name.to_owned(), kind.to_owned());
        self.recorder.push(at, Event::FaultInjected { fault: id, name, kind, target: strike.target.clone(), pods });
        let step = self.step().unwrap_or_default();
        let fault = InForce { id, step, injected: at, strike, cuts };
        if let Some(running) = &mut self.running {
            running.faults.push(fault.clone());
        }
        self.in_force.insert(id, fault);
        self.missing = Missing::of(self.in_force.values());
        self.refresh_truth(at);
        self.bump();
        at
    }

    /// The fault is about to be undone: its pods may come back, at the same addresses.
    pub(crate) fn fault_heals(&mut self, id: FaultId) {
        let now = self.clock.now();
        let Some(fault) = self.in_force.get(&id) else { return };
        for (cluster, ip) in &fault.strike.dead {
            self.oracle.pod_alive(now, cluster, *ip);
        }
    }

    /// The fault is undone; what it cut is whole again.
    pub(crate) fn fault_healed(&mut self, id: FaultId, witness: String) {
        let now = self.clock.now();
        if let Some(fault) = self.in_force.remove(&id) {
            for (cluster, ip) in &fault.strike.hung {
                self.oracle.pod_woken(now, cluster, *ip);
            }
            for cut in fault.cuts {
                self.oracle.mend(now, cut);
            }
        }
        self.missing = Missing::of(self.in_force.values());
        self.recorder.push(now, Event::FaultHealed { fault: id, witness });
        self.refresh_truth(now);
        self.bump();
    }

    // ---- steps ----

    pub(crate) fn step_started(&mut self, step: usize, name: &str, place: SourcePlace, limits: MapLimits) {
        let started = self.clock.now();
        self.limits = limits;
        self.running = Some(Running { step, started, ..Running::default() });
        self.recorder.push(started, Event::StepStarted { step, name: name.to_owned(), place: Some(place) });
    }

    /// All actions of the running step are done.
    pub(crate) fn step_acted(&mut self) -> Micros {
        let now = self.clock.now();
        if let Some(running) = &mut self.running {
            running.acted = Some(now);
        }
        if let Some(reader) = &self.reader {
            reader.unpark();
        }
        now
    }

    /// Whether all maps were read since the actions of the running step: what was read before says nothing about them.
    pub(crate) fn maps_read_since_acting(&self) -> bool {
        self.running.as_ref().and_then(|running| running.acted).is_none_or(|acted| self.read_from >= acted)
    }

    /// When the running step began.
    pub(crate) fn step_began(&self) -> Micros {
        self.running.as_ref().map_or(Micros(0), |running| running.started)
    }

    pub(crate) fn step_settled(&mut self) {
        let now = self.clock.now();
        self.must_see.clear();
        if let Some(running) = &mut self.running {
            running.settled = Some(now);
            let step = running.step;
            self.recorder.push(now, Event::StepSettled { step });
        }
    }

    /// Requests of the running step that were sent after it settled.
    pub(crate) fn steady(&self) -> &[Request] {
        self.running.as_ref().map_or(&[], |running| &running.steady)
    }

    /// All requests of the running step.
    pub(crate) fn requests(&self) -> &[Request] {
        self.running.as_ref().map_or(&[], |running| &running.all)
    }

    /// Judges what is left, reads the stopwatches and returns the number of violations.
    pub(crate) fn step_ends(&mut self) -> usize {
        // All that can still come late are changes of the API, and it has settled: nothing is gained by waiting.
        for (request, asked) in std::mem::take(&mut self.pending) {
            self.judge(&request, &asked);
        }
        let Some(running) = self.running.take() else { return 0 };
        let last_right = self.beliefs.iter().filter_map(|belief| Some((belief.last_right()?, belief.name()))).max();
        for (index, fault) in running.faults.iter().enumerate() {
            let next = running.faults.get(index + 1).map(|next| next.injected);
            let detected = running.map_changes.iter().find(|at| **at >= fault.injected).copied();
            let reading = stopwatch::read(fault, next, &running.all, detected, last_right.as_ref());
            self.emit(Event::Stopwatch(Stopwatch { step: fault.step, ..reading }));
        }
        if running.violations > VIOLATIONS_MAX {
            let more = running.violations - VIOLATIONS_MAX;
            self.emit(Event::Note { text: format!("{more} more violations were counted in this step") });
        }
        self.recorder.flush();
        running.violations
    }

    /// The run ends: what is still wrong is told, and the record is complete.
    pub(crate) fn run_ends(&mut self) {
        let events: Vec<_> = self.beliefs.iter().flat_map(Belief::at_the_end).collect();
        for event in events {
            self.emit(event);
        }
    }

    /// Violations while no step ran.
    pub(crate) fn violations_between_steps(&self) -> usize {
        self.violations_between_steps
    }
}

/// What is worth telling of a change.
fn describe(kind: Kind, object: &serde_json::Value, deleted: bool) -> String {
    if deleted {
        return "deleted".to_owned();
    }
    match kind {
        Kind::EndpointSlice => {
            let ready = object["endpoints"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|endpoint| endpoint["conditions"]["ready"].as_bool().unwrap_or(true))
                .count();
            format!("applied, {ready} ready endpoints")
        }
        Kind::Deployment => {
            let number = |pointer: &str| object.pointer(pointer).and_then(serde_json::Value::as_i64).unwrap_or(0);
            format!("applied, {} of {} ready", number("/status/readyReplicas"), number("/spec/replicas"))
        }
        Kind::Pod => format!("applied, {}", object["status"]["phase"].as_str().unwrap_or("Pending")),
        Kind::Node => {
            let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
            let ready =
                conditions.filter(|condition| condition["type"] == "Ready").find_map(|is| is["status"].as_str());
            format!("applied, ready: {}", ready.unwrap_or("Unknown"))
        }
        Kind::Service => {
            format!("applied, at {}", object["spec"]["clusterIP"].as_str().unwrap_or("no address"))
        }
    }
}
