//! A pod's status, from what is known of its containers. Pure: no clock, no API.

use std::net::Ipv4Addr;

use k8s_openapi::{
    api::core::v1::{
        ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
        HostIP, Pod, PodCondition, PodIP, PodStatus,
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
    Waiting { reason: &'static str, message: Option<String> },
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
}

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
        let state = State::Waiting { reason: "ContainerCreating", message: None };
        Self { name: name.to_owned(), image: image.to_owned(), state, last: None, ready: false, restarts: 0 }
    }

    fn status(&self, pod_uid: &str) -> ContainerStatus {
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

impl State {
    fn status(&self) -> ContainerState {
        match self {
            Self::Waiting { reason, message } => ContainerState {
                waiting: Some(ContainerStateWaiting { reason: Some((*reason).to_owned()), message: message.clone() }),
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
                        Exit::Code(_) => None,
                    },
                    reason: Some(if exit.code() == 0 { "Completed" } else { "Error" }.to_owned()),
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
