//! What deployments and replica sets share: a selector, a count and a pod template.

use serde_json::{Value, json};

use super::pod_template;
use super::{Findings, names};
use crate::json;
use crate::store::LabelSelector;

/// Checks `spec.replicas`, `spec.selector` and `spec.template`.
pub(super) fn validate(workload: &Value, old: Option<&Value>, findings: &mut Findings) {
    let replicas = json::number(workload, "/spec/replicas");
    if replicas < 0 {
        findings.invalid("spec.replicas", &json!(replicas), "must be greater than or equal to 0");
    }
    let empty = json!({});
    let selector = json::get(workload, "/spec/selector").unwrap_or(&empty);
    let requirements = LabelSelector::from_object(selector);
    let template = json::get(workload, "/spec/template").unwrap_or(&empty);
    if requirements.is_empty() {
        findings.required("spec.selector", "");
        findings.invalid("spec.selector", selector, "empty selector is invalid for deployment");
    } else if !requirements.matches(template) {
        let labels = json::get(template, "/metadata/labels").unwrap_or(&empty);
        findings.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`");
    }
    if let Some(old) = old {
        findings.immutable("spec.selector", json::get(old, "/spec/selector"), Some(selector));
    }
    names::validate_labels(json::map(template, "/metadata/labels"), "spec.template.metadata.labels", findings);
    pod_template::validate(template.get("spec").unwrap_or(&empty), "spec.template.spec", findings);
    let policy = json::text(template, "/spec/restartPolicy");
    findings.one_of("spec.template.spec.restartPolicy", policy, &["Always"]);
}

/// Fills in `spec.replicas` and the template.
pub(super) fn default(workload: &mut Value) {
    let spec = json::child(workload, "spec");
    json::default(spec, "replicas", 1);
    let template = json::child(spec, "template");
    json::child(template, "metadata");
    pod_template::default(json::child(template, "spec"));
}

/// The cells `Containers`, `Images` and `Selector` of wide output.
pub(super) fn wide_cells(workload: &Value) -> [Value; 3] {
    let containers = json::list(workload, "/spec/template/spec/containers");
    let join = |field| {
        let texts: Vec<&str> = containers.iter().map(|container| json::text(container, field)).collect();
        json!(texts.join(","))
    };
    let selector = json::get(workload, "/spec/selector").map(print_selector).unwrap_or_default();
    [join("/name"), join("/image"), json!(selector)]
}

/// A `LabelSelector` object as text.
fn print_selector(selector: &Value) -> String {
    let mut parts: Vec<String> = json::map(selector, "/matchLabels")
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    parts.sort_unstable();
    for expression in json::list(selector, "/matchExpressions") {
        let key = json::text(expression, "/key");
        let values: Vec<&str> = json::list(expression, "/values").iter().filter_map(Value::as_str).collect();
        parts.push(match json::text(expression, "/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    match parts.is_empty() {
        true => "<none>".to_owned(),
        false => parts.join(","),
    }
}
