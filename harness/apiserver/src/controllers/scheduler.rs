//! Binds pods to nodes: ready ones that the pod allows, fewest pods of the same owner first, then by name.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::record::{Tone, record};
use super::taints::tolerates;
use crate::json;
use crate::kinds::Kind;
use crate::store::{Key, Name, Object, State, timestamp};

const SCHEDULER: &str = "default-scheduler";

/// Finds a node for a pod that has none.
pub(super) fn reconcile(state: &mut State, name: &Name) {
    let key = Key { kind: Kind::Pod, name: name.clone() };
    let Some(pod) = state.get(&key).cloned() else { return };
    let value = pod.value();
    let ours = json::text(value, "/spec/schedulerName") == SCHEDULER
        && json::text(value, "/spec/nodeName").is_empty()
        && json::list(value, "/spec/schedulingGates").is_empty();
    if !ours || pod.is_terminating() {
        return;
    }
    let nodes = state.list(Kind::Node, None);
    let candidates = nodes.filter(|node| fits(node.value(), value)).map(|node| node.name().to_owned());
    let candidates: Vec<String> = candidates.collect();
    let siblings = pod.controller().map(|(_, _, uid)| state.owned(Kind::Pod, uid)).unwrap_or_default();
    let load = |node: &str| {
        let here = |sibling: &&std::sync::Arc<Object>| {
            json::text(sibling.value(), "/spec/nodeName") == node && !sibling.is_terminating()
        };
        siblings.iter().filter(here).count()
    };
    let chosen = candidates.into_iter().min_by(|one, other| (load(one), one).cmp(&(load(other), other)));
    let mut changed = value.clone();
    match chosen {
        Some(node) => {
            json::child(&mut changed, "spec")["nodeName"] = json!(node);
            set_scheduled(&mut changed, "True", None);
            let bound = state.put(Kind::Pod, changed);
            let message = format!("Successfully assigned {}/{} to {node}", bound.namespace(), bound.name());
            record(state, (Kind::Pod, &bound), Tone::Normal, (SCHEDULER, "Scheduled"), &message);
        }
        None => {
            let total = state.list(Kind::Node, None).count();
            let message = format!("0/{total} nodes are available.");
            // Said once for each number of nodes, not at every look.
            if set_scheduled(&mut changed, "False", Some(&message)) {
                let pending = state.put(Kind::Pod, changed);
                record(state, (Kind::Pod, &pending), Tone::Warning, (SCHEDULER, "FailedScheduling"), &message);
            }
        }
    }
}

/// Whether a node is ready, open, labelled as the pod wants, and free of taints that the pod does not stand.
fn fits(node: &Value, pod: &Value) -> bool {
    let ready = json::list(node, "/status/conditions")
        .iter()
        .any(|condition| json::text(condition, "/type") == "Ready" && json::text(condition, "/status") == "True");
    let labels = json::map(node, "/metadata/labels");
    let selected = json::map(pod, "/spec/nodeSelector")
        .into_iter()
        .flatten()
        .all(|(key, wanted)| labels.and_then(|labels| labels.get(key)) == Some(wanted));
    let tolerated = json::list(node, "/spec/taints")
        .iter()
        .filter(|taint| matches!(json::text(taint, "/effect"), "NoSchedule" | "NoExecute"))
        .all(|taint| json::list(pod, "/spec/tolerations").iter().any(|toleration| tolerates(toleration, taint)));
    ready && selected && tolerated && !json::flag(node, "/spec/unschedulable")
}

/// Sets the condition `PodScheduled`; returns whether it was another one before.
fn set_scheduled(pod: &mut Value, status: &str, message: Option<&str>) -> bool {
    let mut condition = json!({
        "lastProbeTime": null,
        "lastTransitionTime": timestamp(Timestamp::now()),
        "status": status,
        "type": "PodScheduled",
    });
    if let Some(message) = message {
        condition["message"] = json!(message);
        condition["reason"] = json!("Unschedulable");
    }
    let holder = json::child(pod, "status");
    let conditions = json::list(holder, "/conditions");
    let is_scheduled = |condition: &&Value| json::text(condition, "/type") == "PodScheduled";
    if let Some(old) = conditions.iter().find(is_scheduled)
        && ["/status", "/message"].iter().all(|field| json::text(old, field) == json::text(&condition, field))
    {
        return false;
    }
    let mut conditions: Vec<Value> = conditions.iter().filter(|condition| !is_scheduled(condition)).cloned().collect();
    conditions.push(condition);
    holder["conditions"] = Value::Array(conditions);
    true
}
