//! Custom resource definitions.

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use super::decode::decode;
use super::{Column, Findings, NameRule, Resource};
use crate::json;
use crate::patch::schema;

pub(super) static CUSTOM_RESOURCE_DEFINITION: Resource = Resource {
    group: "apiextensions.k8s.io",
    version: "v1",
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
    short_names: &["crd", "crds"],
    namespaced: false,
    in_all: false,
    has_status: true,
    has_generation: true,
    has_scale: false,
    name_rule: NameRule::Subdomain,
    field_labels: &[],
    columns: &[Column::NAME, Column::text("Created At")],
    row: |definition, _: Timestamp| {
        let text = |pointer| json!(json::text(definition, pointer));
        vec![text("/metadata/name"), text("/metadata/creationTimestamp")]
    },
    schema: &schema::CONDITIONS,
    decode: decode::<CustomResourceDefinition>,
    default,
    validate,
};

fn default(definition: &mut Value) {
    let spec = json::child(definition, "spec");
    json::default(spec, "conversion", json!({"strategy": "None"}));
    let names = json::child(spec, "names");
    let kind = json::text(names, "/kind").to_owned();
    json::default(names, "singular", kind.to_lowercase());
    json::default(names, "listKind", format!("{kind}List"));
}

fn validate(definition: &Value, old: Option<&Value>, findings: &mut Findings) {
    let text = |pointer| json::text(definition, pointer);
    for (field, pointer) in [
        ("spec.group", "/spec/group"),
        ("spec.names.plural", "/spec/names/plural"),
        ("spec.names.kind", "/spec/names/kind"),
    ] {
        if text(pointer).is_empty() {
            findings.required(field, "");
        }
    }
    let (plural, group) = (text("/spec/names/plural"), text("/spec/group"));
    let wanted = format!("{plural}.{group}");
    if text("/metadata/name") != wanted {
        let words = format!("must be spec.names.plural+\".\"+spec.group: {wanted}");
        findings.invalid("metadata.name", &definition["metadata"]["name"], &words);
    }
    findings.one_of("spec.scope", text("/spec/scope"), &["Cluster", "Namespaced"]);
    let stored = json::list(definition, "/spec/versions").iter().filter(|version| json::flag(version, "/storage"));
    if stored.count() != 1 {
        let words = "must have exactly one version marked as storage version";
        findings.invalid("spec.versions", &definition["spec"]["versions"], words);
    }
    if let Some(old) = old {
        for (field, pointer) in [
            ("spec.group", "/spec/group"),
            ("spec.scope", "/spec/scope"),
            ("spec.names.plural", "/spec/names/plural"),
            ("spec.names.kind", "/spec/names/kind"),
        ] {
            findings.immutable(field, json::get(old, pointer), json::get(definition, pointer));
        }
    }
}
