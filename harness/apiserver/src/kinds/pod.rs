//! Pods.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::age::age;
use super::decode::decode;
use super::{Column, Findings, NameRule, Resource, pod_template};
use crate::json;
use crate::patch::schema;

/// Seconds that pods stay on a node that is not ready, as the admission plug-in of real clusters sets it.
const TOLERATION_SECONDS: i64 = 300;

pub(super) static POD: Resource = Resource {
    group: "",
    version: "v1",
    kind: "Pod",
    plural: "pods",
    short_names: &["po"],
    namespaced: true,
    in_all: true,
    has_status: true,
    has_generation: false,
    has_scale: false,
    name_rule: NameRule::Subdomain,
    field_labels: &[
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ],
    columns: &[
        Column::NAME,
        Column::text("Ready"),
        Column::text("Status"),
        Column::text("Restarts"),
        Column::AGE,
        Column::wide("IP"),
        Column::wide("Node"),
        Column::wide("Nominated Node"),
        Column::wide("Readiness Gates"),
    ],
    row,
    schema: &schema::POD,
    decode: decode::<Pod>,
    default,
    validate,
};

/// Whether the condition `Ready` is true.
pub(crate) fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|condition| json::text(condition, "/status") == "True")
}

fn condition<'p>(pod: &'p Value, kind: &str) -> Option<&'p Value> {
    json::list(pod, "/status/conditions").iter().find(|condition| json::text(condition, "/type") == kind)
}

fn row(pod: &Value, now: Timestamp) -> Vec<Value> {
    let statuses = json::list(pod, "/status/containerStatuses");
    let ready = statuses.iter().filter(|status| json::flag(status, "/ready")).count();
    let total = json::list(pod, "/spec/containers").len();
    let restarts: i64 = statuses.iter().map(|status| json::number(status, "/restartCount")).sum();
    let or_none = |pointer| match json::text(pod, pointer) {
        "" => json!("<none>"),
        text => json!(text),
    };
    vec![
        json!(json::text(pod, "/metadata/name")),
        json!(format!("{ready}/{total}")),
        json!(reason(pod, statuses)),
        json!(restarts.to_string()),
        age(pod, now),
        or_none("/status/podIP"),
        or_none("/spec/nodeName"),
        or_none("/status/nominatedNodeName"),
        json!("<none>"),
    ]
}

/// The word in the column `Status`: the phase, or why a container does not run, or `Terminating`.
fn reason(pod: &Value, statuses: &[Value]) -> String {
    let phase = json::text(pod, "/status/phase");
    let mut reason = match json::text(pod, "/status/reason") {
        "" => phase.to_owned(),
        reason => reason.to_owned(),
    };
    let mut any_running = false;
    for status in statuses.iter().rev() {
        let waiting = json::text(status, "/state/waiting/reason");
        let terminated = json::get(status, "/state/terminated").filter(|state| !state.is_null());
        if !waiting.is_empty() {
            reason = waiting.to_owned();
        } else if let Some(terminated) = terminated {
            let (why, signal) = (json::text(terminated, "/reason"), json::number(terminated, "/signal"));
            reason = match (why, signal) {
                ("", 0) => format!("ExitCode:{}", json::number(terminated, "/exitCode")),
                ("", signal) => format!("Signal:{signal}"),
                (why, _) => why.to_owned(),
            };
        } else if json::flag(status, "/ready") && json::get(status, "/state/running").is_some() {
            any_running = true;
        }
    }
    if reason == "Completed" && any_running {
        reason = if is_ready(pod) { "Running" } else { "NotReady" }.to_owned();
    }
    if !json::text(pod, "/metadata/deletionTimestamp").is_empty() {
        let finished = matches!(phase, "Failed" | "Succeeded");
        return if json::text(pod, "/status/reason") == "NodeLost" {
            "Unknown".to_owned()
        } else if finished {
            reason
        } else {
            "Terminating".to_owned()
        };
    }
    reason
}

fn default(pod: &mut Value) {
    let spec = json::child(pod, "spec");
    pod_template::default(spec);
    json::default(spec, "enableServiceLinks", true);
    json::default(spec, "serviceAccountName", "default");
    let account = json::text(spec, "/serviceAccountName").to_owned();
    json::default(spec, "serviceAccount", account);
    json::default(spec, "preemptionPolicy", "PreemptLowerPriority");
    json::default(spec, "priority", 0);
    tolerate_bad_nodes(spec);
    let status = json::child(pod, "status");
    json::default(status, "phase", "Pending");
    json::default(status, "qosClass", "BestEffort");
}

/// What the admission plug-in `DefaultTolerationSeconds` does: a pod that says nothing of nodes that are not ready, or
/// unreachable, stays on them for a while.
fn tolerate_bad_nodes(spec: &mut Value) {
    let mut tolerations = json::list(spec, "/tolerations").to_vec();
    let given = tolerations.len();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let is_about = |toleration: &Value| {
            let text = |field| json::text(toleration, field);
            (text("/key").is_empty() || text("/key") == key) && matches!(text("/effect"), "" | "NoExecute")
        };
        if !tolerations[..given].iter().any(is_about) {
            tolerations.push(json!({
                "effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": TOLERATION_SECONDS,
            }));
        }
    }
    json::assign(spec, "tolerations", Some(Value::Array(tolerations)));
}

fn validate(pod: &Value, old: Option<&Value>, findings: &mut Findings) {
    let empty = json!({});
    pod_template::validate(pod.get("spec").unwrap_or(&empty), "spec", findings);
    if let Some(old) = old {
        let comparable = |pod: &Value| {
            let mut spec = pod.get("spec").cloned().unwrap_or_default();
            for list in ["containers", "initContainers"] {
                json::each(&mut spec, list).for_each(|container| json::assign(container, "image", None));
            }
            for field in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "nodeName"] {
                json::assign(&mut spec, field, None);
            }
            spec
        };
        let bound = json::text(old, "/spec/nodeName");
        if comparable(old) != comparable(pod) || (!bound.is_empty() && bound != json::text(pod, "/spec/nodeName")) {
            findings.forbidden(
                "spec",
                "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case(json!([]) => vec!["not-ready", "unreachable"]; "none")]
    #[test_case(json!([{"key": "dedicated", "operator": "Exists"}]) => vec!["", "not-ready", "unreachable"]; "another key")]
    #[test_case(json!([{"operator": "Exists"}]) => vec![""]; "everything")]
    #[test_case(json!([{"operator": "Exists", "effect": "NoSchedule"}]) => vec!["", "not-ready", "unreachable"]; "another effect")]
    #[test_case(json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 2}])
        => vec!["unreachable", "not-ready"]; "one of the two")]
    fn pods_tolerate_bad_nodes_for_a_while(tolerations: Value) -> Vec<&'static str> {
        let mut spec = json!({"tolerations": tolerations});
        tolerate_bad_nodes(&mut spec);
        let once = spec.clone();
        tolerate_bad_nodes(&mut spec);
        assert_eq!(spec, once, "a second look adds nothing");
        let word = |toleration: &Value| match json::text(toleration, "/key") {
            "node.kubernetes.io/not-ready" => "not-ready",
            "node.kubernetes.io/unreachable" => "unreachable",
            _ => "",
        };
        json::list(&spec, "/tolerations").iter().map(word).collect()
    }
}
