//! The spec of pods, on its own or inside a template: defaults and checks.

use serde_json::{Value, json};

use super::Findings;
use super::NameRule;
use super::names::name_problem;
use crate::json;

/// Seconds that a pod gets to end by itself.
const GRACE_PERIOD_SECONDS: i64 = 30;
/// Permission bits (0644) of files that come from config maps and secrets.
const FILE_MODE: i64 = 0o644;

/// Fills in what Kubernetes fills in for templates and pods alike.
pub(super) fn default(spec: &mut Value) {
    json::default(spec, "restartPolicy", "Always");
    json::default(spec, "terminationGracePeriodSeconds", GRACE_PERIOD_SECONDS);
    json::default(spec, "dnsPolicy", "ClusterFirst");
    json::default(spec, "schedulerName", "default-scheduler");
    json::child(spec, "securityContext");
    for list in ["initContainers", "containers"] {
        json::each(spec, list).for_each(default_container);
    }
    for volume in json::each(spec, "volumes") {
        for source in ["configMap", "secret"] {
            if let Some(source) = volume.get_mut(source) {
                json::default(source, "defaultMode", FILE_MODE);
            }
        }
    }
}

fn default_container(container: &mut Value) {
    json::child(container, "resources");
    json::default(container, "terminationMessagePath", "/dev/termination-log");
    json::default(container, "terminationMessagePolicy", "File");
    let image = json::text(container, "/image");
    let tag = image.rsplit('/').next().and_then(|name| name.split_once(':')).map(|(_, tag)| tag);
    let policy = match tag {
        _ if image.contains('@') => "IfNotPresent",
        None | Some("latest") => "Always",
        Some(_) => "IfNotPresent",
    };
    json::default(container, "imagePullPolicy", policy);
    json::each(container, "ports").for_each(|port| json::default(port, "protocol", "TCP"));
    for variable in json::each(container, "env") {
        if let Some(field) = variable.pointer_mut("/valueFrom/fieldRef") {
            json::default(field, "apiVersion", "v1");
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) {
            default_probe(probe);
        }
    }
}

fn default_probe(probe: &mut Value) {
    for (name, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        json::default(probe, name, value);
    }
    if let Some(get) = probe.get_mut("httpGet") {
        json::default(get, "path", "/");
        json::default(get, "scheme", "HTTP");
    }
}

/// Checks what would make a pod unable to run at all.
pub(super) fn validate(spec: &Value, field: &str, findings: &mut Findings) {
    let containers = json::list(spec, "/containers");
    if containers.is_empty() {
        findings.required(format!("{field}.containers"), "");
    }
    let mut names = Vec::new();
    for (list, containers) in [("containers", containers), ("initContainers", json::list(spec, "/initContainers"))] {
        for (index, container) in containers.iter().enumerate() {
            let field = format!("{field}.{list}[{index}]");
            let name = json::text(container, "/name");
            if name.is_empty() {
                findings.required(format!("{field}.name"), "");
            } else if let Some(problem) = name_problem(NameRule::Label, name) {
                findings.invalid(format!("{field}.name"), &json!(name), problem);
            } else if names.contains(&name) {
                findings.duplicate(format!("{field}.name"), &json!(name));
            }
            names.push(name);
            if json::text(container, "/image").is_empty() {
                findings.required(format!("{field}.image"), "");
            }
            validate_ports(container, &field, findings);
        }
    }
    let policy = json::text(spec, "/restartPolicy");
    findings.one_of(format!("{field}.restartPolicy"), policy, &["Always", "OnFailure", "Never"]);
}

fn validate_ports(container: &Value, field: &str, findings: &mut Findings) {
    for (index, port) in json::list(container, "/ports").iter().enumerate() {
        let number = json::number(port, "/containerPort");
        let field = format!("{field}.ports[{index}]");
        if number == 0 {
            findings.required(format!("{field}.containerPort"), "");
        } else if !(1..=65535).contains(&number) {
            findings.invalid(
                format!("{field}.containerPort"),
                &json!(number),
                "must be between 1 and 65535, inclusive",
            );
        }
        findings.one_of(format!("{field}.protocol"), json::text(port, "/protocol"), &["SCTP", "TCP", "UDP"]);
    }
}
