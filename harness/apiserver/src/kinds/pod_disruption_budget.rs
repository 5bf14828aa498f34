//! Pod disruption budgets.

use jiff::Timestamp;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

use super::age::age;
use super::decode::decode;
use super::{Column, Findings, NameRule, Resource};
use crate::json;
use crate::patch::schema;

pub(super) static POD_DISRUPTION_BUDGET: Resource = Resource {
    group: "policy",
    version: "v1",
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
    short_names: &["pdb"],
    namespaced: true,
    in_all: false,
    has_status: true,
    has_generation: true,
    has_scale: false,
    name_rule: NameRule::Subdomain,
    field_labels: &[],
    columns: &[
        Column::NAME,
        Column::text("Min Available"),
        Column::text("Max Unavailable"),
        Column::integer("Allowed Disruptions"),
        Column::AGE,
    ],
    row,
    schema: &schema::CONDITIONS,
    decode: decode::<PodDisruptionBudget>,
    default: |budget| {
        json::child(budget, "spec");
    },
    validate,
};

fn row(budget: &Value, now: Timestamp) -> Vec<Value> {
    let bound = |pointer| match json::get(budget, pointer) {
        Some(Value::String(text)) => json!(text),
        Some(Value::Number(number)) => json!(number.to_string()),
        _ => json!("N/A"),
    };
    vec![
        json!(json::text(budget, "/metadata/name")),
        bound("/spec/minAvailable"),
        bound("/spec/maxUnavailable"),
        json!(json::number(budget, "/status/disruptionsAllowed")),
        age(budget, now),
    ]
}

fn validate(budget: &Value, _old: Option<&Value>, findings: &mut Findings) {
    let bounds = ["minAvailable", "maxUnavailable"];
    let given = |name: &&str| budget["spec"].get(*name).is_some_and(|bound| !bound.is_null());
    if bounds.iter().filter(|name| given(name)).count() > 1 {
        findings.invalid("spec", &budget["spec"], "minAvailable and maxUnavailable cannot be both set");
    }
    for name in bounds {
        let bound = &budget["spec"][name];
        let valid = match bound {
            Value::Null => true,
            Value::Number(number) => number.as_u64().is_some(),
            Value::String(text) => percentage(text).is_some(),
            _ => false,
        };
        if !valid {
            let words = "must be a non-negative integer or a percentage from 0% to 100%";
            findings.invalid(format!("spec.{name}"), bound, words);
        }
    }
}

/// Reads `50%`.
pub(crate) fn percentage(text: &str) -> Option<u64> {
    text.strip_suffix('%')?.parse().ok().filter(|percent| *percent <= 100)
}
