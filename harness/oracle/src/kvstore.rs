//! What a cluster's etcd must hold: its exports in Cilium's first service format, by meaning, not by bytes.

use std::collections::{BTreeMap, BTreeSet};

use mesh_types::{ClusterName, ServiceKey};
use meshbed_events::Micros;
use serde_json::Value;

use crate::{
    facts::{EndpointFacts, PortFacts, ServiceFacts, SliceFacts},
    knowledge::Knowledge,
    merge::ClusterView,
    service_history::ServiceHistory,
    worlds::{self, Worlds},
};

/// Prefix of everything that exporters write about services.
const SERVICES: &str = "cilium/state/services/v1/";

/// Prefixes for which every exporter must say that all of its keys are there, even if there are none.
const CANARIES: [&str; 4] = ["services", "nodes", "ip", "identities"];

/// What the etcd of a cluster must hold under `cilium/state/services/v1/`, its cluster configuration and its synced
/// canaries. Nodes, addresses and identities are not looked at, nor are IPv6 addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvTruth {
    cluster: ClusterName,
    id: Option<u16>,
    services: BTreeMap<ServiceKey, KvChoice>,
    /// The configuration and the canaries may be gone.
    may_be_gone: bool,
    /// They must be.
    gone: bool,
}

/// What is acceptable for one service.
#[derive(Clone, Debug, PartialEq, Eq)]
enum KvChoice {
    /// One of these, the newest first; `None` for no key.
    OneOf(Vec<Option<Export>>),
    /// Too many possibilities to look at: anything is.
    Anything,
}

/// An exported service as names and texts, such as `backend 10.1.0.11 port "http"` and `8080/TCP`.
type Export = BTreeMap<String, String>;

/// The truth about `cluster`, as far as whoever writes its etcd can know.
pub(crate) fn truth(
    cluster: &ClusterName,
    id: Option<u16>,
    services: &BTreeMap<ServiceKey, ServiceHistory>,
    at: Micros,
    knowledge: Knowledge,
) -> KvTruth {
    let choice = |(key, history): (&ServiceKey, &ServiceHistory)| {
        let own = history.clusters.get(cluster)?;
        let choice = match worlds::worlds_of(cluster, own, at, knowledge) {
            Worlds::Sampled(_) => KvChoice::Anything,
            Worlds::All(views) => {
                let mut exports = Vec::new();
                for view in views {
                    let export = view.get(cluster).and_then(|view| export(cluster, key, view));
                    if !exports.contains(&export) {
                        exports.push(export);
                    }
                }
                KvChoice::OneOf(exports)
            }
        };
        Some((key.clone(), choice))
    };
    KvTruth {
        cluster: cluster.clone(),
        id,
        services: services.iter().filter_map(choice).collect(),
        may_be_gone: matches!(knowledge, Knowledge::Since { maybe_gone: true, .. }),
        gone: knowledge == Knowledge::Gone,
    }
}

/// What the cluster exports for the service: it must be global and shared.
fn export(cluster: &ClusterName, key: &ServiceKey, view: &ClusterView) -> Option<Export> {
    let service = view.service.as_deref().filter(|service| service.global && service.shared)?;
    let mut export = Export::from([
        ("cluster".to_owned(), cluster.to_string()),
        ("namespace".to_owned(), key.namespace.clone()),
        ("name".to_owned(), key.name.clone()),
        ("shared".to_owned(), true.to_string()),
        ("includeExternal".to_owned(), true.to_string()),
    ]);
    export.extend(service.labels.iter().map(|(name, value)| (format!("label {name}"), value.clone())));
    export.extend(service.selector.iter().map(|(name, value)| (format!("selector {name}"), value.clone())));
    export.extend(export_frontend(service));
    for slice in view.slices.values() {
        // Whether it is ready, serving or terminating is lost on the way.
        for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready || endpoint.serving) {
            export.extend(export_endpoint(slice, endpoint));
        }
    }
    Some(export)
}

fn export_frontend(service: &ServiceFacts) -> Export {
    let Some(ip) = service.cluster_ip else { return Export::new() };
    export_ports("frontend", &ip.to_string(), &service.ports)
}

fn export_endpoint(slice: &SliceFacts, endpoint: &EndpointFacts) -> Export {
    let mut export = Export::new();
    for ip in &endpoint.addresses {
        export.extend(export_ports("backend", &ip.to_string(), &slice.ports));
        if let Some(hostname) = &endpoint.hostname {
            export.insert(format!("hostname of {ip}"), hostname.clone());
        }
        if let Some(zone) = &endpoint.zone {
            export.insert(format!("zone of {ip}"), zone_text(zone, endpoint.hints.iter().map(String::as_str)));
        }
    }
    export
}

fn export_ports(kind: &str, ip: &str, ports: &[PortFacts]) -> Export {
    let ports =
        ports.iter().map(|port| (port_name(kind, ip, &port.name), format!("{}/{}", port.number, port.protocol)));
    let export: Export = ports.collect();
    if export.is_empty() { without_ports(kind, ip) } else { export }
}

/// An address without ports is there, too.
fn without_ports(kind: &str, ip: &str) -> Export {
    Export::from([(format!("{kind} {ip} without ports"), "there".to_owned())])
}

fn port_name(kind: &str, ip: &str, port: &str) -> String {
    format!("{kind} {ip} port \"{port}\"")
}

fn zone_text<'a>(zone: &str, hints: impl Iterator<Item = &'a str>) -> String {
    let hints: Vec<&str> = hints.collect();
    format!("{zone}, for [{}]", hints.join(" "))
}

impl KvTruth {
    /// What is different in the keys and values of an etcd, one sentence each, sorted by key. Keys that are none of the
    /// oracle's business are passed over, so the whole content can be given.
    pub fn differences<K: AsRef<str>, V: AsRef<[u8]>>(&self, held: &[(K, V)]) -> Vec<String> {
        let held: BTreeMap<&str, &[u8]> = held.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect();
        let mut sentences = self.config_differences(&held);
        let id = self.id.map(u64::from).or_else(|| exported_id(held.get(self.config_key().as_str())?));
        let own = format!("{SERVICES}{}/", self.cluster);
        let mut known = BTreeSet::new();
        for (service, choice) in &self.services {
            let key = format!("{own}{}/{}", service.namespace, service.name);
            if let KvChoice::OneOf(choices) = choice {
                let found = held.get(key.as_str()).map(|value| read(value, id));
                sentences.extend(nearest(choices, found.as_ref()).into_iter().map(|what| format!("key `{key}`{what}")));
            }
            known.insert(key);
        }
        for key in held.keys().filter(|key| key.starts_with(SERVICES) && !known.contains(**key)) {
            let why = if key.starts_with(&own) { "there is no such service" } else { "it belongs to another cluster" };
            sentences.push(format!("key `{key}` should not be there: {why}"));
        }
        sentences
    }

    fn config_key(&self) -> String {
        format!("cilium/cluster-config/{}", self.cluster)
    }

    /// The cluster configuration and the canaries.
    fn config_differences(&self, held: &BTreeMap<&str, &[u8]>) -> Vec<String> {
        let mut sentences = Vec::new();
        let config = self.config_key();
        let canary = |resource: &str| format!("cilium/synced/{}/cilium/state/{resource}/v1", self.cluster);
        for key in CANARIES.iter().map(|resource| canary(resource)).chain([config.clone()]) {
            match held.contains_key(key.as_str()) {
                false if !self.gone && !self.may_be_gone => sentences.push(format!("key `{key}` is missing")),
                true if self.gone => sentences.push(format!("key `{key}` should not be there: it must be gone by now")),
                _ => {}
            }
        }
        if let Some(value) = held.get(config.as_str()) {
            sentences.extend(self.config_findings(value).into_iter().map(|what| format!("key `{config}`: {what}")));
        }
        sentences
    }

    fn config_findings(&self, value: &[u8]) -> Vec<String> {
        let Ok(config) = serde_json::from_slice::<Value>(value) else { return vec!["the value is no JSON".to_owned()] };
        let mut findings = Vec::new();
        match (config.get("id").and_then(Value::as_u64), self.id) {
            (None, _) => findings.push("there is no `id`".to_owned()),
            (Some(found), Some(id)) if found != u64::from(id) => {
                findings.push(format!("`id` is {found}, should be {id}"))
            }
            (Some(_), _) => {}
        }
        let flag =
            |name: &str| config.pointer(&format!("/capabilities/{name}")).and_then(Value::as_bool).unwrap_or(false);
        if !flag("syncedCanaries") {
            findings.push("`syncedCanaries` should be true: the canaries are there".to_owned());
        }
        if flag("cached") {
            findings.push("`cached` should not be true: the keys are under `cilium/state`".to_owned());
        }
        findings
    }
}

/// Reads a service's value, or says why that is impossible. The cluster ID is noted only when it is not `id`.
fn read(value: &[u8], id: Option<u64>) -> Result<Export, String> {
    let value: Value = serde_json::from_slice(value).map_err(|_| "the value is no JSON".to_owned())?;
    let object = value.as_object().ok_or("the value is no JSON object")?;
    let mut export = Export::new();
    for name in ["cluster", "namespace", "name", "shared", "includeExternal"] {
        if let Some(found) = object.get(name) {
            export.insert(name.to_owned(), found.as_str().map_or_else(|| found.to_string(), str::to_owned));
        }
    }
    let found = object.get("clusterID").and_then(Value::as_u64).ok_or("there is no `clusterID`")?;
    if id.is_some_and(|id| id != found) {
        export.insert("clusterID".to_owned(), found.to_string());
    }
    for (kind, field) in [("frontend", "frontends"), ("backend", "backends")] {
        export.extend(read_addresses(kind, object.get(field))?);
    }
    for (prefix, field) in [("label", "labels"), ("selector", "selector"), ("hostname of", "hostnames")] {
        for (name, value) in entries(object.get(field)).filter(|(name, _)| !is_ipv6(name)) {
            export.insert(format!("{prefix} {name}"), value.as_str().unwrap_or_default().to_owned());
        }
    }
    for (ip, zone) in entries(object.get("zones")).filter(|(ip, _)| !is_ipv6(ip)) {
        let text = |value: &Value, name| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let hints = zone.get("forZones").and_then(Value::as_array).into_iter().flatten();
        let hints: Vec<String> = hints.map(|hint| text(hint, "name")).collect();
        let zone = text(zone, "zone");
        export.insert(format!("zone of {ip}"), zone_text(&zone, hints.iter().map(String::as_str)));
    }
    Ok(export)
}

/// The ID of a cluster configuration.
fn exported_id(config: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Value>(config).ok()?.get("id")?.as_u64()
}

fn is_ipv6(address: &str) -> bool {
    address.parse::<std::net::Ipv6Addr>().is_ok()
}

/// `{"10.1.0.11": {"http": {"Protocol": "TCP", "Port": 8080}}}`. IPv6 addresses are passed over.
fn read_addresses(kind: &str, addresses: Option<&Value>) -> Result<Export, String> {
    let mut export = Export::new();
    for (ip, ports) in entries(addresses).filter(|(ip, _)| !is_ipv6(ip)) {
        if entries(Some(ports)).next().is_none() {
            export.extend(without_ports(kind, ip));
        }
        for (name, port) in entries(Some(ports)) {
            let number = port.get("Port").and_then(Value::as_u64);
            let protocol = port.get("Protocol").and_then(Value::as_str);
            let (Some(number), Some(protocol)) = (number, protocol) else {
                return Err(format!("{} has no readable port", port_name(kind, ip, name)));
            };
            export.insert(port_name(kind, ip, name), format!("{number}/{protocol}"));
        }
    }
    Ok(export)
}

fn entries(object: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    object.and_then(Value::as_object).into_iter().flatten()
}

/// What is different from the choice that is nearest.
fn nearest(choices: &[Option<Export>], found: Option<&Result<Export, String>>) -> Vec<String> {
    let findings = choices.iter().map(|choice| match (choice, found) {
        (None, None) => Vec::new(),
        (Some(_), None) => vec![" is missing".to_owned()],
        (None, Some(_)) => vec![" should not be there: the service is not exported".to_owned()],
        (Some(_), Some(Err(why))) => vec![format!(": {why}")],
        (Some(right), Some(Ok(found))) => compare(right, found).into_iter().map(|what| format!(": {what}")).collect(),
    });
    findings.min_by_key(Vec::len).unwrap_or_default()
}

fn compare(right: &Export, found: &Export) -> Vec<String> {
    let names: BTreeSet<&String> = right.keys().chain(found.keys()).collect();
    let mut sentences = Vec::new();
    for name in names {
        match (right.get(name), found.get(name)) {
            (Some(right), Some(found)) if right != found => {
                sentences.push(format!("{name} is {found}, should be {right}"))
            }
            (Some(_), None) => sentences.push(format!("{name} is missing")),
            (None, Some(found)) if name == "clusterID" => {
                sentences.push(format!("`clusterID` is {found}, which is another cluster's"))
            }
            (None, Some(_)) => sentences.push(format!("{name} should not be there")),
            _ => {}
        }
    }
    sentences
}
