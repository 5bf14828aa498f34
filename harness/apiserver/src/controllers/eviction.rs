//! Pods that their node's taints drive away, as kube-controller-manager's taint eviction controller does it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::garbage;
use super::record::{Tone, record};
use super::taints::{Stay, drives_away, stay};
use super::timers::{Timer, Timers};
use crate::json;
use crate::kinds::Kind;
use crate::registry::DeleteOptions;
use crate::store::{Key, Name, Object, State, timestamp};

const CONTROLLER: &str = "taint-eviction-controller";

/// Looks at all pods of a node.
pub(super) fn reconcile_node(state: &mut State, node: &str, timers: &mut Timers, now: Instant) {
    let pods = state.list(Kind::Pod, None).filter(|pod| node_of(pod) == node);
    let pods: Vec<Name> = pods.map(|pod| Name::new(pod.namespace(), pod.name())).collect();
    for pod in pods {
        reconcile(state, &pod, timers, now);
    }
}

/// Sets, keeps or takes back the time at which a pod has to go. A countdown under way is not started anew.
pub(super) fn reconcile(state: &mut State, name: &Name, timers: &mut Timers, now: Instant) {
    let key = Key { kind: Kind::Pod, name: name.clone() };
    let Some(pod) = state.get(&key).cloned() else { return };
    let timer = Timer::Eviction(name.clone(), pod.uid().to_owned());
    let node = state.get(&Key::new(Kind::Node, "", node_of(&pod)));
    let stay = node.map_or(Stay::Forever, |node| stay(node.value(), pod.value()));
    match stay {
        _ if pod.is_terminating() => timers.cancel(&timer),
        Stay::Forever => timers.cancel(&timer),
        Stay::Seconds(0) => {
            timers.cancel(&timer);
            evict(state, &key, &pod);
        }
        // A time too far for the clock never comes.
        Stay::Seconds(seconds) => match now.checked_add(Duration::from_secs(seconds)) {
            Some(end) if timers.at(&timer).is_none_or(|at| at > end) => timers.set(timer, end),
            _ => {}
        },
    }
}

/// A pod's time has come.
pub(super) fn due(state: &mut State, name: &Name, uid: &str) {
    let key = Key { kind: Kind::Pod, name: name.clone() };
    if let Some(pod) = state.get(&key).filter(|pod| pod.uid() == uid && !pod.is_terminating()).cloned() {
        evict(state, &key, &pod);
    }
}

/// Whether a pod's node drives pods away.
pub(super) fn concerns(state: &State, pod: &Object) -> bool {
    state.get(&Key::new(Kind::Node, "", node_of(pod))).is_some_and(|node| drives_away(node.value()))
}

fn node_of(pod: &Object) -> &str {
    json::text(pod.value(), "/spec/nodeName")
}

fn evict(state: &mut State, key: &Key, pod: &Object) {
    let message = format!("Marking for deletion Pod {}/{}", pod.namespace(), pod.name());
    record(state, (Kind::Pod, pod), Tone::Normal, (CONTROLLER, "TaintManagerEviction"), &message);
    let mut value = pod.value().clone();
    let status = json::child(&mut value, "status");
    let mut conditions: Vec<Value> = json::list(status, "/conditions").to_vec();
    conditions.retain(|condition| json::text(condition, "/type") != "DisruptionTarget");
    conditions.push(json!({
        "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": timestamp(Timestamp::now()),
    }));
    status["conditions"] = Value::Array(conditions);
    state.put(Kind::Pod, value);
    garbage::delete(state, key, &DeleteOptions::default());
}
