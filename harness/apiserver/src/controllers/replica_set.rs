//! Replica sets: as many pods as wanted, and a status that counts them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::garbage;
use super::record::{Tone, record};
use crate::json;
use crate::kinds::{Kind, pod_is_ready};
use crate::registry::{self, DeleteOptions, WriteOptions};
use crate::store::{Key, LabelSelector, Name, Object, State};

/// Pods that one look makes or deletes at most, as Kubernetes bursts.
const BURST: usize = 500;
const CONTROLLER: &str = "replicaset-controller";

/// Brings the pods of a replica set in line with it.
pub(super) fn reconcile(state: &mut State, name: &Name) {
    let key = Key { kind: Kind::ReplicaSet, name: name.clone() };
    let Some(set) = state.get(&key).cloned() else { return };
    let mut active = active_pods(state, &set);
    if !set.is_terminating() {
        let wanted = usize::try_from(json::number(set.value(), "/spec/replicas")).unwrap_or_default();
        for _ in 0..wanted.saturating_sub(active.len()).min(BURST) {
            if let Some(pod) = create(state, &set) {
                active.push(pod);
            }
        }
        if active.len() > wanted {
            rank(&mut active);
            let excess = (active.len() - wanted).min(BURST);
            let doomed = active.drain(active.len() - excess..).collect::<Vec<_>>();
            for pod in doomed {
                let message = format!("Deleted pod: {}", pod.name());
                let pod = Key::new(Kind::Pod, pod.namespace(), pod.name());
                garbage::delete(state, &pod, &DeleteOptions::default());
                record(state, (Kind::ReplicaSet, &set), Tone::Normal, (CONTROLLER, "SuccessfulDelete"), &message);
            }
        }
    }
    write_status(state, &key, &active);
}

/// The pods that count.
fn active_pods(state: &State, set: &Object) -> Vec<Arc<Object>> {
    let selector = LabelSelector::from_object(&set.value()["spec"]["selector"]);
    let mut pods = state.owned(Kind::Pod, set.uid());
    pods.retain(|pod| {
        let finished = matches!(json::text(pod.value(), "/status/phase"), "Failed" | "Succeeded");
        !pod.is_terminating() && !finished && selector.matches(pod.value())
    });
    pods
}

/// Puts those to be kept first.
fn rank(pods: &mut [Arc<Object>]) {
    // Who is bound stays before who is not, the ready before those not ready, the running before the pending; then
    // the nodes with fewer of them, then the older ones.
    let mut crowd: BTreeMap<String, usize> = BTreeMap::new();
    for pod in pods.iter() {
        *crowd.entry(node(pod).to_owned()).or_default() += 1;
    }
    pods.sort_by_cached_key(|pod| {
        let value = pod.value();
        (
            Reverse(!node(pod).is_empty()),
            Reverse(json::text(value, "/status/phase") == "Running"),
            Reverse(pod_is_ready(value)),
            crowd[node(pod)],
            json::text(value, "/metadata/creationTimestamp").to_owned(),
            pod.name().to_owned(),
        )
    });
}

fn node(pod: &Object) -> &str {
    json::text(pod.value(), "/spec/nodeName")
}

fn create(state: &mut State, set: &Arc<Object>) -> Option<Arc<Object>> {
    let template = &set.value()["spec"]["template"];
    let metadata = &template["metadata"];
    let pod = json!({
        "metadata": {
            "generateName": format!("{}-", set.name()),
            "labels": metadata["labels"],
            "annotations": metadata["annotations"],
            "finalizers": metadata["finalizers"],
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set.name(), "uid": set.uid(),
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": template["spec"],
    });
    match registry::create(state, Kind::Pod, Some(set.namespace()), pod, &WriteOptions::default()) {
        Ok(created) => {
            let message = format!("Created pod: {}", created.object.name());
            record(state, (Kind::ReplicaSet, set), Tone::Normal, (CONTROLLER, "SuccessfulCreate"), &message);
            Some(created.object)
        }
        Err(error) => {
            let message = format!("Error creating: {error}");
            record(state, (Kind::ReplicaSet, set), Tone::Warning, (CONTROLLER, "FailedCreate"), &message);
            None
        }
    }
}

fn write_status(state: &mut State, key: &Key, active: &[Arc<Object>]) {
    let Some(set) = state.get(key).cloned() else { return };
    let template = LabelSelector::from_map(json::map(set.value(), "/spec/template/metadata/labels"));
    let total = active.len();
    let labelled = active.iter().filter(|pod| template.matches(pod.value())).count();
    let ready = active.iter().filter(|pod| pod_is_ready(pod.value())).count();
    let mut value = set.value().clone();
    let status = json::child(&mut value, "status");
    let positive = |count: usize| (count > 0).then(|| json!(count));
    json::assign(status, "availableReplicas", positive(ready));
    json::assign(status, "fullyLabeledReplicas", positive(labelled));
    let generation = set.value()["metadata"].get("generation").cloned();
    json::assign(status, "observedGeneration", generation);
    json::assign(status, "readyReplicas", positive(ready));
    json::assign(status, "replicas", Some(Value::from(total)));
    if value != *set.value() {
        state.put(Kind::ReplicaSet, value);
    }
}
