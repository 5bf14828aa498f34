//! What a run's record says, folded once for all reports.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use meshbed_events::{
    Event, FaultId, MapDifference, MapState, Micros, Request, RunInfo, RunRecord, SourcePlace, StepOutcome, Stopwatch,
    Verdict,
};

use crate::{Changes, StaleEntry, Tally, stale};

/// Everything that the reports tell about a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// What is true for the whole run; empty when the record lacks its first event.
    pub info: RunInfo,
    /// How the run ended.
    pub ending: Ending,
    /// Time of the last event.
    pub duration: Micros,
    /// When everything that the topology asks for was ready.
    pub mesh_ready: Option<Micros>,
    /// Parts of the mesh that came up, with the time at which each was done.
    pub progress: Vec<Note>,
    /// All steps of the scenario, also those that never started.
    pub steps: Vec<Step>,
    /// All requests, also those sent before the first step.
    pub total: Tally,
    /// Faults in the order of their injection.
    pub faults: Vec<Fault>,
    /// Stopwatches in the order in which they were read.
    pub stopwatches: Vec<Stopwatch>,
    /// What happened to each node's maps.
    pub nodes: BTreeMap<Node, NodeMaps>,
    /// Entries of maps that were wrong or missing, in the order in which they became so.
    pub stale: Vec<StaleEntry>,
    /// When each change of a service reached each place on its way to the maps.
    pub changes: Changes,
    /// Answers and errors that the oracle does not allow.
    pub violations: Vec<Violation>,
    /// Other things worth telling.
    pub notes: Vec<Note>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It said so itself.
    Finished {
        /// How it ended.
        verdict: Verdict,
        /// Exit code of the process.
        exit_code: u8,
    },
    /// The record stops without a verdict: the harness was killed, or the run still goes on.
    CutOff,
}

/// A node of the mesh; displayed as `cluster/node`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cluster, self.name)
    }
}

/// A pod that sends requests to a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub pod: String,
    /// Service asked, as `namespace/name`.
    pub service: String,
}

/// Requests of one client in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTally {
    /// Sent before the step had settled, or not done when it finished.
    pub transition: Tally,
    /// Sent after the step had settled and done before it finished: what its expectations are about.
    pub steady: Tally,
}

impl ClientTally {
    /// Both parts together.
    pub fn total(&self) -> Tally {
        let mut total = self.transition.clone();
        total.add(&self.steady);
        total.answer_latency.finish();
        total.error_latency.finish();
        total
    }
}

/// A step of the scenario.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Index from 0.
    pub index: usize,
    /// Its name in the scenario file.
    pub name: String,
    /// Where it stands.
    pub place: Option<SourcePlace>,
    /// How it ended; `None` when the record ends in the midst of it. A step that never began is `Skipped`.
    pub outcome: Option<StepOutcome>,
    /// When it began.
    pub started: Option<Micros>,
    /// When its actions were done and the mesh had settled.
    pub settled: Option<Micros>,
    /// When it ended.
    pub finished: Option<Micros>,
    /// Requests sent during it. A request belongs to the step in which it was *sent*, whenever it ended.
    pub clients: BTreeMap<Client, ClientTally>,
    /// What was expected of it.
    pub expectations: Vec<Expectation>,
}

impl Step {
    /// From its begin to its end.
    pub fn duration(&self) -> Option<Duration> {
        Some(self.finished?.since(self.started?))
    }

    /// From its begin until the mesh had settled.
    pub fn settle_time(&self) -> Option<Duration> {
        Some(self.settled?.since(self.started?))
    }

    /// Expectations that did not hold.
    pub fn failed_expectations(&self) -> impl Iterator<Item = &Expectation> {
        self.expectations.iter().filter(|expectation| !expectation.held())
    }

    /// The tallies of all clients of each cluster, merged.
    pub fn by_cluster(&self) -> BTreeMap<String, ClientTally> {
        let mut merged: BTreeMap<String, ClientTally> = BTreeMap::new();
        for (client, tally) in &self.clients {
            let entry = merged.entry(client.cluster.clone()).or_default();
            entry.transition.add(&tally.transition);
            entry.steady.add(&tally.steady);
        }
        merged
    }
}

/// Something that a step was expected to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// In the scenario's words.
    pub text: String,
    /// Where it stands.
    pub place: Option<SourcePlace>,
    /// Empty when it held.
    pub findings: Vec<String>,
}

impl Expectation {
    /// Whether it held.
    pub fn held(&self) -> bool {
        self.findings.is_empty()
    }
}

/// A fault and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its number.
    pub id: FaultId,
    /// Its name in the scenario, or what a person called it; may be empty.
    pub name: String,
    /// Kind, such as `pod-kill`.
    pub kind: String,
    /// What it hits.
    pub target: String,
    /// Pods (`cluster/name`) that can no longer answer because of it.
    pub pods: Vec<String>,
    /// When it was injected.
    pub injected: Micros,
    /// Proofs that it took effect.
    pub witnesses: Vec<Note>,
    /// When it was undone.
    pub healed: Option<Micros>,
    /// What showed that everything is as it was before; empty when nothing needed to be shown.
    pub heal_witness: String,
    /// Index of the step in which it was injected.
    pub step: Option<usize>,
}

/// A text and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at: Micros,
    /// What.
    pub text: String,
}

/// An answer or error that the oracle does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When the oracle said so.
    pub at: Micros,
    /// Index of the step, if one was running.
    pub step: Option<usize>,
    /// Full sentence.
    pub message: String,
}

/// What happened to one node's maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMaps {
    /// Every content seen, in order.
    pub changes: Vec<MapChange>,
    /// When the maps disagreed with the oracle.
    pub wrong: Vec<WrongInterval>,
}

impl NodeMaps {
    /// The longest time for which the maps disagreed with the oracle; an interval without an end counts until `end`.
    pub fn longest_wrong(&self, end: Micros) -> Option<Duration> {
        self.wrong.iter().map(|interval| interval.until.unwrap_or(end).since(interval.from)).max()
    }
}

/// A content of a node's maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapChange {
    /// When the harness read it.
    pub at: Micros,
    /// The whole content.
    pub state: MapState,
}

/// A time in which a node's maps disagreed with the oracle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongInterval {
    /// When the disagreement was first seen.
    pub from: Micros,
    /// When they agreed again; `None` when they never did.
    pub until: Option<Micros>,
    /// The differences seen last.
    pub differences: Vec<MapDifference>,
}

impl WrongInterval {
    /// The differences as one text.
    pub fn text(&self) -> String {
        let messages: Vec<_> = self.differences.iter().map(|difference| difference.message.as_str()).collect();
        messages.join("; ")
    }
}

impl Fault {
    /// What a person recognises it by: its name when it has one that says more than the kind, the kind, and the target.
    pub fn title(&self) -> String {
        let named = !self.name.is_empty() && self.name != self.kind;
        let name = if named { format!("{} ({})", self.name, self.kind) } else { self.kind.clone() };
        format!("{name} {}", self.target)
    }
}

impl Summary {
    /// Folds a record.
    pub fn of(record: &RunRecord) -> Self {
        let mut fold = Fold::default();
        for stamped in &record.events {
            fold.duration = fold.duration.max(stamped.at);
            fold.event(stamped.at, &stamped.event);
        }
        fold.into_summary()
    }

    /// The verdict, if the run got that far.
    pub fn verdict(&self) -> Option<Verdict> {
        match self.ending {
            Ending::Finished { verdict, .. } => Some(verdict),
            Ending::CutOff => None,
        }
    }

    /// How many steps ended with `outcome`.
    pub fn steps_with(&self, outcome: StepOutcome) -> usize {
        self.steps.iter().filter(|step| step.outcome == Some(outcome)).count()
    }

    /// Violations of one step.
    pub fn violations_of(&self, step: usize) -> impl Iterator<Item = &Violation> {
        self.violations.iter().filter(move |violation| violation.step == Some(step))
    }

    /// Requests that failed after their step had settled.
    pub fn steady_errors(&self) -> u64 {
        self.steps.iter().flat_map(|step| step.clients.values()).map(|tally| tally.steady.failed()).sum()
    }

    /// The entries of maps that were wrong for longest, at most `limit`.
    pub fn oldest_stale(&self, limit: usize) -> Vec<&StaleEntry> {
        let mut entries: Vec<&StaleEntry> = self.stale.iter().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.age));
        entries.truncate(limit);
        entries
    }

    /// What a stopwatch is about: its fault's name, if it has one, and what was hit.
    pub(crate) fn stopwatch_title(&self, stopwatch: &Stopwatch) -> String {
        let fault = self.faults.iter().find(|fault| fault.id == stopwatch.fault);
        match fault.filter(|fault| !fault.name.is_empty() && fault.name != fault.kind) {
            Some(fault) => format!("{}: {}", fault.name, stopwatch.target),
            None => stopwatch.target.clone(),
        }
    }

    /// The greatest age of an entry that was there and should not have been.
    pub fn stale_max(&self) -> Option<Duration> {
        self.stale.iter().filter(|entry| !entry.difference.kind.is_missing()).map(|entry| entry.age).max()
    }

    /// The greatest age of an entry that was missing.
    pub fn missing_max(&self) -> Option<Duration> {
        self.stale.iter().filter(|entry| entry.difference.kind.is_missing()).map(|entry| entry.age).max()
    }

    /// Clusters of the run, of its clients and of whoever answered, in order.
    pub fn clusters(&self) -> Vec<String> {
        let mut names: Vec<String> = self.info.clusters.keys().chain(self.total.answers.keys()).cloned().collect();
        names.extend(self.steps.iter().flat_map(|step| step.clients.keys()).map(|client| client.cluster.clone()));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// When the last step ended: what the maps hold later is the work of tearing down.
    pub(crate) fn last_step_finished(&self) -> Option<Micros> {
        self.steps.iter().filter_map(|step| step.finished).max()
    }
}

/// The summary in the making.
#[derive(Default)]
struct Fold<'r> {
    info: RunInfo,
    ending: Option<Ending>,
    duration: Micros,
    mesh_ready: Option<Micros>,
    progress: Vec<Note>,
    steps: BTreeMap<usize, Step>,
    running: Option<usize>,
    /// Kept until all steps are known: a request is often recorded after the next step began.
    requests: Vec<&'r Request>,
    faults: Vec<Fault>,
    stopwatches: Vec<Stopwatch>,
    nodes: BTreeMap<Node, NodeMaps>,
    stale: stale::Fold,
    changes: Changes,
    violations: Vec<Violation>,
    notes: Vec<Note>,
}

impl<'r> Fold<'r> {
    fn event(&mut self, at: Micros, event: &'r Event) {
        match event {
            Event::RunStarted(info) => self.info = info.clone(),
            Event::MeshProgress { what } => self.progress.push(Note { at, text: what.clone() }),
            Event::MeshReady => self.mesh_ready = Some(at),
            Event::StepStarted { .. } | Event::StepSettled { .. } | Event::StepFinished { .. } => {
                self.step_event(at, event)
            }
            Event::ObjectChanged { .. } | Event::Log { .. } => {}
            Event::MapEntryAged { cluster, node, difference, since, to_the_end } => {
                let until = (!to_the_end).then_some(at);
                let node = Node { cluster: cluster.clone(), name: node.clone() };
                self.stale.aged(StaleEntry::new(node, difference.clone(), *since, until, at));
            }
            Event::Hop(hop) => self.changes.hop(at, hop),
            Event::FaultInjected { .. } | Event::FaultWitnessed { .. } | Event::FaultHealed { .. } => {
                self.fault_event(at, event);
            }
            Event::Request(request) => self.requests.push(request),
            Event::MapChanged { cluster, node, state } => {
                self.node(cluster, node).changes.push(MapChange { at, state: state.clone() });
            }
            Event::MapRight { cluster, node } => {
                self.stale.right(cluster, node);
                if let Some(open) = self.node(cluster, node).wrong.last_mut().filter(|last| last.until.is_none()) {
                    open.until = Some(at);
                }
            }
            Event::MapWrong { cluster, node, differences } => {
                self.stale.wrong(at, cluster, node, differences);
                self.wrong(at, cluster, node, differences);
            }
            Event::Violation { step, message } => {
                self.violations.push(Violation { at, step: *step, message: message.clone() });
            }
            Event::Expectation { step, expectation, place, findings } => {
                let (text, place, findings) = (expectation.clone(), place.clone(), findings.clone());
                let expectation = Expectation { text, place, findings };
                self.step(*step).expectations.push(expectation);
            }
            Event::Stopwatch(stopwatch) => self.stopwatches.push(stopwatch.clone()),
            Event::Note { text } => self.notes.push(Note { at, text: text.clone() }),
            Event::RunFinished { verdict, exit_code } => {
                self.ending = Some(Ending::Finished { verdict: *verdict, exit_code: *exit_code });
            }
        }
    }

    /// The step of that number. A step that is skipped has no event with its name: the run's plan has it.
    fn step(&mut self, index: usize) -> &mut Step {
        let planned = &self.info.steps;
        self.steps.entry(index).or_insert_with(|| {
            let name = planned.get(index).cloned().unwrap_or_else(|| format!("step {}", index + 1));
            Step { index, name, ..Step::default() }
        })
    }

    fn step_event(&mut self, at: Micros, event: &Event) {
        match event {
            Event::StepStarted { step, name, place } => {
                self.running = Some(*step);
                let entry = self.step(*step);
                entry.place.clone_from(place);
                entry.name.clone_from(name);
                entry.started = Some(at);
            }
            Event::StepSettled { step } => self.step(*step).settled = Some(at),
            Event::StepFinished { step, outcome } => {
                self.running = None;
                let entry = self.step(*step);
                entry.outcome = Some(*outcome);
                entry.finished = entry.started.map(|_| at);
            }
            _ => {}
        }
    }

    fn fault_event(&mut self, at: Micros, event: &Event) {
        match event {
            Event::FaultInjected { fault, name, kind, target, pods } => self.faults.push(Fault {
                id: *fault,
                name: name.clone(),
                kind: kind.clone(),
                target: target.clone(),
                pods: pods.clone(),
                injected: at,
                witnesses: Vec::new(),
                healed: None,
                heal_witness: String::new(),
                step: self.running,
            }),
            Event::FaultWitnessed { fault, witness } => {
                if let Some(found) = self.faults.iter_mut().find(|known| known.id == *fault) {
                    found.witnesses.push(Note { at, text: witness.clone() });
                }
            }
            Event::FaultHealed { fault, witness } => {
                if let Some(found) = self.faults.iter_mut().find(|known| known.id == *fault) {
                    found.healed = Some(at);
                    found.heal_witness.clone_from(witness);
                }
            }
            _ => {}
        }
    }

    fn node(&mut self, cluster: &str, name: &str) -> &mut NodeMaps {
        self.nodes.entry(Node { cluster: cluster.to_owned(), name: name.to_owned() }).or_default()
    }

    fn wrong(&mut self, at: Micros, cluster: &str, node: &str, differences: &[MapDifference]) {
        let wrong = &mut self.node(cluster, node).wrong;
        match wrong.last_mut().filter(|last| last.until.is_none()) {
            Some(open) => open.differences = differences.to_vec(),
            None => wrong.push(WrongInterval { from: at, until: None, differences: differences.to_vec() }),
        }
    }

    fn into_summary(mut self) -> Summary {
        for (index, name) in self.info.steps.clone().into_iter().enumerate() {
            self.steps.entry(index).or_insert_with(|| Step { index, name, ..Step::default() });
        }
        let ending = self.ending.unwrap_or(Ending::CutOff);
        let mut steps: Vec<Step> = self.steps.into_values().collect();
        for step in steps.iter_mut().filter(|step| step.started.is_none() && step.outcome.is_none()) {
            step.outcome = Some(StepOutcome::Skipped);
        }
        let total = assign(&mut steps, &self.requests);
        let mut nodes = self.nodes;
        for (cluster, names) in &self.info.clusters {
            for name in names {
                nodes.entry(Node { cluster: cluster.clone(), name: name.clone() }).or_default();
            }
        }
        let stale = self.stale.into_entries(self.duration);
        Summary {
            info: self.info,
            ending,
            duration: self.duration,
            mesh_ready: self.mesh_ready,
            progress: self.progress,
            steps,
            total,
            faults: self.faults,
            stopwatches: self.stopwatches,
            nodes,
            stale,
            changes: self.changes,
            violations: self.violations,
            notes: self.notes,
        }
    }
}

/// Gives every request to the step in which it was sent; returns the tally of all.
fn assign(steps: &mut [Step], requests: &[&Request]) -> Tally {
    let mut starts: Vec<(Micros, usize)> =
        steps.iter().enumerate().filter_map(|(position, step)| Some((step.started?, position))).collect();
    starts.sort_unstable();
    let mut total = Tally::default();
    for request in requests {
        total.count(request);
        let after = starts.partition_point(|(start, _)| *start <= request.sent);
        let Some(&(_, position)) = after.checked_sub(1).and_then(|last| starts.get(last)) else { continue };
        let Some(step) = steps.get_mut(position) else { continue };
        let steady = step.settled.is_some_and(|settled| settled <= request.sent)
            && step.finished.is_none_or(|finished| request.done <= finished);
        let client =
            Client { cluster: request.cluster.clone(), pod: request.client.clone(), service: request.service.clone() };
        let tally = step.clients.entry(client).or_default();
        let part = if steady { &mut tally.steady } else { &mut tally.transition };
        part.count(request);
    }
    finish_latencies(steps, &mut total);
    total
}

fn finish_latencies(steps: &mut [Step], total: &mut Tally) {
    let parts = steps
        .iter_mut()
        .flat_map(|step| step.clients.values_mut())
        .flat_map(|tally| [&mut tally.transition, &mut tally.steady])
        .chain([total]);
    for part in parts {
        part.answer_latency.finish();
        part.error_latency.finish();
    }
}
