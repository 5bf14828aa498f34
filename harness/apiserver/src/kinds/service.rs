//! Services: defaults, checks and columns. Addresses and node ports are handed out by the registry.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::age::age;
use super::decode::decode;
use super::{Column, Findings, NameRule, Resource};
use crate::json;
use crate::patch::schema;

/// Seconds that session affinity lasts by default: three hours.
const AFFINITY_SECONDS: i64 = 10_800;

pub(super) static SERVICE: Resource = Resource {
    group: "",
    version: "v1",
    kind: "Service",
    plural: "services",
    short_names: &["svc"],
    namespaced: true,
    in_all: true,
    has_status: true,
    has_generation: false,
    has_scale: false,
    name_rule: NameRule::Label1035,
    field_labels: &["spec.clusterIP", "spec.type"],
    columns: &[
        Column::NAME,
        Column::text("Type"),
        Column::text("Cluster-IP"),
        Column::text("External-IP"),
        Column::text("Port(s)"),
        Column::AGE,
        Column::wide("Selector"),
    ],
    row,
    schema: &schema::SERVICE,
    decode: decode::<Service>,
    default,
    validate,
};

fn row(service: &Value, now: Timestamp) -> Vec<Value> {
    let text = |pointer| json::text(service, pointer);
    let kind = text("/spec/type");
    let cluster_ip = if text("/spec/clusterIP").is_empty() { "<none>" } else { text("/spec/clusterIP") };
    let selector: Vec<String> = json::map(service, "/spec/selector")
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    vec![
        json!(text("/metadata/name")),
        json!(kind),
        json!(cluster_ip),
        json!(external_ips(service, kind)),
        json!(ports(service)),
        age(service, now),
        json!(if selector.is_empty() { "<none>".to_owned() } else { selector.join(",") }),
    ]
}

fn external_ips(service: &Value, kind: &str) -> String {
    let given: Vec<&str> = json::list(service, "/spec/externalIPs").iter().filter_map(Value::as_str).collect();
    let ingress = json::list(service, "/status/loadBalancer/ingress");
    let ingress: Vec<&str> = ingress.iter().map(|ingress| json::text(ingress, "/ip")).collect();
    match kind {
        "ExternalName" => json::text(service, "/spec/externalName").to_owned(),
        "LoadBalancer" if given.is_empty() && ingress.is_empty() => "<pending>".to_owned(),
        _ if given.is_empty() && ingress.is_empty() => "<none>".to_owned(),
        _ => [ingress, given].concat().join(","),
    }
}

fn ports(service: &Value) -> String {
    let ports = json::list(service, "/spec/ports").iter().map(|port| {
        let (number, protocol) = (json::number(port, "/port"), json::text(port, "/protocol"));
        match json::number(port, "/nodePort") {
            0 => format!("{number}/{protocol}"),
            node_port => format!("{number}:{node_port}/{protocol}"),
        }
    });
    let ports: Vec<String> = ports.collect();
    if ports.is_empty() { "<none>".to_owned() } else { ports.join(",") }
}

fn default(service: &mut Value) {
    let spec = json::child(service, "spec");
    json::default(spec, "type", "ClusterIP");
    json::default(spec, "sessionAffinity", "None");
    if json::text(spec, "/sessionAffinity") == "ClientIP" {
        let config = json::child(json::child(spec, "sessionAffinityConfig"), "clientIP");
        json::default(config, "timeoutSeconds", AFFINITY_SECONDS);
    }
    for port in json::each(spec, "ports") {
        json::default(port, "protocol", "TCP");
        if port.get("targetPort").is_none_or(|target| target.is_null() || *target == 0 || target == "") {
            let number = port.get("port").cloned();
            json::assign(port, "targetPort", number);
        }
    }
    let kind = json::text(spec, "/type").to_owned();
    if kind != "ExternalName" {
        json::default(spec, "internalTrafficPolicy", "Cluster");
        json::default(spec, "ipFamilies", json!(["IPv4"]));
        json::default(spec, "ipFamilyPolicy", "SingleStack");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        json::default(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        json::default(spec, "allocateLoadBalancerNodePorts", true);
    }
    json::child(json::child(service, "status"), "loadBalancer");
}

fn validate(service: &Value, old: Option<&Value>, findings: &mut Findings) {
    let kind = json::text(service, "/spec/type");
    findings.one_of("spec.type", kind, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    findings.one_of("spec.sessionAffinity", json::text(service, "/spec/sessionAffinity"), &["ClientIP", "None"]);
    if kind == "ExternalName" && json::text(service, "/spec/externalName").is_empty() {
        findings.required("spec.externalName", "");
    }
    let ports = json::list(service, "/spec/ports");
    let headless = json::text(service, "/spec/clusterIP") == "None";
    if ports.is_empty() && kind != "ExternalName" && !headless {
        findings.required("spec.ports", "");
    }
    validate_ports(ports, findings);
    let families = json::list(service, "/spec/ipFamilies");
    if let Some(index) = families.iter().position(|family| family != "IPv4") {
        let words = "not configured on this cluster";
        findings.invalid(format!("spec.ipFamilies[{index}]"), &families[index], words);
    }
    if let Some(old) = old
        && !matches!(json::text(old, "/spec/type"), "ExternalName")
        && kind != "ExternalName"
        && !json::text(old, "/spec/clusterIP").is_empty()
    {
        let pointer = "/spec/clusterIP";
        let (old, new) = (json::text(old, pointer), json::text(service, pointer));
        if old != new {
            findings.invalid("spec.clusterIPs[0]", &json!(new), "may not change once set");
        }
    }
}

fn validate_ports(ports: &[Value], findings: &mut Findings) {
    for (index, port) in ports.iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        let name = json::text(port, "/name");
        if name.is_empty() && ports.len() > 1 {
            findings.required(format!("{field}.name"), "");
        } else if ports[..index].iter().any(|other| json::text(other, "/name") == name) {
            findings.duplicate(format!("{field}.name"), &json!(name));
        }
        let number = json::number(port, "/port");
        if !(1..=65535).contains(&number) {
            findings.invalid(format!("{field}.port"), &json!(number), "must be between 1 and 65535, inclusive");
        }
        findings.one_of(format!("{field}.protocol"), json::text(port, "/protocol"), &["SCTP", "TCP", "UDP"]);
        if let Some(target) = port.get("targetPort").and_then(Value::as_i64)
            && !(1..=65535).contains(&target)
        {
            findings.invalid(format!("{field}.targetPort"), &json!(target), "must be between 1 and 65535, inclusive");
        }
        let same = |other: &&Value| {
            json::number(other, "/port") == number && json::text(other, "/protocol") == json::text(port, "/protocol")
        };
        if ports[..index].iter().any(|other| same(&other)) {
            let pair = json!({"port": number, "protocol": json::text(port, "/protocol")});
            findings.duplicate(field, &pair);
        }
    }
}
