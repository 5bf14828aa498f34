//! The truth table of global services: annotations against the state of the backends on both sides, computed by the
//! oracle. It is the specification in a form that one can read, and the list of what a conformance run must try.

use std::{collections::BTreeSet, fmt, fmt::Write as _, net::Ipv4Addr, time::Duration};

use mesh_types::{ClusterName, ServiceKey};
use meshbed_events::Micros;
use serde_json::{Value, json};

use crate::{Acceptable, Cut, Fate, FrontendTruth, Observers, Oracle};

/// A row of the table: what the Services of both clusters are annotated with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotations {
    /// In words, unique in the table.
    pub name: &'static str,
    /// Keys and values at the Service of the cluster that asks.
    pub local: Vec<(&'static str, &'static str)>,
    /// Keys and values at the Service of the other cluster.
    pub remote: Vec<(&'static str, &'static str)>,
}

/// State of the one backend in the cluster that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LocalState {
    /// There is none.
    None,
    /// Ready.
    Ready,
    /// Terminating and still serving.
    Terminating,
    /// Running and not ready.
    NotReady,
}

/// State of the one backend in the other cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RemoteState {
    /// There is none.
    None,
    /// Ready.
    Ready,
    /// Terminating and still serving.
    Terminating,
    /// Running and not ready.
    NotReady,
    /// It was ready when the whole cluster died: no news come from there any more, and nothing answers.
    ClusterDead,
}

/// Whose backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// Nobody's.
    Nobody,
    /// The asking cluster's own.
    Local,
    /// The other cluster's.
    Remote,
    /// Both.
    Both,
}

/// Whose backends are in the slots of the frontend, in the maps of the asking cluster's nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Selectable.
    pub active: Who,
    /// In slots beyond the count.
    pub inactive: Who,
}

/// What must come of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Who may answer. With more than one request, nobody else, and not necessarily all of them.
    pub answers: Who,
    /// Requests may also be lost, because a backend that is dead stays selectable.
    pub lost: bool,
    /// What the maps hold.
    pub slots: Slots,
}

/// One cell of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What the Services say.
    pub annotations: Annotations,
    /// The backend here.
    pub local: LocalState,
    /// The backend there.
    pub remote: RemoteState,
    /// What must come of it.
    pub expected: Expected,
}

impl LocalState {
    /// All, in the order of the table.
    pub const ALL: [Self; 4] = [Self::None, Self::Ready, Self::Terminating, Self::NotReady];
}

impl RemoteState {
    /// All, in the order of the table.
    pub const ALL: [Self; 5] = [Self::None, Self::Ready, Self::Terminating, Self::NotReady, Self::ClusterDead];
}

impl fmt::Display for LocalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Ready => "ready",
            Self::Terminating => "terminating",
            Self::NotReady => "not ready",
        })
    }
}

impl fmt::Display for RemoteState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Ready => "ready",
            Self::Terminating => "terminating",
            Self::NotReady => "not ready",
            Self::ClusterDead => "cluster dead",
        })
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nobody => "nobody",
            Self::Local => "local",
            Self::Remote => "remote",
            Self::Both => "both",
        })
    }
}

/// As in the table's cells.
impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = if self.lost { " (+lost)" } else { "" };
        write!(f, "{}{lost} [{} \\| {}]", self.answers, self.slots.active, self.slots.inactive)
    }
}

const GLOBAL: (&str, &str) = ("service.cilium.io/global", "true");
const NOT_GLOBAL: (&str, &str) = ("service.cilium.io/global", "false");
const LEGACY_GLOBAL: (&str, &str) = ("io.cilium/global-service", "true");
const SHARED: (&str, &str) = ("service.cilium.io/shared", "true");
const NOT_SHARED: (&str, &str) = ("service.cilium.io/shared", "false");
const LEGACY_NOT_SHARED: (&str, &str) = ("io.cilium/shared-service", "false");
const AFFINITY_NONE: (&str, &str) = ("service.cilium.io/affinity", "none");
const AFFINITY_LOCAL: (&str, &str) = ("service.cilium.io/affinity", "local");
const AFFINITY_REMOTE: (&str, &str) = ("service.cilium.io/affinity", "remote");
const LEGACY_AFFINITY_LOCAL: (&str, &str) = ("io.cilium/service-affinity", "local");
const LEGACY_AFFINITY_REMOTE: (&str, &str) = ("io.cilium/service-affinity", "remote");

/// The rows.
fn rows() -> Vec<Annotations> {
    let both =
        |name, annotations: &[_]| Annotations { name, local: annotations.to_vec(), remote: annotations.to_vec() };
    let apart = |name, local: &[_], remote: &[_]| Annotations { name, local: local.to_vec(), remote: remote.to_vec() };
    vec![
        both("absent", &[]),
        both("global", &[GLOBAL]),
        both("global, legacy name", &[LEGACY_GLOBAL]),
        both("not global, legacy name says global", &[NOT_GLOBAL, LEGACY_GLOBAL]),
        apart("global here only", &[GLOBAL], &[]),
        apart("global there only", &[], &[GLOBAL]),
        both("global, shared", &[GLOBAL, SHARED]),
        both("shared without global", &[SHARED]),
        apart("global, not shared there", &[GLOBAL], &[GLOBAL, NOT_SHARED]),
        apart("global, not shared here", &[GLOBAL, NOT_SHARED], &[GLOBAL]),
        apart("global, not shared there, legacy names", &[LEGACY_GLOBAL], &[LEGACY_GLOBAL, LEGACY_NOT_SHARED]),
        both("affinity none", &[GLOBAL, AFFINITY_NONE]),
        both("affinity local", &[GLOBAL, AFFINITY_LOCAL]),
        both("affinity remote", &[GLOBAL, AFFINITY_REMOTE]),
        both("affinity local, legacy names", &[LEGACY_GLOBAL, LEGACY_AFFINITY_LOCAL]),
        both("affinity remote, legacy names", &[LEGACY_GLOBAL, LEGACY_AFFINITY_REMOTE]),
        both("affinity none, legacy name says local", &[GLOBAL, AFFINITY_NONE, LEGACY_AFFINITY_LOCAL]),
        both("affinity local without global", &[AFFINITY_LOCAL]),
        both("affinity remote without global", &[AFFINITY_REMOTE]),
        apart("affinity local, not shared there", &[GLOBAL, AFFINITY_LOCAL], &[GLOBAL, NOT_SHARED]),
        apart("affinity remote, not shared there", &[GLOBAL, AFFINITY_REMOTE], &[GLOBAL, NOT_SHARED]),
    ]
}

/// Every cell, row by row, local states before remote states.
pub fn truth_table() -> Vec<Cell> {
    let mut cells = Vec::new();
    for annotations in rows() {
        for local in LocalState::ALL {
            for remote in RemoteState::ALL {
                let expected = expected(&annotations, local, remote);
                cells.push(Cell { annotations: annotations.clone(), local, remote, expected });
            }
        }
    }
    cells
}

const LOCAL_IP: Ipv4Addr = Ipv4Addr::new(10, 1, 1, 1);
const REMOTE_IP: Ipv4Addr = Ipv4Addr::new(10, 2, 1, 1);

/// Tells an oracle the cell's objects, kills what is dead, and reads the answer off its truth.
fn expected(annotations: &Annotations, local: LocalState, remote: RemoteState) -> Expected {
    let [alpha, beta] = ["alpha", "beta"].map(|name| ClusterName::new(name).expect("the names here are valid"));
    let key = ServiceKey::new("default", "cell");
    let topology = [(alpha.clone(), vec!["alpha-1".to_owned()]), (beta.clone(), vec!["beta-1".to_owned()])];
    let mut oracle = Oracle::new(topology, Duration::ZERO).with_observation_lag(Duration::ZERO);
    let sides = [
        (&alpha, &annotations.local, endpoint(LOCAL_IP, local_conditions(local))),
        (&beta, &annotations.remote, endpoint(REMOTE_IP, remote_conditions(remote))),
    ];
    for (cluster, annotations, endpoints) in sides {
        let told = oracle.service(Micros(0), cluster, &service(&key, annotations), false);
        let told = told.and_then(|()| oracle.slice(Micros(0), cluster, &slice(&key, &endpoints), false));
        told.expect("the objects here are readable");
    }
    if remote == RemoteState::ClusterDead {
        oracle.pod_dead(Micros(1), &beta, REMOTE_IP);
        let (observers, about) = (Observers::OtherClusters, beta.clone());
        oracle.cut(Micros(1), Cut::Knowledge { observers, about, fate: Fate::Kept });
    }
    let truth = oracle.truth(&alpha, "alpha-1");
    let behind = truth.frontends.values().next().map(|choice| &choice.acceptable);
    let Some(Acceptable::OneOf(truths)) = behind else { unreachable!("the service has one frontend and one version") };
    read(&truths[0], remote == RemoteState::ClusterDead)
}

fn read(truth: &FrontendTruth, remote_is_dead: bool) -> Expected {
    let active: BTreeSet<Ipv4Addr> = truth.active.iter().map(|backend| backend.ip).collect();
    let inactive: BTreeSet<Ipv4Addr> = truth.inactive.iter().map(|backend| backend.ip).collect();
    let who = |ips: &BTreeSet<Ipv4Addr>| match (ips.contains(&LOCAL_IP), ips.contains(&REMOTE_IP)) {
        (false, false) => Who::Nobody,
        (true, false) => Who::Local,
        (false, true) => Who::Remote,
        (true, true) => Who::Both,
    };
    let mut living = active.clone();
    let lost = remote_is_dead && living.remove(&REMOTE_IP);
    Expected { answers: who(&living), lost, slots: Slots { active: who(&active), inactive: who(&inactive) } }
}

/// `ready`, `serving`, `terminating`; `None` for no endpoint.
type Conditions = Option<[bool; 3]>;

fn local_conditions(state: LocalState) -> Conditions {
    match state {
        LocalState::None => None,
        LocalState::Ready => Some([true, true, false]),
        LocalState::Terminating => Some([false, true, true]),
        LocalState::NotReady => Some([false, false, false]),
    }
}

fn remote_conditions(state: RemoteState) -> Conditions {
    match state {
        RemoteState::None => None,
        RemoteState::Ready | RemoteState::ClusterDead => Some([true, true, false]),
        RemoteState::Terminating => Some([false, true, true]),
        RemoteState::NotReady => Some([false, false, false]),
    }
}

fn endpoint(ip: Ipv4Addr, conditions: Conditions) -> Value {
    let endpoint = conditions.map(|[ready, serving, terminating]| {
        json!({"addresses": [ip], "conditions": {"ready": ready, "serving": serving, "terminating": terminating}})
    });
    endpoint.into_iter().collect()
}

fn service(key: &ServiceKey, annotations: &[(&str, &str)]) -> Value {
    let annotations: serde_json::Map<_, _> =
        annotations.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({
        "kind": "Service",
        "metadata": {"namespace": key.namespace, "name": key.name, "annotations": annotations},
        "spec": {"clusterIP": "10.101.0.10", "ports": [{"port": 80}]},
    })
}

fn slice(key: &ServiceKey, endpoints: &Value) -> Value {
    json!({
        "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": key.namespace, "name": format!("{}-1", key.name),
            "labels": {"kubernetes.io/service-name": key.name},
        },
        "endpoints": endpoints, "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
    })
}

/// What opens the computed table.
const HEAD: &str = "# Who answers for a global service

Computed by the oracle, for one backend on each side and clients here. A cell says who may answer, with `(+lost)`
when a dead backend stays selectable, so that requests may fail; then `[active | inactive]`, whose backends are in
the slots of the frontend here. Legacy names are `io.cilium/global-service`, `io.cilium/shared-service` and
`io.cilium/service-affinity`.
";

/// The table as Markdown: a section for each row of [`truth_table`], its local states as lines, its remote states as
/// columns.
pub fn truth_table_markdown() -> String {
    markdown(HEAD, &truth_table(), |cell| cell.expected.to_string())
}

/// Cells in the form of the table, below `head`, with what `said` says of each. The cells are whole rows, in the order of
/// [`truth_table`].
pub fn markdown(head: &str, cells: &[Cell], said: impl Fn(&Cell) -> String) -> String {
    let mut text = head.to_owned();
    for row in cells.chunk_by(|one, next| one.annotations == next.annotations) {
        let annotations = &row[0].annotations;
        push(&mut text, format_args!("\n## {}\n\n", annotations.name));
        push(
            &mut text,
            format_args!("- here: {}\n- there: {}\n\n", list(&annotations.local), list(&annotations.remote)),
        );
        push(&mut text, format_args!("| here \\ there |"));
        for remote in RemoteState::ALL {
            push(&mut text, format_args!(" {remote} |"));
        }
        push(&mut text, format_args!("\n|---|{}\n", "---|".repeat(RemoteState::ALL.len())));
        for line in row.chunk_by(|one, next| one.local == next.local) {
            push(&mut text, format_args!("| {} |", line[0].local));
            for cell in line {
                push(&mut text, format_args!(" {} |", said(cell)));
            }
            text.push('\n');
        }
    }
    text
}

fn push(text: &mut String, what: fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a String takes every write");
}

fn list(annotations: &[(&str, &str)]) -> String {
    let list: Vec<String> = annotations.iter().map(|(name, value)| format!("`{name}: \"{value}\"`")).collect();
    if list.is_empty() { "no annotations".to_owned() } else { list.join(", ") }
}
