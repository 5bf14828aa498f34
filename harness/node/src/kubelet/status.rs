//! A pod's status, from what is known of its containers. Pure: no clock, no API.

use std::{borrow::Cow, collections::BTreeMap, net::Ipv4Addr};

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use serde_json::{Value, json};

/// What is known of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerRecord {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) state: State,
    /// How the run before this one ended.
    pub(crate) last: Option<Termination>,
    pub(crate) ready: bool,
    pub(crate) restarts: i32,
}

/// State of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waiting { reason: Cow<'static, str>, message: Option<String> },
    Running { pid: i32, start_ticks: u64, since: Timestamp, started: bool },
    Terminated(Termination),
}

/// How a container's process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Termination {
    pub(crate) exit: Exit,
    pub(crate) since: Timestamp,
    pub(crate) at: Timestamp,
}

/// Exit of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
    /// Nobody who was told is there any more: an earlier kubelet was its parent.
    Unknown,
}

/// What containerd says of a container whose end nobody saw.
const UNKNOWN_CODE: i32 = 255;
const UNKNOWN_REASON: &str = "Unknown";

/// When containers are started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl Exit {
    /// As a shell and Kubernetes tell it.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
            Self::Unknown => UNKNOWN_CODE,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Unknown => UNKNOWN_REASON,
            exit if exit.code() == 0 => "Completed",
            _ => "Error",
        }
    }

    /// Reads what [`State::status`] wrote.
    fn restored(terminated: &ContainerStateTerminated) -> Self {
        match terminated.signal {
            _ if terminated.reason.as_deref() == Some(UNKNOWN_REASON) => Self::Unknown,
            Some(signal) if signal != 0 => Self::Signal(signal),
            _ => Self::Code(terminated.exit_code),
        }
    }
}

impl From<std::process::ExitStatus> for Exit {
    fn from(status: std::process::ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        // A process that was waited for has one or the other (wait(2)); it is not asked about stopped ones.
        status.code().map_or_else(|| Self::Signal(status.signal().unwrap_or_default()), Self::Code)
    }
}

impl RestartPolicy {
    pub(crate) fn of(pod: &Pod) -> Self {
        match pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }

    pub(crate) fn restarts_after(self, exit: Exit) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit.code() != 0,
            Self::Never => false,
        }
    }
}

impl ContainerRecord {
    /// A container that was not started yet.
    pub(crate) fn new(name: &str, image: &str) -> Self {
        let state = State::Waiting { reason: "ContainerCreating".into(), message: None };
        Self { name: name.to_owned(), image: image.to_owned(), state, last: None, ready: false, restarts: 0 }
    }

    /// It cannot be started yet. What is known of how it ended stays known.
    pub(crate) fn wait(&mut self, reason: &'static str, message: &str) {
        self.remember_termination();
        self.ready = false;
        self.state = State::Waiting { reason: reason.into(), message: Some(message.to_owned()) };
    }

    /// Takes how the last run ended from the state, before another one is put there.
    pub(crate) fn remember_termination(&mut self) {
        if let State::Terminated(termination) = &self.state {
            self.last = Some(termination.clone());
        }
    }

    /// A container of which an earlier kubelet said `status`. It still runs as `process`, with its start time; without
    /// one it has ended, if it ran, and nobody saw how.
    pub(crate) fn restored(
        container: &Container,
        status: Option<&ContainerStatus>,
        process: Option<(i32, u64)>,
        now: Timestamp,
    ) -> Self {
        let new = Self::new(&container.name, container.image.as_deref().unwrap_or_default());
        let Some(status) = status else { return new };
        let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        let last = last.map(|terminated| Termination::restored(terminated, now));
        let said = status.state.clone().unwrap_or_default();
        let since = said.running.as_ref().map(|running| running.started_at.as_ref().map_or(now, |time| time.0));
        let state = match (process, since, &said.terminated) {
            (Some((pid, start_ticks)), since, _) => {
                let started = status.started.unwrap_or(false);
                State::Running { pid, start_ticks, since: since.unwrap_or(now), started }
            }
            (None, Some(since), _) => State::Terminated(Termination { exit: Exit::Unknown, since, at: now }),
            (None, None, Some(terminated)) => State::Terminated(Termination::restored(terminated, now)),
            (None, None, None) => new.state,
        };
        let ready = process.is_some() && status.ready;
        Self { state, last, ready, restarts: status.restart_count, ..new }
    }

    /// Its status in the words of the API.
    pub(crate) fn status(&self, pod_uid: &str) -> ContainerStatus {
        let was_started = !matches!((&self.state, &self.last), (State::Waiting { .. }, None));
        ContainerStatus {
            name: self.name.clone(),
            image: self.image.clone(),
            image_id: format!("meshbed://{}", self.image),
            container_id: was_started.then(|| format!("meshbed://{pod_uid}/{}/{}", self.name, self.restarts)),
            ready: self.ready,
            restart_count: self.restarts,
            started: Some(matches!(self.state, State::Running { started: true, .. })),
            state: Some(self.state.status()),
            last_state: self.last.as_ref().map(|last| State::Terminated(last.clone()).status()),
            ..ContainerStatus::default()
        }
    }
}

impl Termination {
    fn restored(terminated: &ContainerStateTerminated, now: Timestamp) -> Self {
        let time = |time: &Option<Time>| time.as_ref().map_or(now, |time| time.0);
        let (since, at) = (time(&terminated.started_at), time(&terminated.finished_at));
        Self { exit: Exit::restored(terminated), since, at }
    }
}

impl State {
    fn status(&self) -> ContainerState {
        match self {
            Self::Waiting { reason, message } => ContainerState {
                waiting: Some(ContainerStateWaiting {
                    reason: Some(reason.clone().into_owned()),
                    message: message.clone(),
                }),
                ..ContainerState::default()
            },
            Self::Running { since, .. } => ContainerState {
                running: Some(ContainerStateRunning { started_at: Some(Time(*since)) }),
                ..ContainerState::default()
            },
            Self::Terminated(Termination { exit, since, at }) => ContainerState {
                terminated: Some(ContainerStateTerminated {
                    exit_code: exit.code(),
                    signal: match exit {
                        Exit::Signal(signal) => Some(*signal),
                        Exit::Code(_) | Exit::Unknown => None,
                    },
                    reason: Some(exit.reason().to_owned()),
                    started_at: Some(Time(*since)),
                    finished_at: Some(Time(*at)),
                    ..ContainerStateTerminated::default()
                }),
                ..ContainerState::default()
            },
        }
    }
}

/// What a status is made of, beside the pod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed<'a> {
    pub(crate) containers: &'a [ContainerRecord],
    pub(crate) pod_ip: Option<Ipv4Addr>,
    pub(crate) node_ip: Ipv4Addr,
    /// When the kubelet took the pod.
    pub(crate) accepted: Timestamp,
    pub(crate) now: Timestamp,
}

/// The pod's status. `previous` is the one made before: conditions that did not change keep its times.
pub(crate) fn status(pod: &Pod, previous: Option<&PodStatus>, observed: Observed<'_>) -> PodStatus {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let reported = pod.status.as_ref();
    let previous = previous.or(reported);
    PodStatus {
        phase: Some(phase(observed.containers, RestartPolicy::of(pod)).to_owned()),
        conditions: Some(conditions(pod, previous, observed)),
        container_statuses: Some(observed.containers.iter().map(|record| record.status(uid)).collect()),
        host_ip: Some(observed.node_ip.to_string()),
        host_ips: Some(vec![HostIP { ip: observed.node_ip.to_string() }]),
        pod_ip: observed.pod_ip.map(|ip| ip.to_string()),
        pod_ips: observed.pod_ip.map(|ip| vec![PodIP { ip: ip.to_string() }]),
        start_time: Some(reported.and_then(|status| status.start_time.clone()).unwrap_or(Time(observed.accepted))),
        qos_class: reported.and_then(|status| status.qos_class.clone()),
        ..PodStatus::default()
    }
}

/// The merge patch that brings the status to the API. Fields that are no more are removed by name; the UID makes the
/// API refuse it for a successor of the same name.
pub(crate) fn patch(uid: &str, status: &PodStatus) -> Value {
    let mut status = json!(status);
    if let Value::Object(fields) = &mut status {
        for gone in ["podIP", "podIPs", "message", "reason"] {
            fields.entry(gone).or_insert(Value::Null);
        }
    }
    json!({"metadata": {"uid": uid}, "status": status})
}

/// Whether the API says of the pod what the kubelet says. Times do not count: they have whole seconds there.
pub(crate) fn agrees(reported: Option<&PodStatus>, own: &PodStatus) -> bool {
    let Some(reported) = reported else { return false };
    let conditions = |status: &PodStatus| {
        let own = status.conditions.iter().flatten().filter(|condition| own_kind(&condition.type_));
        own.map(|condition| (condition.type_.clone(), condition.status.clone())).collect::<BTreeMap<_, _>>()
    };
    let containers = |status: &PodStatus| {
        let all = status.container_statuses.iter().flatten();
        all.map(|status| (status.name.clone(), status.ready, status.restart_count, word(status))).collect::<Vec<_>>()
    };
    reported.phase == own.phase
        && reported.pod_ip == own.pod_ip
        && conditions(reported) == conditions(own)
        && containers(reported) == containers(own)
}

/// The state that a container is in, as one word.
fn word(status: &ContainerStatus) -> Option<&'static str> {
    let state = status.state.as_ref()?;
    let words = [
        (state.waiting.is_some(), "waiting"),
        (state.running.is_some(), "running"),
        (state.terminated.is_some(), "terminated"),
    ];
    words.into_iter().find_map(|(is_it, word)| is_it.then_some(word))
}

/// Phase, as pod-lifecycle in Kubernetes' documentation defines it.
pub(crate) fn phase(containers: &[ContainerRecord], policy: RestartPolicy) -> &'static str {
    let ended_for_good = |record: &ContainerRecord| match &record.state {
        State::Terminated(termination) if !policy.restarts_after(termination.exit) => Some(termination.exit),
        _ => None,
    };
    let ended: Vec<Exit> = containers.iter().filter_map(ended_for_good).collect();
    if !containers.is_empty() && ended.len() == containers.len() {
        return if ended.iter().all(|exit| exit.code() == 0) { "Succeeded" } else { "Failed" };
    }
    let never_started =
        |record: &ContainerRecord| matches!(record.state, State::Waiting { .. }) && record.last.is_none();
    if containers.iter().any(never_started) { "Pending" } else { "Running" }
}

fn conditions(pod: &Pod, previous: Option<&PodStatus>, observed: Observed<'_>) -> Vec<PodCondition> {
    let unready: Vec<&str> =
        observed.containers.iter().filter(|record| !record.ready).map(|record| record.name.as_str()).collect();
    let of = |kind: &str| -> Option<&PodCondition> {
        previous?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
    };
    let ready = if unready.is_empty() {
        Ok(())
    } else {
        Err(("ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" "))))
    };
    let own = [("PodScheduled", Ok(())), ("Initialized", Ok(())), ("ContainersReady", ready.clone()), ("Ready", ready)];
    let mut conditions: Vec<PodCondition> = own
        .into_iter()
        .map(|(kind, state)| {
            let status = if state.is_ok() { "True" } else { "False" };
            let since =
                of(kind).filter(|before| before.status == status).and_then(|it| it.last_transition_time.clone());
            let (reason, message) = state.err().unzip();
            PodCondition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                last_transition_time: Some(since.unwrap_or(Time(observed.now))),
                reason: reason.map(str::to_owned),
                message,
                ..PodCondition::default()
            }
        })
        .collect();
    // Others' conditions (a scheduler's, a readiness gate's) stay: a merge patch replaces the whole list.
    let reported = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let others = reported.filter(|theirs| !own_kind(&theirs.type_)).cloned().collect::<Vec<_>>();
    conditions.extend(others);
    conditions
}

fn own_kind(kind: &str) -> bool {
    matches!(kind, "PodScheduled" | "Initialized" | "ContainersReady" | "Ready")
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
