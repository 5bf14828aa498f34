//! Leases (node heartbeats, leader election).

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::{Value, json};

use super::age::age;
use super::decode::decode;
use super::{Column, NameRule, Resource};
use crate::json;
use crate::patch::schema;

pub(super) static LEASE: Resource = Resource {
    group: "coordination.k8s.io",
    version: "v1",
    kind: "Lease",
    plural: "leases",
    short_names: &[],
    namespaced: true,
    in_all: false,
    has_status: false,
    has_generation: false,
    has_scale: false,
    name_rule: NameRule::Subdomain,
    field_labels: &[],
    columns: &[Column::NAME, Column::text("Holder"), Column::AGE],
    row,
    schema: &schema::PLAIN,
    decode: decode::<Lease>,
    default: |_| {},
    validate: |_, _, _| {},
};

fn row(lease: &Value, now: Timestamp) -> Vec<Value> {
    vec![json!(json::text(lease, "/metadata/name")), json!(json::text(lease, "/spec/holderIdentity")), age(lease, now)]
}
