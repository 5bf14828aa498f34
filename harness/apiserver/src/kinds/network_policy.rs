//! Network policies: kept and served; whoever enforces them watches them.

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use super::age::age;
use super::decode::decode;
use super::{Column, NameRule, Resource};
use crate::json;
use crate::patch::schema;

pub(super) static NETWORK_POLICY: Resource = Resource {
    group: "networking.k8s.io",
    version: "v1",
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    short_names: &["netpol"],
    namespaced: true,
    in_all: false,
    has_status: false,
    has_generation: true,
    has_scale: false,
    name_rule: NameRule::Subdomain,
    field_labels: &[],
    columns: &[Column::NAME, Column::text("Pod-Selector"), Column::AGE],
    row,
    schema: &schema::PLAIN,
    decode: decode::<NetworkPolicy>,
    default,
    validate: |_, _, _| {},
};

fn default(policy: &mut Value) {
    let spec = json::child(policy, "spec");
    json::child(spec, "podSelector");
    let has_egress = !json::list(spec, "/egress").is_empty();
    let types = if has_egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    json::default(spec, "policyTypes", types);
    for rules in ["ingress", "egress"] {
        for rule in json::each(spec, rules) {
            json::each(rule, "ports").for_each(|port| json::default(port, "protocol", "TCP"));
        }
    }
}

fn row(policy: &Value, now: Timestamp) -> Vec<Value> {
    let labels = json::map(policy, "/spec/podSelector/matchLabels");
    let selected: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let selector = if selected.is_empty() { "<none>".to_owned() } else { selected.join(",") };
    vec![json!(json::text(policy, "/metadata/name")), json!(selector), age(policy, now)]
}
