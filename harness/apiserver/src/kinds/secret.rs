//! Secrets.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use super::age::age;
use super::decode::decode;
use super::{Column, Findings, NameRule, Resource};
use crate::json;
use crate::patch::schema;

pub(super) static SECRET: Resource = Resource {
    group: "",
    version: "v1",
    kind: "Secret",
    plural: "secrets",
    short_names: &[],
    namespaced: true,
    in_all: false,
    has_status: false,
    has_generation: false,
    has_scale: false,
    name_rule: NameRule::Subdomain,
    field_labels: &["type"],
    columns: &[Column::NAME, Column::text("Type"), Column::text("Data"), Column::AGE],
    row,
    schema: &schema::PLAIN,
    decode: decode::<Secret>,
    default: |secret| json::default(secret, "type", "Opaque"),
    validate,
};

fn row(secret: &Value, now: Timestamp) -> Vec<Value> {
    let count = json::map(secret, "/data").map_or(0, serde_json::Map::len);
    vec![
        json!(json::text(secret, "/metadata/name")),
        json!(json::text(secret, "/type")),
        json!(count),
        age(secret, now),
    ]
}

fn validate(secret: &Value, old: Option<&Value>, findings: &mut Findings) {
    if let Some(old) = old {
        findings.immutable("type", old.get("type"), secret.get("type"));
    }
}
