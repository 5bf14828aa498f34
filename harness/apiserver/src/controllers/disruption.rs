//! Pod disruption budgets: how many pods may be evicted at the moment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::json;
use crate::kinds::{Kind, percentage, pod_is_ready};
use crate::registry::budget_is_for;
use crate::store::{Key, Name, Object, State, timestamp};

/// Writes what the budget allows now.
pub(super) fn reconcile(state: &mut State, name: &Name) {
    let key = Key { kind: Kind::PodDisruptionBudget, name: name.clone() };
    let Some(budget) = state.get(&key).cloned() else { return };
    let pods: Vec<_> = state
        .list(Kind::Pod, Some(&name.namespace))
        .filter(|pod| budget_is_for(&budget, pod))
        .filter(|pod| !matches!(json::text(pod.value(), "/status/phase"), "Failed" | "Succeeded"))
        .cloned()
        .collect();
    let healthy = pods.iter().filter(|pod| pod_is_ready(pod.value()) && !pod.is_terminating()).count();
    let present = pods.len();
    let wanted = || expected(state, pods.iter().map(AsRef::as_ref));
    let spec = &budget.value()["spec"];
    let (expected, desired) = match (&spec["maxUnavailable"], &spec["minAvailable"]) {
        (Value::Null, least @ Value::Number(_)) => (present, share(least, present)),
        (Value::Null, least) => {
            let expected = wanted();
            (expected, share(least, expected))
        }
        (most, _) => {
            let expected = wanted();
            (expected, expected.saturating_sub(share(most, expected)))
        }
    };
    let allowed = if expected == 0 { 0 } else { healthy.saturating_sub(desired) };
    let mut value = budget.value().clone();
    let generation = value["metadata"]["generation"].clone();
    let condition = condition(budget.value(), allowed > 0, &generation);
    value["status"] = json!({
        "conditions": [condition], "currentHealthy": healthy, "desiredHealthy": desired,
        "disruptionsAllowed": allowed, "expectedPods": expected, "observedGeneration": generation,
    });
    if value != *budget.value() {
        state.put(Kind::PodDisruptionBudget, value);
    }
}

/// A number, or a percentage of `whole`, rounded up.
fn share(bound: &Value, whole: usize) -> usize {
    match bound {
        Value::Number(number) => number.as_u64().and_then(|number| number.try_into().ok()).unwrap_or(0),
        Value::String(text) => {
            let percent = percentage(text).and_then(|percent| percent.try_into().ok()).unwrap_or(0);
            (whole * percent).div_ceil(100)
        }
        _ => 0,
    }
}

/// The pods that the owners of these pods want, a pod without an owner counting for itself.
fn expected<'p>(state: &State, pods: impl Iterator<Item = &'p Object>) -> usize {
    let mut owners: BTreeMap<String, usize> = BTreeMap::new();
    for pod in pods {
        let set =
            pod.controller().and_then(|(_, name, _)| state.get(&Key::new(Kind::ReplicaSet, pod.namespace(), name)));
        let Some(set) = set else {
            owners.insert(pod.uid().to_owned(), 1);
            continue;
        };
        let deployment =
            set.controller().and_then(|(_, name, _)| state.get(&Key::new(Kind::Deployment, pod.namespace(), name)));
        let owner = deployment.unwrap_or(set);
        let replicas = usize::try_from(json::number(owner.value(), "/spec/replicas")).unwrap_or(0);
        owners.insert(owner.uid().to_owned(), replicas);
    }
    owners.values().sum()
}

fn condition(budget: &Value, allowed: bool, generation: &Value) -> Value {
    let (status, reason) = if allowed { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let before = json::list(budget, "/status/conditions").first();
    let same = before.filter(|before| json::text(before, "/status") == status);
    let since = same.map(|before| json::text(before, "/lastTransitionTime").to_owned());
    json!({
        "lastTransitionTime": since.unwrap_or_else(|| timestamp(Timestamp::now())), "message": "",
        "observedGeneration": generation, "reason": reason, "status": status, "type": "DisruptionAllowed",
    })
}
