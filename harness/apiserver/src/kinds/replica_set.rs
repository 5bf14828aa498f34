//! Replica sets.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use serde_json::{Value, json};

use super::age::age;
use super::decode::decode;
use super::{Column, NameRule, Resource, workload};
use crate::json;
use crate::patch::schema;

pub(super) static REPLICA_SET: Resource = Resource {
    group: "apps",
    version: "v1",
    kind: "ReplicaSet",
    plural: "replicasets",
    short_names: &["rs"],
    namespaced: true,
    in_all: true,
    has_status: true,
    has_generation: true,
    has_scale: true,
    name_rule: NameRule::Subdomain,
    field_labels: &["status.replicas"],
    columns: &[
        Column::NAME,
        Column::integer("Desired"),
        Column::integer("Current"),
        Column::integer("Ready"),
        Column::AGE,
        Column::wide("Containers"),
        Column::wide("Images"),
        Column::wide("Selector"),
    ],
    row,
    schema: &schema::WORKLOAD,
    decode: decode::<ReplicaSet>,
    default: |set| {
        workload::default(set);
        json::default(json::child(set, "status"), "replicas", 0);
    },
    validate: workload::validate,
};

fn row(set: &Value, now: Timestamp) -> Vec<Value> {
    let count = |pointer| json!(json::number(set, pointer));
    let mut cells = vec![
        json!(json::text(set, "/metadata/name")),
        count("/spec/replicas"),
        count("/status/replicas"),
        count("/status/readyReplicas"),
        age(set, now),
    ];
    cells.extend(workload::wide_cells(set));
    cells
}
