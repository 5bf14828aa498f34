//! The oracle against what Cilium's own agent put into its maps (`fixtures/vectors`).

use std::{collections::BTreeSet, time::Duration};

use mesh_types::BackendAddress;
use serde_json::{Value, json};

use crate::mesh::{oracle, tell, truth};

/// The objects of a recorded Kubernetes list.
fn objects(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(format!("../../fixtures/vectors/input/{name}.yaml")).expect("it is there");
    let list: Value = serde_saphyr::from_str(&text).expect("it is YAML");
    list["items"].as_array().expect("it is a list").clone()
}

/// Frontends and their backends from the recorded output of `cilium-dbg bpf lb list`, which has rows such as
/// `10.96.22.45:80/TCP (1)   10.1.0.11:80/TCP (5) (1)`.
fn recorded() -> Vec<(String, String)> {
    let text = std::fs::read_to_string("../../fixtures/vectors/cli/bpf-lb-list.txt").expect("it is there");
    let mut rows = BTreeSet::new();
    for line in text.lines().skip(2) {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Slot 0 is the frontend itself; node ports and wildcards are no cluster-IP frontends.
        let is_backend = words[1] != "(0)";
        if is_backend && words[0].starts_with("10.96.") {
            rows.insert((words[0].to_owned(), words[2].to_owned()));
        }
    }
    rows.into_iter().collect()
}

#[test]
fn the_maps_of_a_real_agent() {
    let mut oracle = oracle(Duration::ZERO);
    for object in objects("services").iter().chain(&objects("endpointslices")) {
        tell(&mut oracle, 0, "alpha", object);
    }
    // What the recorded remote cluster exported (`kvstore/beta-hand-written.jsonl`), as the objects behind it.
    let metadata = json!({"namespace": "default", "name": "rebel-base", "labels": {"kubernetes.io/service-name": "rebel-base"},
        "annotations": {"service.cilium.io/global": "true"}});
    let service =
        json!({"kind": "Service", "metadata": metadata, "spec": {"clusterIP": "10.97.0.10", "ports": [{"port": 80}]}});
    let endpoints = json!([{"addresses": ["10.2.0.11"]}, {"addresses": ["10.2.0.12"]}]);
    let slice = json!({"kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4",
        "endpoints": endpoints, "ports": [{"name": "", "port": 80, "protocol": "TCP"}]});
    tell(&mut oracle, 0, "beta", &service);
    tell(&mut oracle, 0, "beta", &slice);

    let mut rows = BTreeSet::new();
    let mut inactive = Vec::new();
    for (address, frontend) in truth(&oracle, "alpha") {
        let text = |backend: &BackendAddress| (address.to_string(), backend.to_string());
        rows.extend(frontend.active.iter().chain(&frontend.inactive).map(text));
        inactive.extend(frontend.inactive.iter().map(text));
    }
    assert_eq!(rows.into_iter().collect::<Vec<_>>(), recorded());
    // `cilium-dbg service list` of the same moment calls exactly this one terminating.
    assert_eq!(inactive, [("10.96.101.65:8080/TCP".to_owned(), "10.9.0.51:8080/TCP".to_owned())]);
}
