//! Kubernetes objects of a mesh of two clusters, as an API server sends them.

use std::time::Duration;

use mesh_types::{ClusterName, ServiceKey};
use meshbed_events::Micros;
use meshbed_oracle::{AllowedBackend, Oracle};
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
    Oracle::new([cluster("alpha"), cluster("beta")], grace).with_observation_lag(Duration::ZERO)
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
