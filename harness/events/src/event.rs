//! The events of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{MapDifference, Micros, Request};

/// Number of a fault within a run, from 0.
pub type FaultId = u32;

/// Something that happened. Times are in [`crate::Stamped`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// First event of every run.
    RunStarted(RunInfo),
    /// A part of bringing the mesh up is done: `namespaces`, `etcd`, `apiserver`, `agents`, …
    MeshProgress {
        /// What is done.
        what: String,
    },
    /// Everything that the topology asks for is there and ready.
    MeshReady,
    /// A step of the scenario begins.
    StepStarted {
        /// Index from 0.
        step: usize,
        /// Its name in the scenario file.
        name: String,
        /// Where it stands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<SourcePlace>,
    },
    /// All actions of the step are done and the mesh has settled; requests sent from now on are *steady*.
    StepSettled {
        /// Index of the step.
        step: usize,
    },
    /// A step ended.
    StepFinished {
        /// Index of the step.
        step: usize,
        /// How.
        outcome: StepOutcome,
    },
    /// A Kubernetes object changed, as the harness's own watch saw it.
    ObjectChanged {
        /// Cluster.
        cluster: String,
        /// Kind, such as `Service`.
        kind: String,
        /// `namespace/name`.
        name: String,
        /// `applied` or `deleted`, and what is worth telling.
        change: String,
    },
    /// A fault was injected.
    FaultInjected {
        /// Its number.
        fault: FaultId,
        /// Its name in the scenario, or what a person called it.
        #[serde(default)]
        name: String,
        /// Kind, such as `pod-kill`.
        kind: String,
        /// What it hits, such as `alpha: 2 pods of rebel-base`.
        target: String,
        /// Pods (`cluster/name`) that can no longer answer because of it.
        pods: Vec<String>,
    },
    /// Proof that the fault took effect.
    FaultWitnessed {
        /// Its number.
        fault: FaultId,
        /// What was seen, such as `pid 4711 is gone`.
        witness: String,
    },
    /// The fault was undone.
    FaultHealed {
        /// Its number.
        fault: FaultId,
        /// What showed that everything is as it was before; empty when nothing needed to be shown.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        witness: String,
    },
    /// A request of a probe ended.
    Request(Request),
    /// What a node's maps hold changed, as read from its pins by the harness.
    MapChanged {
        /// Cluster.
        cluster: String,
        /// Node.
        node: String,
        /// The whole content, by meaning.
        state: MapState,
    },
    /// A node's maps agree with the oracle (again).
    MapRight {
        /// Cluster.
        cluster: String,
        /// Node.
        node: String,
    },
    /// A node's maps disagree with the oracle.
    MapWrong {
        /// Cluster.
        cluster: String,
        /// Node.
        node: String,
        /// What is different.
        differences: Vec<MapDifference>,
    },
    /// An entry of a node's maps that was wrong or missing is right again, or the run ended with it.
    MapEntryAged {
        /// Cluster.
        cluster: String,
        /// Node.
        node: String,
        /// What was different.
        difference: MapDifference,
        /// Since when it was wrong although the node could know better.
        since: Micros,
        /// It was still wrong when the run ended.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        to_the_end: bool,
    },
    /// A change of a service reached a place on its way from the Kubernetes API to the maps.
    Hop(Hop),
    /// A process of the mesh wrote to its log.
    Log {
        /// The process, such as `agent-alpha-1`.
        process: String,
        /// Its cluster.
        cluster: String,
        /// `error`, `warn`, `info`, `debug` or, when the line does not say, empty.
        level: String,
        /// The line, without colour codes.
        text: String,
    },
    /// An answer or error that the oracle does not allow.
    Violation {
        /// Index of the step, if one was running.
        step: Option<usize>,
        /// Full sentence naming node, service and backend.
        message: String,
    },
    /// An expectation of a step held or failed.
    Expectation {
        /// Index of the step.
        step: usize,
        /// What was expected, in the scenario's words.
        expectation: String,
        /// Where it stands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<SourcePlace>,
        /// Empty when it held; else one sentence a finding, naming node, service and backend where it can.
        findings: Vec<String>,
    },
    /// The stopwatch of a fault was read.
    Stopwatch(Stopwatch),
    /// Something worth telling that fits nowhere else.
    Note {
        /// The text.
        text: String,
    },
    /// Last event of every run.
    RunFinished {
        /// How it ended.
        verdict: Verdict,
        /// Exit code of the process, as documented in the README.
        exit_code: u8,
    },
}

/// What is true for the whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Run ID, unique on the machine.
    pub run: String,
    /// Name of the scenario.
    pub scenario: String,
    /// The question that it answers.
    pub question: String,
    /// Path of the scenario file as given.
    pub scenario_file: String,
    /// Name of the topology.
    pub topology: String,
    /// Environment, such as `netns`.
    pub environment: String,
    /// Kernel release; `alpha: 5.10.0, beta: 7.3.4` when clusters are on different ones.
    pub kernel: String,
    /// Version of meshbed.
    pub version: String,
    /// Start of the run, RFC 3339, UTC.
    pub started: String,
    /// Nodes by cluster.
    pub clusters: BTreeMap<String, Vec<String>>,
    /// Requests a second that each client sends.
    pub rate_per_second: u32,
    /// How far before a request's start the oracle looks back, in microseconds.
    pub grace_us: u64,
    /// Names of the steps, in order.
    pub steps: Vec<String>,
    /// Name of the agent under test, by cluster when they differ.
    #[serde(default)]
    pub agent: String,
    /// Every random choice of the run comes from it.
    #[serde(default)]
    pub seed: u64,
    /// Number of this run among the repeats of one command, from 0.
    #[serde(default)]
    pub repeat: u32,
    /// The command that runs the same again.
    #[serde(default)]
    pub reproduce: String,
    /// Links with conditions that the topology asks for, in words, such as `alpha -> beta: delay 40ms`.
    #[serde(default)]
    pub links: Vec<String>,
}

/// A place in a file of the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePlace {
    /// The file, as it was given.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

/// A change of a service reached a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// The cluster whose API had the change.
    pub origin: String,
    /// The service, as `namespace/name`.
    pub service: String,
    /// Number of the change within the run, from 0: all hops of one change have it.
    pub change: u64,
    /// What it reached.
    pub stage: HopStage,
    /// Where: the cluster.
    pub cluster: String,
    /// Where: the node, for agents and maps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// Places that a change passes, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HopStage {
    /// The Kubernetes API had committed it, as the harness's own watch saw it.
    Api,
    /// The exporter had it from the API, as its trace says.
    Exporter,
    /// The cluster's etcd had committed it, as the harness's own watch of etcd saw it.
    Etcd,
    /// A node's agent had it, as its trace says.
    Agent,
    /// A node's maps showed it, as the harness read them.
    Map,
}

impl HopStage {
    /// The word used in tables and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Exporter => "exporter",
            Self::Etcd => "etcd",
            Self::Agent => "agent",
            Self::Map => "map",
        }
    }
}

/// What the load-balancing maps of one node hold, by meaning: no IDs, no slot order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapState {
    /// By frontend, such as `10.101.0.10:80/TCP`.
    pub frontends: BTreeMap<String, MapFrontend>,
    /// What is wrong with the maps whatever the services are, one sentence each: a slot that leads to no backend, a backend
    /// that no slot leads to, a reverse NAT entry that is missing or has another address. Sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub defects: Vec<String>,
}

/// One frontend in a node's maps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapFrontend {
    /// Addresses of selectable backends (slots `1..=count`), such as `10.1.1.2:80/TCP`, sorted.
    pub active: Vec<String>,
    /// Addresses in slots beyond `count`.
    pub inactive: Vec<String>,
    /// Time-out of session affinity in seconds; `None` when clients are not kept with their backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity_s: Option<u32>,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// All expectations held.
    Passed,
    /// One did not, or the oracle found a violation.
    Failed,
    /// The mesh did not settle in time.
    TimedOut,
    /// Not run because an earlier step ended the run.
    Skipped,
    /// A fault of it had no witness.
    Invalid,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything held.
    Passed,
    /// An expectation or the oracle failed.
    Failed,
    /// The environment could not run this.
    Environment,
    /// A fault had no witness.
    Invalid,
    /// A deadline passed.
    TimedOut,
    /// A person or a supervisor stopped it.
    Interrupted,
}

/// What one fault cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopwatch {
    /// Fault that it belongs to.
    pub fault: FaultId,
    /// Index of the step.
    pub step: usize,
    /// What was hit.
    pub target: String,
    /// When the fault was injected.
    pub injected: Micros,
    /// Last answer that came from a backend that the fault kills.
    pub last_answer_of_dead: Option<Micros>,
    /// First answer of another backend to a request sent after the injection.
    pub first_answer_after: Option<Micros>,
    /// Requests that failed because of it.
    pub requests_lost: u64,
    /// When the first map of another node than those hit changed: the mesh had noticed.
    #[serde(default)]
    pub detected: Option<Micros>,
    /// When the last request failed because of it.
    #[serde(default)]
    pub last_error: Option<Micros>,
    /// When the last node's maps agreed with the oracle again.
    pub last_map_right: Option<Micros>,
    /// The node that was last, as `cluster/node`.
    pub last_map_node: Option<String>,
}
