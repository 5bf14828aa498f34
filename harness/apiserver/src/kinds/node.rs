//! Nodes.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use super::age::age;
use super::decode::decode;
use super::{Column, Findings, NameRule, Resource};
use crate::json;
use crate::patch::schema;

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";

pub(super) static NODE: Resource = Resource {
    group: "",
    version: "v1",
    kind: "Node",
    plural: "nodes",
    short_names: &["no"],
    namespaced: false,
    in_all: false,
    has_status: true,
    has_generation: false,
    has_scale: false,
    name_rule: NameRule::Subdomain,
    field_labels: &["spec.unschedulable"],
    columns: &[
        Column::NAME,
        Column::text("Status"),
        Column::text("Roles"),
        Column::AGE,
        Column::text("Version"),
        Column::wide("Internal-IP"),
        Column::wide("External-IP"),
        Column::wide("OS-Image"),
        Column::wide("Kernel-Version"),
        Column::wide("Container-Runtime"),
    ],
    row,
    schema: &schema::NODE,
    decode: decode::<Node>,
    default: |node| {
        json::child(node, "spec");
        json::child(node, "status");
    },
    validate,
};

fn row(node: &Value, now: Timestamp) -> Vec<Value> {
    let ready = json::list(node, "/status/conditions")
        .iter()
        .find(|condition| json::text(condition, "/type") == "Ready")
        .map(|condition| json::text(condition, "/status"));
    let mut status = match ready {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if json::flag(node, "/spec/unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    let labels = json::map(node, "/metadata/labels");
    let mut roles: Vec<&str> =
        labels.into_iter().flatten().filter_map(|(label, _)| label.strip_prefix(ROLE_PREFIX)).collect();
    roles.sort_unstable();
    let roles = if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") };
    let address = |kind: &str| {
        let addresses = json::list(node, "/status/addresses");
        let found = addresses.iter().find(|address| json::text(address, "/type") == kind);
        json!(found.map_or("<none>", |address| json::text(address, "/address")))
    };
    let about = |name: &str, missing: &str| match json::text(node, &format!("/status/nodeInfo/{name}")) {
        "" => json!(missing),
        text => json!(text),
    };
    vec![
        json!(json::text(node, "/metadata/name")),
        json!(status),
        json!(roles),
        age(node, now),
        about("kubeletVersion", ""),
        address("InternalIP"),
        address("ExternalIP"),
        about("osImage", "<unknown>"),
        about("kernelVersion", "<unknown>"),
        about("containerRuntimeVersion", "<unknown>"),
    ]
}

fn validate(node: &Value, old: Option<&Value>, findings: &mut Findings) {
    if let Some(old) = old
        && !json::text(old, "/spec/podCIDR").is_empty()
        && json::get(old, "/spec/podCIDR") != json::get(node, "/spec/podCIDR")
    {
        findings.forbidden("spec.podCIDR", "node updates may not change podCIDR except from \"\" to valid");
    }
}
