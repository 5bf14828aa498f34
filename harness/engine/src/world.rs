//! What the harness knows of the mesh, and what it makes of it.
//!
//! Watches, map readings and probes tell the [`World`] what they saw; it keeps the oracle up to date, compares every
//! node's maps with it, judges every request, and records all of it. It does no I/O but the record, so it can sit
//! behind a mutex that is never held across an `await`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::Ipv4Addr,
    time::Duration,
};

use mesh_types::{ClusterName, ServiceKey};
use meshbed_events::{Event, FaultId, MapState, Micros, Outcome, Request, Stopwatch};
use meshbed_oracle::{Asked, Judgement, MapTruth, Oracle};
use meshbed_scenario::Topology;
use tokio::sync::watch;

use crate::{
    RunClock,
    kubernetes::Changed,
    recorder::Recorder,
    settle::Objects,
    stopwatch,
    watch::{Kind, Seen},
};

/// Differences told for one node; the rest is counted.
const DIFFERENCES_MAX: usize = 8;
/// Violations recorded one by one in a step; more are only counted, so that a broken mesh does not fill the disk.
const VIOLATIONS_MAX: usize = 20;

/// Index of a node in the order of the topology.
pub(crate) type NodeIndex = usize;

/// What one node's maps hold, and whether that is right.
#[derive(Debug)]
pub(crate) struct Belief {
    pub(crate) cluster: ClusterName,
    pub(crate) node: String,
    pub(crate) maps: Option<MapState>,
    wrong: Vec<String>,
    last_right: Option<Micros>,
}

/// A fault that was injected and not healed yet.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    pub(crate) id: FaultId,
    pub(crate) target: String,
    pub(crate) clusters: BTreeSet<ClusterName>,
    pub(crate) step: usize,
    pub(crate) injected: Micros,
    /// Addresses of the pods that it killed, by cluster.
    pub(crate) dead: BTreeSet<(ClusterName, Ipv4Addr)>,
}

/// The step that is running.
#[derive(Debug, Default)]
struct Running {
    step: usize,
    settled: Option<Micros>,
    steady: Vec<Request>,
    steady_by_client: BTreeMap<(String, String), u64>,
    all: Vec<Request>,
    violations: usize,
    faults: Vec<InForce>,
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
    truth: BTreeMap<ClusterName, MapTruth>,
    pending: VecDeque<(Request, Asked)>,
    clients: BTreeSet<(String, String)>,
    running: Option<Running>,
    violations_between_steps: usize,
    changed: watch::Sender<u64>,
}

impl World {
    pub(crate) fn new(topology: &Topology, grace: Duration, clock: RunClock, recorder: Recorder) -> Self {
        let clusters: Vec<ClusterName> = topology.clusters().iter().map(|cluster| cluster.name().clone()).collect();
        let beliefs = topology
            .clusters()
            .iter()
            .flat_map(|cluster| cluster.nodes().iter().map(|node| (cluster.name().clone(), node.name().to_owned())))
            .map(|(cluster, node)| Belief { cluster, node, maps: None, wrong: Vec::new(), last_right: None })
            .collect();
        Self {
            clock,
            recorder,
            oracle: Oracle::new(clusters.clone(), grace),
            objects: clusters.into_iter().map(|cluster| (cluster, Objects::default())).collect(),
            versions: BTreeMap::new(),
            listed: BTreeSet::new(),
            must_see: Vec::new(),
            beliefs,
            truth: BTreeMap::new(),
            pending: VecDeque::new(),
            clients: BTreeSet::new(),
            running: None,
            violations_between_steps: 0,
            changed: watch::Sender::new(0),
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
            Kind::Pod | Kind::Deployment => Ok(()),
        };
        if let Err(error) = told {
            let text = format!("the oracle cannot read {} `{name}` of {cluster}: {error}", kind.as_str());
            self.recorder.push(at, Event::Violation { step: self.step(), message: text });
            self.count_violation();
        }
        self.versions.insert((cluster.clone(), kind.as_str().to_owned(), name.to_owned()), version);
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
        let by_name = match kind {
            Kind::Service => &mut objects.services,
            Kind::EndpointSlice => &mut objects.slices,
            Kind::Pod => &mut objects.pods,
            Kind::Deployment => &mut objects.deployments,
        };
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

    fn refresh_truth(&mut self, at: Micros) {
        for cluster in self.objects.keys().cloned().collect::<Vec<_>>() {
            let truth = self.oracle.truth(&cluster);
            self.truth.insert(cluster, truth);
        }
        for node in 0..self.beliefs.len() {
            self.compare(at, node);
        }
    }

    /// A node's maps were read.
    pub(crate) fn maps(&mut self, at: Micros, node: NodeIndex, state: MapState) {
        let belief = &mut self.beliefs[node];
        if belief.maps.as_ref() == Some(&state) {
            return;
        }
        belief.maps = Some(state.clone());
        let (cluster, name) = (belief.cluster.to_string(), belief.node.clone());
        self.recorder.push(at, Event::MapChanged { cluster, node: name, state });
        self.compare(at, node);
        self.bump();
    }

    fn compare(&mut self, at: Micros, node: NodeIndex) {
        let belief = &self.beliefs[node];
        let (Some(maps), Some(truth)) = (&belief.maps, self.truth.get(&belief.cluster)) else { return };
        let wrong = differences(belief, maps, truth);
        let belief = &mut self.beliefs[node];
        let (cluster, name) = (belief.cluster.to_string(), belief.node.clone());
        let event = match (belief.wrong.is_empty() && belief.last_right.is_some(), wrong.is_empty()) {
            (false, true) => {
                belief.last_right = Some(at);
                Event::MapRight { cluster, node: name }
            }
            (_, false) if wrong != belief.wrong => Event::MapWrong { cluster, node: name, differences: wrong.clone() },
            _ => return,
        };
        belief.wrong = wrong;
        self.recorder.push(at, event);
    }

    /// Every node whose maps are not what they should be; empty when all are right.
    pub(crate) fn wrong_maps(&self) -> Vec<String> {
        self.beliefs
            .iter()
            .flat_map(|belief| match (&belief.maps, belief.wrong.as_slice()) {
                (None, _) => vec![format!("node `{}/{}`: its maps were not read yet", belief.cluster, belief.node)],
                (Some(_), wrong) => wrong.to_vec(),
            })
            .collect()
    }

    /// What the Kubernetes API has not done yet; empty when it has settled.
    pub(crate) fn unsettled_objects(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for (cluster, objects) in &self.objects {
            for kind in Kind::ALL {
                if !self.listed.contains(&(cluster.clone(), kind)) {
                    reasons.push(format!("{cluster}: no complete list of {} yet", kind.as_str()));
                }
            }
            reasons.extend(objects.unsettled().into_iter().map(|reason| format!("{cluster}: {reason}")));
        }
        for (cluster, changed) in &self.must_see {
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
            if running.settled.is_some_and(|settled| request.sent >= settled) {
                let client = (request.cluster.clone(), request.client.clone());
                *running.steady_by_client.entry(client).or_default() += 1;
                running.steady.push(request.clone());
            }
        }
        if let Some(asked) = asked(&request) {
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
        if self.count_violation() <= VIOLATIONS_MAX {
            let message = format!("client `{}`, request {}: {message}", request.client, request.sequence);
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

    pub(crate) fn fault_injected(&mut self, fault: InForce) {
        for (cluster, ip) in &fault.dead {
            self.oracle.pod_dead(fault.injected, cluster, *ip);
        }
        if let Some(running) = &mut self.running {
            running.faults.push(fault);
        }
    }

    /// The pods of a fault may come back, at the same addresses.
    pub(crate) fn fault_healed(&mut self, dead: &BTreeSet<(ClusterName, Ipv4Addr)>) {
        let now = self.clock.now();
        for (cluster, ip) in dead {
            self.oracle.pod_alive(now, cluster, *ip);
        }
    }

    // ---- steps ----

    pub(crate) fn step_started(&mut self, step: usize, name: &str) {
        self.running = Some(Running { step, ..Running::default() });
        self.emit(Event::StepStarted { step, name: name.to_owned() });
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

    /// Judges what is left, reads the stopwatches and returns the number of violations.
    pub(crate) fn step_ends(&mut self) -> usize {
        // All that can still come late are changes of the API, and it has settled: nothing is gained by waiting.
        for (request, asked) in std::mem::take(&mut self.pending) {
            self.judge(&request, &asked);
        }
        let Some(running) = self.running.take() else { return 0 };
        let last_right = self
            .beliefs
            .iter()
            .filter_map(|belief| Some((belief.last_right?, format!("{}/{}", belief.cluster, belief.node))))
            .max();
        for (index, fault) in running.faults.iter().enumerate() {
            let next = running.faults.get(index + 1).map(|next| next.injected);
            let reading = stopwatch::read(fault, next, &running.all, last_right.as_ref());
            self.emit(Event::Stopwatch(Stopwatch { step: fault.step, ..reading }));
        }
        if running.violations > VIOLATIONS_MAX {
            let more = running.violations - VIOLATIONS_MAX;
            self.emit(Event::Note { text: format!("{more} more violations were counted in this step") });
        }
        self.recorder.flush();
        running.violations
    }

    /// Violations while no step ran.
    pub(crate) fn violations_between_steps(&self) -> usize {
        self.violations_between_steps
    }
}

fn asked(request: &Request) -> Option<Asked> {
    let (namespace, name) = request.service.split_once('/')?;
    let (name, port) = name.rsplit_once(':')?;
    let outcome = match &request.outcome {
        Outcome::Answered(answer) => {
            meshbed_oracle::Outcome::Answered { ip: answer.ip.parse().ok()?, cluster: answer.cluster.parse().ok()? }
        }
        Outcome::Failed(kind) => meshbed_oracle::Outcome::Failed(*kind),
    };
    Some(Asked {
        cluster: request.cluster.parse().ok()?,
        service: ServiceKey::new(namespace, name),
        port: port.parse().ok()?,
        sent: request.sent,
        done: request.done,
        outcome,
    })
}

fn differences(belief: &Belief, maps: &MapState, truth: &MapTruth) -> Vec<String> {
    let node = format!("node `{}/{}`", belief.cluster, belief.node);
    let mut found: Vec<String> =
        truth.differences(maps).into_iter().map(|difference| format!("{node}: {difference}")).collect();
    if found.len() > DIFFERENCES_MAX {
        let more = found.len() - DIFFERENCES_MAX;
        found.truncate(DIFFERENCES_MAX);
        found.push(format!("{node}: and {more} more"));
    }
    found
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
        Kind::Service => {
            format!("applied, at {}", object["spec"]["clusterIP"].as_str().unwrap_or("no address"))
        }
    }
}
