//! Events: what happened to objects, told to people.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use serde_json::{Value, json};

use super::age::since;
use super::decode::decode;
use super::{Column, Findings, NameRule, Resource};
use crate::json;
use crate::patch::schema;

pub(super) static EVENT: Resource = Resource {
    group: "",
    version: "v1",
    kind: "Event",
    plural: "events",
    short_names: &["ev"],
    namespaced: true,
    in_all: false,
    has_status: false,
    has_generation: false,
    has_scale: false,
    name_rule: NameRule::Subdomain,
    field_labels: &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ],
    columns: &[
        Column::text("Last Seen"),
        Column::text("Type"),
        Column::text("Reason"),
        Column::text("Object"),
        Column::wide("Subobject"),
        Column::wide("Source"),
        Column::text("Message"),
        Column::wide("First Seen"),
        Column::wide("Count"),
        Column::wide("Name"),
    ],
    row,
    schema: &schema::PLAIN,
    decode: decode::<Event>,
    default: |event| {
        json::child(event, "involvedObject");
    },
    validate,
};

fn row(event: &Value, now: Timestamp) -> Vec<Value> {
    let text = |pointer| json::text(event, pointer);
    let either = |one: &'static str, other: &'static str| if text(one).is_empty() { text(other) } else { text(one) };
    let first = either("/firstTimestamp", "/eventTime");
    let last = either("/lastTimestamp", "/firstTimestamp");
    let last = if last.is_empty() { first } else { last };
    let mut source = either("/source/component", "/reportingComponent").to_owned();
    let host = either("/source/host", "/reportingInstance");
    if !host.is_empty() {
        source = format!("{source}, {host}");
    }
    let object = format!("{}/{}", text("/involvedObject/kind").to_lowercase(), text("/involvedObject/name"));
    vec![
        since(last, now),
        json!(text("/type")),
        json!(text("/reason")),
        json!(object),
        json!(text("/involvedObject/fieldPath")),
        json!(source),
        json!(text("/message").trim()),
        since(first, now),
        json!(json::number(event, "/count").max(1)),
        json!(text("/metadata/name")),
    ]
}

fn validate(event: &Value, _: Option<&Value>, findings: &mut Findings) {
    let involved = json::text(event, "/involvedObject/namespace");
    let namespace = json::text(event, "/metadata/namespace");
    // Events about cluster-wide objects live in `default`.
    if involved != namespace && !(involved.is_empty() && namespace == "default") {
        findings.invalid("involvedObject.namespace", &json!(involved), "does not match event.namespace");
    }
}
