//! Deployments: one replica set for each version of the pod template, and the way from one to the next.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::record::{Tone, record};
use super::rollout::{Bounds, Set, roll};
use crate::json;
use crate::kinds::Kind;
use crate::registry::{self, WriteOptions};
use crate::store::{Key, Name, Object, State, safe_encode, timestamp};

const HASH_LABEL: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const CONTROLLER: &str = "deployment-controller";
/// Names that are tried for a new replica set before the matter is left alone.
const COLLISIONS_MAX: u32 = 16;

/// Brings the replica sets of a deployment in line with it.
pub(super) fn reconcile(state: &mut State, name: &Name) {
    let key = Key { kind: Kind::Deployment, name: name.clone() };
    let Some(deployment) = state.get(&key).cloned() else { return };
    if deployment.is_terminating() {
        return;
    }
    let mut sets = state.owned(Kind::ReplicaSet, deployment.uid());
    sets.sort_by_key(|set| revision(set));
    let template = &deployment.value()["spec"]["template"];
    let current = sets.iter().rposition(|set| plain_template(set) == *template).map(|index| sets.remove(index));
    let paused = json::flag(deployment.value(), "/spec/paused");
    let recreate = json::text(deployment.value(), "/spec/strategy/type") == "Recreate";
    if recreate && !paused && !stopped(state, &sets) {
        for set in &sets {
            scale(state, &deployment, set, 0);
        }
        write_status(state, &key, current.as_deref(), &sets);
        return;
    }
    let current = match current {
        None if paused => None,
        None => create(state, &deployment, &sets),
        Some(current) => Some(revive(state, current, &sets)),
    };
    if let Some(current) = &current {
        annotate_revision(state, &key, revision(current));
        let rolling = &deployment.value()["spec"]["strategy"]["rollingUpdate"];
        let replicas = json::number(deployment.value(), "/spec/replicas");
        let bounds = Bounds::new(replicas, &rolling["maxSurge"], &rolling["maxUnavailable"]);
        if recreate || paused {
            scale(state, &deployment, current, replicas);
        } else {
            let old: Vec<Set> = sets.iter().map(|set| facts(set)).collect();
            let (next, targets) = roll(bounds, facts(current), &old);
            scale(state, &deployment, current, next);
            for (set, target) in sets.iter().zip(targets) {
                scale(state, &deployment, set, target);
            }
        }
        forget_old(state, &deployment, &sets);
    }
    write_status(state, &key, current.as_deref(), &sets);
}

fn facts(set: &Object) -> Set {
    Set {
        replicas: json::number(set.value(), "/spec/replicas"),
        available: json::number(set.value(), "/status/availableReplicas"),
    }
}

fn revision(set: &Object) -> i64 {
    let annotations = json::map(set.value(), "/metadata/annotations");
    let revision = annotations.and_then(|annotations| annotations.get(REVISION)).and_then(Value::as_str);
    revision.and_then(|revision| revision.parse().ok()).unwrap_or_default()
}

/// The set's template without the label that the controller added.
fn plain_template(set: &Object) -> Value {
    let mut template = set.value()["spec"]["template"].clone();
    if let Some(Value::Object(labels)) = template.pointer_mut("/metadata/labels") {
        labels.shift_remove(HASH_LABEL);
    }
    template
}

/// Whether none of the old sets has a pod left, going ones included.
fn stopped(state: &State, sets: &[Arc<Object>]) -> bool {
    let running = |pod: &Arc<Object>| !matches!(json::text(pod.value(), "/status/phase"), "Failed" | "Succeeded");
    sets.iter().all(|set| !state.owned(Kind::Pod, set.uid()).iter().any(running))
}

/// FNV-1a over the template's JSON, which is in the order of the API types whoever sent it.
fn hash(template: &Value, attempt: u32) -> u32 {
    let text = template.to_string();
    let seed = 0x811c_9dc5_u32 ^ attempt;
    text.bytes().fold(seed, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn create(state: &mut State, deployment: &Arc<Object>, old: &[Arc<Object>]) -> Option<Arc<Object>> {
    let value = deployment.value();
    let spec = &value["spec"];
    let free = |hash: &String| {
        state
            .get(&Key::new(Kind::ReplicaSet, deployment.namespace(), format!("{}-{hash}", deployment.name())))
            .is_none()
    };
    let hash = (0..COLLISIONS_MAX).map(|attempt| safe_encode(hash(&spec["template"], attempt))).find(free)?;
    let mut template = spec["template"].clone();
    json::child(json::child(&mut template, "metadata"), "labels")[HASH_LABEL] = json!(hash);
    let mut selector = spec["selector"].clone();
    json::child(&mut selector, "matchLabels")[HASH_LABEL] = json!(hash);
    let mut annotations = json!({});
    for (name, text) in json::map(value, "/metadata/annotations").into_iter().flatten() {
        if name != LAST_APPLIED {
            annotations[name] = text.clone();
        }
    }
    let revision = old.iter().map(|set| revision(set)).max().unwrap_or_default() + 1;
    annotations[REVISION] = json!(revision.to_string());
    annotations["deployment.kubernetes.io/desired-replicas"] = json!(spec["replicas"].to_string());
    let rolling = &spec["strategy"]["rollingUpdate"];
    let bounds = Bounds::new(json::number(value, "/spec/replicas"), &rolling["maxSurge"], &rolling["maxUnavailable"]);
    annotations["deployment.kubernetes.io/max-replicas"] = json!((bounds.replicas + bounds.surge).to_string());
    let set = json!({
        "metadata": {
            "name": format!("{}-{hash}", deployment.name()),
            "labels": template["metadata"]["labels"],
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "name": deployment.name(), "uid": deployment.uid(),
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "replicas": 0, "selector": selector, "template": template, "minReadySeconds": spec["minReadySeconds"],
        },
    });
    let options = WriteOptions::default();
    match registry::create(state, Kind::ReplicaSet, Some(deployment.namespace()), set, &options) {
        Ok(created) => Some(created.object),
        Err(error) => {
            let message = format!("Failed to create new replica set: {error}");
            let reason = (CONTROLLER, "ReplicaSetCreateError");
            record(state, (Kind::Deployment, deployment), Tone::Warning, reason, &message);
            None
        }
    }
}

/// Makes a set that was old the newest one again (a roll-back).
fn revive(state: &mut State, current: Arc<Object>, old: &[Arc<Object>]) -> Arc<Object> {
    let newest = old.iter().map(|set| revision(set)).max().unwrap_or_default();
    if revision(&current) > newest {
        return current;
    }
    let mut value = current.value().clone();
    json::child(json::child(&mut value, "metadata"), "annotations")[REVISION] = json!((newest + 1).to_string());
    state.put(Kind::ReplicaSet, value)
}

fn annotate_revision(state: &mut State, key: &Key, revision: i64) {
    let Some(deployment) = state.get(key) else { return };
    let mut value = deployment.value().clone();
    json::child(json::child(&mut value, "metadata"), "annotations")[REVISION] = json!(revision.to_string());
    if value != *deployment.value() {
        state.put(Kind::Deployment, value);
    }
}

fn scale(state: &mut State, deployment: &Arc<Object>, set: &Object, replicas: i64) {
    let key = Key::new(Kind::ReplicaSet, set.namespace(), set.name());
    let Some(set) = state.get(&key).cloned() else { return };
    let before = json::number(set.value(), "/spec/replicas");
    if before == replicas {
        return;
    }
    let mut value = set.value().clone();
    json::child(&mut value, "spec")["replicas"] = json!(replicas);
    let generation = json::number(&value, "/metadata/generation") + 1;
    value["metadata"]["generation"] = json!(generation);
    let wanted = deployment.value()["spec"]["replicas"].to_string();
    json::child(json::child(&mut value, "metadata"), "annotations")["deployment.kubernetes.io/desired-replicas"] =
        json!(wanted);
    state.put(Kind::ReplicaSet, value);
    let direction = if replicas > before { "up" } else { "down" };
    let message = format!("Scaled {direction} replica set {} from {before} to {replicas}", set.name());
    record(state, (Kind::Deployment, deployment), Tone::Normal, (CONTROLLER, "ScalingReplicaSet"), &message);
}

/// Deletes the oldest sets without pods, beyond those that a roll-back may want.
fn forget_old(state: &mut State, deployment: &Object, old: &[Arc<Object>]) {
    let limit = json::number(deployment.value(), "/spec/revisionHistoryLimit");
    let idle = |set: &&Arc<Object>| {
        json::number(set.value(), "/spec/replicas") == 0 && json::number(set.value(), "/status/replicas") == 0
    };
    let excess = old.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
    for set in old.iter().filter(idle).take(excess) {
        state.remove(&Key::new(Kind::ReplicaSet, set.namespace(), set.name()));
    }
}

fn write_status(state: &mut State, key: &Key, current: Option<&Object>, old: &[Arc<Object>]) {
    let Some(deployment) = state.get(key).cloned() else { return };
    let newest = |set: &Object| state.get(&Key::new(Kind::ReplicaSet, set.namespace(), set.name())).cloned();
    let current = current.and_then(newest);
    let all: Vec<Arc<Object>> = old.iter().filter_map(|set| newest(set)).chain(current.clone()).collect();
    let count = |sets: &[Arc<Object>], field: &str| -> i64 {
        sets.iter().map(|set| json::number(set.value(), &format!("/status/{field}"))).sum()
    };
    let wanted = json::number(deployment.value(), "/spec/replicas");
    let total = count(&all, "replicas");
    let available = count(&all, "availableReplicas");
    let updated = current.as_ref().map_or(0, |set| json::number(set.value(), "/status/replicas"));
    let desired: i64 = all.iter().map(|set| json::number(set.value(), "/spec/replicas")).sum();
    let rolling = &deployment.value()["spec"]["strategy"]["rollingUpdate"];
    let bounds = Bounds::new(wanted, &rolling["maxSurge"], &rolling["maxUnavailable"]);
    let positive = |count: i64| (count > 0).then(|| json!(count));
    let mut value = deployment.value().clone();
    let generation = value["metadata"].get("generation").cloned();
    let status = json::child(&mut value, "status");
    json::assign(status, "availableReplicas", positive(available));
    json::assign(status, "observedGeneration", generation);
    json::assign(status, "readyReplicas", positive(count(&all, "readyReplicas")));
    json::assign(status, "replicas", positive(total));
    json::assign(status, "unavailableReplicas", positive(desired.max(wanted) - available));
    json::assign(status, "updatedReplicas", positive(updated));
    let enough = available >= wanted - bounds.unavailable;
    set_condition(
        status,
        "Available",
        enough,
        match enough {
            true => ("MinimumReplicasAvailable", "Deployment has minimum availability.".to_owned()),
            false => ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.".to_owned()),
        },
    );
    let complete = updated == wanted && total == wanted && available == wanted;
    if let Some(current) = &current {
        let name = current.name();
        set_condition(
            status,
            "Progressing",
            true,
            match complete {
                true => ("NewReplicaSetAvailable", format!("ReplicaSet \"{name}\" has successfully progressed.")),
                false => ("ReplicaSetUpdated", format!("ReplicaSet \"{name}\" is progressing.")),
            },
        );
    }
    if value != *deployment.value() {
        state.put(Kind::Deployment, value);
    }
}

fn set_condition(status: &mut Value, kind: &str, holds: bool, (reason, message): (&str, String)) {
    let now = timestamp(Timestamp::now());
    let word = if holds { "True" } else { "False" };
    if status.get("conditions").is_none_or(Value::is_null) {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else { return };
    let found = conditions.iter_mut().find(|condition| json::text(condition, "/type") == kind);
    let mut since = now.clone();
    if let Some(condition) = &found {
        if json::text(condition, "/status") == word && json::text(condition, "/reason") == reason {
            return;
        }
        if json::text(condition, "/status") == word {
            since = json::text(condition, "/lastTransitionTime").to_owned();
        }
    }
    let condition = json!({
        "lastTransitionTime": since, "lastUpdateTime": now,
        "message": message, "reason": reason, "status": word, "type": kind,
    });
    match found {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}
