//! Namespaces.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};

use super::age::age;
use super::decode::decode;
use super::{Column, NameRule, Resource};
use crate::json;
use crate::patch::schema;

pub(super) static NAMESPACE: Resource = Resource {
    group: "",
    version: "v1",
    kind: "Namespace",
    plural: "namespaces",
    short_names: &["ns"],
    namespaced: false,
    in_all: false,
    has_status: true,
    has_generation: false,
    has_scale: false,
    name_rule: NameRule::Label,
    field_labels: &["status.phase"],
    columns: &[Column::NAME, Column::text("Status"), Column::AGE],
    row,
    schema: &schema::CONDITIONS,
    decode: decode::<Namespace>,
    default,
    validate: |_, _, _| {},
};

fn row(namespace: &Value, now: Timestamp) -> Vec<Value> {
    let text = |pointer| json!(json::text(namespace, pointer));
    vec![text("/metadata/name"), text("/status/phase"), age(namespace, now)]
}

fn default(namespace: &mut Value) {
    let name = json::text(namespace, "/metadata/name").to_owned();
    // The label that namespace selectors rely on; the server keeps it right whatever the client says.
    json::child(json::child(namespace, "metadata"), "labels")["kubernetes.io/metadata.name"] = Value::String(name);
    if json::text(namespace, "/metadata/deletionTimestamp").is_empty() {
        json::default(json::child(namespace, "spec"), "finalizers", json!(["kubernetes"]));
    }
    json::default(json::child(namespace, "status"), "phase", "Active");
}
