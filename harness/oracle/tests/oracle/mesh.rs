//! Kubernetes objects of a mesh of two clusters, as an API server sends them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mesh_types::{ClusterName, FrontendAddress, ServiceKey};
use meshbed_events::{MapDifference, MapFrontend, MapState, Micros};
use meshbed_oracle::{Acceptable, AllowedBackend, FrontendChoice, FrontendTruth, Oracle};
use serde_json::{Value, json};

/// Annotations as key and value.
pub(crate) type Annotations<'a> = &'a [(&'a str, &'a str)];

pub(crate) fn cluster(name: &str) -> ClusterName {
    ClusterName::new(name).expect("a valid name")
}

pub(crate) fn rebel_base() -> ServiceKey {
    ServiceKey::new("default", "rebel-base")
}

pub(crate) fn oracle(grace: Duration) -> Oracle {
    let topology = ["alpha", "beta"].map(|name| (cluster(name), vec![format!("{name}-1"), format!("{name}-2")]));
    Oracle::new(topology, grace).with_observation_lag(Duration::ZERO)
}

/// Service `default/rebel-base`, port 80 without a name.
pub(crate) fn service(annotations: Annotations<'_>) -> Value {
    service_with_ports(annotations, json!([{"port": 80, "protocol": "TCP", "targetPort": 8080}]))
}

pub(crate) fn service_with_ports(annotations: Annotations<'_>, ports: Value) -> Value {
    let annotations: serde_json::Map<_, _> =
        annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "default", "name": "rebel-base", "annotations": annotations},
        "spec": {"clusterIP": "10.101.0.10", "clusterIPs": ["10.101.0.10"], "type": "ClusterIP", "ports": ports},
    })
}

/// A slice of `default/rebel-base` with the unnamed port 8080.
pub(crate) fn slice(endpoints: &[Value]) -> Value {
    slice_with_ports(endpoints, json!([{"name": "", "port": 8080, "protocol": "TCP"}]))
}

pub(crate) fn slice_with_ports(endpoints: &[Value], ports: Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": "default", "name": "rebel-base-abcde",
            "labels": {"kubernetes.io/service-name": "rebel-base"},
        },
        "endpoints": endpoints, "ports": ports,
    })
}

pub(crate) fn ready(ip: &str) -> Value {
    json!({"addresses": [ip], "conditions": {"ready": true, "serving": true, "terminating": false}})
}

pub(crate) fn terminating(ip: &str) -> Value {
    json!({"addresses": [ip], "conditions": {"ready": false, "serving": true, "terminating": true}})
}

pub(crate) fn terminating_not_serving(ip: &str) -> Value {
    json!({"addresses": [ip], "conditions": {"ready": false, "serving": false, "terminating": true}})
}

pub(crate) fn not_ready(ip: &str) -> Value {
    json!({"addresses": [ip], "conditions": {"ready": false, "serving": false, "terminating": false}})
}

/// Tells the oracle about an object at time `at`.
pub(crate) fn tell(oracle: &mut Oracle, at: u64, name: &str, object: &Value) {
    let cluster = cluster(name);
    let told = match object["kind"].as_str() {
        Some("Service") => oracle.service(Micros(at), &cluster, object, false),
        Some("EndpointSlice") => oracle.slice(Micros(at), &cluster, object, false),
        other => panic!("the oracle takes no {other:?}"),
    };
    told.expect("the objects here are readable");
}

/// Addresses allowed for clients of `name` at `at`, sorted.
pub(crate) fn allowed(oracle: &Oracle, at: u64, name: &str) -> Vec<String> {
    let allowed = oracle.allowed(Micros(at), &cluster(name), &rebel_base(), 80);
    allowed.iter().map(|AllowedBackend { cluster, address }| format!("{} {cluster}", address.ip)).collect()
}

/// What the newest truth of the first node of `name` says when there is just one possibility.
pub(crate) fn truth(oracle: &Oracle, name: &str) -> BTreeMap<FrontendAddress, FrontendTruth> {
    let truth = oracle.truth(&cluster(name), &format!("{name}-1"));
    let only = |(address, choice): (&FrontendAddress, &Arc<FrontendChoice>)| match &choice.acceptable {
        Acceptable::OneOf(truths) if truths.len() == 1 && !choice.may_be_absent => (*address, truths[0].clone()),
        other => panic!("more than one possibility: {other:?}"),
    };
    truth.frontends.iter().map(only).collect()
}

/// Maps that hold these frontends with their active and inactive backends.
pub(crate) fn maps(frontends: &[(&str, &[&str], &[&str])]) -> MapState {
    let texts = |side: &[&str]| side.iter().map(ToString::to_string).collect();
    let frontend = |(address, active, inactive): &(&str, &[&str], &[&str])| {
        (
            (*address).to_owned(),
            MapFrontend { active: texts(active), inactive: texts(inactive), ..MapFrontend::default() },
        )
    };
    MapState { frontends: frontends.iter().map(frontend).collect(), ..MapState::default() }
}

/// Kind and sentence of each difference, one a line.
pub(crate) fn lines(differences: &[MapDifference]) -> String {
    let line = |difference: &MapDifference| format!("{:?}: {difference}", difference.kind);
    differences.iter().map(line).collect::<Vec<_>>().join("\n")
}
