//! Deployments.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use super::age::age;
use super::decode::decode;
use super::{Column, Findings, NameRule, Resource, workload};
use crate::json;
use crate::patch::schema;

/// Old replica sets that are kept for a roll-back, unless the deployment says otherwise.
const REVISION_HISTORY_LIMIT: i64 = 10;
/// Seconds after which a roll-out without progress counts as stuck, unless the deployment says otherwise.
const PROGRESS_DEADLINE_SECONDS: i64 = 600;

pub(super) static DEPLOYMENT: Resource = Resource {
    group: "apps",
    version: "v1",
    kind: "Deployment",
    plural: "deployments",
    short_names: &["deploy"],
    namespaced: true,
    in_all: true,
    has_status: true,
    has_generation: true,
    has_scale: true,
    name_rule: NameRule::Subdomain,
    field_labels: &[],
    columns: &[
        Column::NAME,
        Column::text("Ready"),
        Column::integer("Up-to-date"),
        Column::integer("Available"),
        Column::AGE,
        Column::wide("Containers"),
        Column::wide("Images"),
        Column::wide("Selector"),
    ],
    row,
    schema: &schema::WORKLOAD,
    decode: decode::<Deployment>,
    default,
    validate,
};

fn row(deployment: &Value, now: Timestamp) -> Vec<Value> {
    let count = |pointer| json::number(deployment, pointer);
    let mut cells = vec![
        json!(json::text(deployment, "/metadata/name")),
        json!(format!("{}/{}", count("/status/readyReplicas"), count("/spec/replicas"))),
        json!(count("/status/updatedReplicas")),
        json!(count("/status/availableReplicas")),
        age(deployment, now),
    ];
    cells.extend(workload::wide_cells(deployment));
    cells
}

fn default(deployment: &mut Value) {
    workload::default(deployment);
    let spec = json::child(deployment, "spec");
    json::default(spec, "revisionHistoryLimit", REVISION_HISTORY_LIMIT);
    json::default(spec, "progressDeadlineSeconds", PROGRESS_DEADLINE_SECONDS);
    let strategy = json::child(spec, "strategy");
    json::default(strategy, "type", "RollingUpdate");
    if json::text(strategy, "/type") == "RollingUpdate" {
        let rolling = json::child(strategy, "rollingUpdate");
        json::default(rolling, "maxUnavailable", "25%");
        json::default(rolling, "maxSurge", "25%");
    }
    json::child(deployment, "status");
}

fn validate(deployment: &Value, old: Option<&Value>, findings: &mut Findings) {
    workload::validate(deployment, old, findings);
    let kind = json::text(deployment, "/spec/strategy/type");
    findings.one_of("spec.strategy.type", kind, &["Recreate", "RollingUpdate"]);
    let rolling = json::get(deployment, "/spec/strategy/rollingUpdate");
    if kind == "Recreate" && rolling.is_some_and(|rolling| !rolling.is_null()) {
        let words = "may not be specified when strategy `type` is 'Recreate'";
        findings.forbidden("spec.strategy.rollingUpdate", words);
    }
}
