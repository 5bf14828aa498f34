//! Nodes that fall silent, as kube-controller-manager's node lifecycle controller treats them.
//!
//! A node is watched over once it has a lease. What counts is when a renewal was seen, by this process's clock, not the
//! time in the lease. Real clusters stop evictions when whole zones are unreachable; this controller does not.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::record::{Tone, record};
use super::timers::{Timer, Timers};
use crate::json;
use crate::kinds::{Kind, pod_is_ready};
use crate::store::{Actor, Change, Key, Object, State, timestamp};

/// Where kubelets keep their leases, by name of the node.
pub(super) const LEASES: &str = "kube-node-lease";
const CONTROLLER: &str = "node-controller";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Conditions that only a kubelet can tell of, beside `Ready`.
const PRESSURES: [&str; 3] = ["MemoryPressure", "DiskPressure", "PIDPressure"];
/// Part of the grace period by which a look may come late and still be believed.
const LATENESS: u32 = 4;

/// The controller's memory.
#[derive(Debug)]
pub(super) struct NodeLifecycle {
    grace: Duration,
    /// Nodes that have had a lease.
    watched: BTreeMap<String, Instant>,
}

impl NodeLifecycle {
    /// A controller that bears `grace` of silence.
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, watched: BTreeMap::new() }
    }

    /// Whether the node is watched over.
    pub(super) fn watches(&self, node: &str) -> bool {
        self.watched.contains_key(node)
    }

    /// Takes note of a lease that was made or renewed.
    pub(super) fn lease_changed(&mut self, change: &Change, timers: &mut Timers, now: Instant) {
        let renewed = |object: &Object| json::text(object.value(), "/spec/renewTime").to_owned();
        let is_news = change.previous.as_deref().is_none_or(|before| renewed(before) != renewed(&change.object));
        if !change.deleted && is_news && change.object.namespace() == LEASES {
            self.heard(change.object.name(), timers, now);
        }
    }

    /// Takes note of a node that was made, posted its status or was deleted.
    pub(super) fn node_changed(&mut self, change: &Change, state: &State, timers: &mut Timers, now: Instant) {
        let node = &change.object;
        let name = node.name();
        if change.deleted {
            self.watched.remove(name);
            return timers.cancel(&Timer::Silence(name.to_owned()));
        }
        let has_lease = || state.get(&Key::new(Kind::Lease, LEASES, name)).is_some();
        if change.actor == Actor::Client
            && (self.watches(name) || has_lease())
            && change.previous.as_deref().is_none_or(|before| posted(before) != posted(node))
        {
            self.heard(name, timers, now);
        }
    }

    fn heard(&mut self, node: &str, timers: &mut Timers, now: Instant) {
        self.watched.insert(node.to_owned(), now);
        timers.set(Timer::Silence(node.to_owned()), now + self.grace);
    }

    /// A node's time has passed at `due`.
    pub(super) fn silent(&mut self, state: &mut State, node: &str, timers: &mut Timers, due: Instant, now: Instant) {
        if now.saturating_duration_since(due) > self.grace / LATENESS {
            // Whoever was stopped or starved itself cannot tell who was silent meanwhile.
            tracing::warn!(node, late = ?(now - due), "the look at a silent node comes late and is put off");
            return self.heard(node, timers, now);
        }
        let key = Key::new(Kind::Node, "", node);
        let Some(object) = state.get(&key).cloned() else {
            self.watched.remove(node);
            return;
        };
        tracing::info!(node, "the node has fallen silent");
        let mut value = object.value().clone();
        set_unknown(&mut value, &timestamp(Timestamp::now()));
        if value == *object.value() {
            return;
        }
        let changed = state.put(Kind::Node, value);
        let message = format!("Node {node} status is now: NodeNotReady");
        record(state, (Kind::Node, &changed), Tone::Normal, (CONTROLLER, "NodeNotReady"), &message);
    }
}

/// What a kubelet posts of its node's health.
fn posted(node: &Object) -> Option<&Value> {
    json::get(node.value(), "/status/conditions")
}

/// The status of the condition `Ready`: `True`, `False`, `Unknown`, or `""` when there is none.
pub(super) fn readiness(node: &Value) -> &str {
    let conditions = json::list(node, "/status/conditions");
    let ready = conditions.iter().find(|condition| json::text(condition, "/type") == "Ready");
    ready.map_or("", |ready| json::text(ready, "/status"))
}

/// Whether the node has ceased to be ready with this change.
pub(super) fn ceased_to_be_ready(change: &Change) -> bool {
    change.previous.as_deref().is_some_and(|before| readiness(before.value()) == "True")
        && readiness(change.object.value()) != "True"
}

fn set_unknown(node: &mut Value, now: &str) {
    let status = json::child(node, "status");
    let conditions = json::child_or_null(status, "conditions");
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Value::Array(conditions) = conditions else { unreachable!("it was just made a list") };
    if !conditions.iter().any(|condition| json::text(condition, "/type") == "Ready") {
        conditions.push(json!({
            "type": "Ready", "status": "Unknown", "reason": "NodeStatusNeverUpdated",
            "message": "Kubelet never posted node status.", "lastTransitionTime": now,
        }));
    }
    for condition in conditions {
        let kind = json::text(condition, "/type");
        if (kind == "Ready" || PRESSURES.contains(&kind)) && json::text(condition, "/status") != "Unknown" {
            condition["status"] = json!("Unknown");
            condition["reason"] = json!("NodeStatusUnknown");
            condition["message"] = json!("Kubelet stopped posting node status.");
            condition["lastTransitionTime"] = json!(now);
        }
    }
}

/// Gives the node the taints that its condition calls for, and takes back the others.
pub(super) fn taint(state: &mut State, node: &str) {
    let Some(object) = state.get(&Key::new(Kind::Node, "", node)).cloned() else { return };
    let wanted = match readiness(object.value()) {
        "True" => None,
        "False" => Some(NOT_READY),
        _ => Some(UNREACHABLE),
    };
    let taints = json::list(object.value(), "/spec/taints");
    let ours = |taint: &Value| matches!(json::text(taint, "/key"), NOT_READY | UNREACHABLE);
    let right = |taint: &Value| Some(json::text(taint, "/key")) == wanted;
    let mut next: Vec<Value> = taints.iter().filter(|taint| !ours(taint) || right(taint)).cloned().collect();
    for (key, effect) in wanted.into_iter().flat_map(|key| [(key, "NoSchedule"), (key, "NoExecute")]) {
        let is_there = |taint: &Value| json::text(taint, "/key") == key && json::text(taint, "/effect") == effect;
        if !next.iter().any(is_there) {
            next.push(json!({"key": key, "effect": effect, "timeAdded": timestamp(Timestamp::now())}));
        }
    }
    if next != taints {
        let mut value = object.value().clone();
        let next = (!next.is_empty()).then_some(Value::Array(next));
        json::assign(json::child(&mut value, "spec"), "taints", next);
        state.put(Kind::Node, value);
    }
}

/// Says of all pods of a node that they are not ready: nobody vouches for them any more.
pub(super) fn unready_pods(state: &mut State, node: &str) {
    let concerned = |pod: &Object| json::text(pod.value(), "/spec/nodeName") == node && pod_is_ready(pod.value());
    let pods: Vec<_> = state.list(Kind::Pod, None).filter(|pod| concerned(pod)).cloned().collect();
    let now = timestamp(Timestamp::now());
    for pod in pods {
        let mut value = pod.value().clone();
        for condition in json::each(json::child(&mut value, "status"), "conditions") {
            if json::text(condition, "/type") == "Ready" {
                condition["status"] = json!("False");
                condition["lastTransitionTime"] = json!(now);
            }
        }
        let pod = state.put(Kind::Pod, value);
        record(state, (Kind::Pod, &pod), Tone::Warning, (CONTROLLER, "NodeNotReady"), "Node is not ready");
    }
}
