//! Service accounts. Every namespace gets one named `default`; nobody signs tokens for them.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::{Value, json};

use super::age::age;
use super::decode::decode;
use super::{Column, NameRule, Resource};
use crate::json;
use crate::patch::schema;

pub(super) static SERVICE_ACCOUNT: Resource = Resource {
    group: "",
    version: "v1",
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    short_names: &["sa"],
    namespaced: true,
    in_all: false,
    has_status: false,
    has_generation: false,
    has_scale: false,
    name_rule: NameRule::Subdomain,
    field_labels: &[],
    columns: &[Column::NAME, Column::text("Secrets"), Column::AGE],
    row,
    schema: &schema::SERVICE_ACCOUNT,
    decode: decode::<ServiceAccount>,
    default: |_| {},
    validate: |_, _, _| {},
};

fn row(account: &Value, now: Timestamp) -> Vec<Value> {
    let count = json::list(account, "/secrets").len();
    vec![json!(json::text(account, "/metadata/name")), json!(count), age(account, now)]
}
