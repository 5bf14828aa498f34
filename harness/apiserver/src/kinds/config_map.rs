//! Config maps.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::age::age;
use super::decode::decode;
use super::{Column, Findings, NameRule, Resource};
use crate::json;
use crate::patch::schema;

pub(super) static CONFIG_MAP: Resource = Resource {
    group: "",
    version: "v1",
    kind: "ConfigMap",
    plural: "configmaps",
    short_names: &["cm"],
    namespaced: true,
    in_all: false,
    has_status: false,
    has_generation: false,
    has_scale: false,
    name_rule: NameRule::Subdomain,
    field_labels: &[],
    columns: &[Column::NAME, Column::text("Data"), Column::AGE],
    row,
    schema: &schema::PLAIN,
    decode: decode::<ConfigMap>,
    default: |_| {},
    validate,
};

fn row(map: &Value, now: Timestamp) -> Vec<Value> {
    let count = |pointer| json::map(map, pointer).map_or(0, serde_json::Map::len);
    vec![json!(json::text(map, "/metadata/name")), json!(count("/data") + count("/binaryData")), age(map, now)]
}

fn validate(map: &Value, old: Option<&Value>, findings: &mut Findings) {
    if let Some(old) = old
        && json::flag(old, "/immutable")
        && (old.get("data") != map.get("data") || !json::flag(map, "/immutable"))
    {
        findings.forbidden("data", "field is immutable when `immutable` is set");
    }
}
