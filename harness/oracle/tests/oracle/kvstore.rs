//! What etcd must hold, against what Cilium's own exporter wrote (`fixtures/vectors/kvstore`), and by hand.

use std::time::Duration;

use meshbed_events::Micros;
use meshbed_oracle::{Cut, Fate, Observers, Oracle};
use serde_json::{Value, json};
use test_case::test_case;

use crate::mesh::{Annotations, cluster, not_ready, oracle, ready, service, slice, tell, terminating};

const GLOBAL: Annotations<'static> = &[("service.cilium.io/global", "true")];
const KEY: &str = "cilium/state/services/v1/alpha/default/rebel-base";

/// The recorded objects that clustermesh-apiserver read, with the cluster IPs that its API server gave them.
fn recorded_mesh() -> Oracle {
    let text = std::fs::read_to_string("../../fixtures/vectors/kvstore/alpha-objects.yaml").expect("it is there");
    let mut oracle = oracle(Duration::ZERO).with_cluster_id(cluster("alpha"), 1);
    let ips = [
        ("rebel-base", "10.96.52.100"),
        ("vault", "10.96.188.225"),
        ("unshared", "10.96.0.3"),
        ("local-only", "10.96.0.4"),
    ];
    for document in text.split("\n---\n") {
        let mut object: Value = serde_saphyr::from_str(document).expect("it is YAML");
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if let Some((_, ip)) = ips.iter().find(|(service, _)| *service == name && object["kind"] == "Service") {
            object["spec"]["clusterIP"] = json!(ip);
        }
        if matches!(object["kind"].as_str(), Some("Service" | "EndpointSlice")) {
            tell(&mut oracle, 0, "alpha", &object);
        }
    }
    oracle
}

/// Recorded keys and values.
fn recorded(name: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(format!("../../fixtures/vectors/kvstore/{name}.jsonl")).expect("it is there");
    let pair = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("a JSON object a line");
        Some((line["key"].as_str()?.to_owned(), line["value"].as_str()?.to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

/// The recorded development version exported an endpoint that is neither ready nor serving; released ones do not.
#[test]
fn what_a_real_exporter_wrote() {
    let held = recorded("alpha-clustermesh-apiserver-1.20-dev");
    insta::assert_snapshot!(recorded_mesh().kvstore(&cluster("alpha")).differences(&held).join("\n"), @r#"
    key `cilium/state/services/v1/alpha/default/rebel-base`: backend 10.1.1.13 port "" should not be there
    "#);
}

#[test]
fn what_a_real_agent_took() {
    let mut oracle = oracle(Duration::ZERO).with_cluster_id(cluster("beta"), 2);
    let mut service = service(GLOBAL);
    service["spec"]["clusterIPs"] = json!(["10.97.0.10"]);
    service["spec"]["selector"] = json!({"name": "rebel-base"});
    let mut slice = slice(&[ready("10.2.0.11"), ready("10.2.0.12")]);
    slice["ports"][0]["port"] = json!(80);
    tell(&mut oracle, 0, "beta", &service);
    tell(&mut oracle, 0, "beta", &slice);
    assert_eq!(oracle.kvstore(&cluster("beta")).differences(&recorded("beta-hand-written")), Vec::<String>::new());
}

fn mesh() -> Oracle {
    let mut oracle = oracle(Duration::ZERO).with_cluster_id(cluster("alpha"), 1);
    tell(&mut oracle, 1000, "alpha", &service(GLOBAL));
    tell(&mut oracle, 1000, "alpha", &slice(&[ready("10.1.1.1"), terminating("10.1.1.2"), not_ready("10.1.1.3")]));
    oracle
}

fn value(backends: &[&str]) -> Value {
    let port = |port: u16| json!({"": {"Protocol": "TCP", "Port": port}});
    let backends: serde_json::Map<_, _> = backends.iter().map(|ip| ((*ip).to_owned(), port(8080))).collect();
    json!({
        "cluster": "alpha", "namespace": "default", "name": "rebel-base", "clusterID": 1,
        "frontends": {"10.101.0.10": port(80)}, "backends": backends,
        "labels": {}, "selector": {}, "includeExternal": true, "shared": true,
    })
}

/// An etcd with all that must be there, and these services.
fn etcd(services: &[(&str, Value)]) -> Vec<(String, String)> {
    let canaries = ["services", "nodes", "ip", "identities"]
        .map(|resource| (format!("cilium/synced/alpha/cilium/state/{resource}/v1"), "2026-01-01T00:00:00Z".to_owned()));
    let config = json!({"id": 1, "capabilities": {"syncedCanaries": true, "maxConnectedClusters": 255}}).to_string();
    let services = services.iter().map(|(key, value)| ((*key).to_owned(), value.to_string()));
    let config = ("cilium/cluster-config/alpha".to_owned(), config);
    canaries.into_iter().chain([config]).chain(services).collect()
}

fn wrong(oracle: &Oracle, held: &[(String, String)]) -> Vec<String> {
    oracle.kvstore(&cluster("alpha")).differences(held)
}

const RIGHT: &[&str] = &["10.1.1.1", "10.1.1.2"];

#[test]
fn the_right_keys() {
    assert_eq!(wrong(&mesh(), &etcd(&[(KEY, value(RIGHT))])), Vec::<String>::new());
}

/// The order of fields, unknown fields, `null` for nothing and IPv6 addresses do not matter.
#[test]
fn meaning_not_bytes() {
    let mut written = value(RIGHT);
    written["labels"] = Value::Null;
    written["zones"] = json!({});
    written["news"] = json!("of a later version");
    written["backends"]["fd00::11"] = json!({"": {"Protocol": "TCP", "Port": 8080}});
    written["hostnames"] = json!({"fd00::11": "pod"});
    assert_eq!(wrong(&mesh(), &etcd(&[(KEY, written)])), Vec::<String>::new());
}

fn changed(pointer: &str, to: Value) -> Value {
    let mut value = value(RIGHT);
    *value.pointer_mut(pointer).expect("the field is there") = to;
    value
}

#[test]
fn values_in_words() {
    let cases = [
        value(&["10.1.1.1"]),
        value(&["10.1.1.1", "10.1.1.2", "10.1.1.3"]),
        changed("/backends/10.1.1.1//Port", json!(9090)),
        changed("/backends/10.1.1.1//Port", json!("many")),
        changed("/frontends", json!({})),
        changed("/clusterID", json!(2)),
        changed("/clusterID", json!("one")),
        changed("/cluster", json!("beta")),
        changed("/shared", json!(false)),
        changed("/selector", json!({"app": "other"})),
        json!("no object"),
    ];
    let words: Vec<String> = cases
        .into_iter()
        .flat_map(|case| wrong(&mesh(), &etcd(&[(KEY, case)])).into_iter().chain(["--".to_owned()]))
        .collect();
    insta::assert_snapshot!(words.join("\n"), @r#"
    key `cilium/state/services/v1/alpha/default/rebel-base`: backend 10.1.1.2 port "" is missing
    --
    key `cilium/state/services/v1/alpha/default/rebel-base`: backend 10.1.1.3 port "" should not be there
    --
    key `cilium/state/services/v1/alpha/default/rebel-base`: backend 10.1.1.1 port "" is 9090/TCP, should be 8080/TCP
    --
    key `cilium/state/services/v1/alpha/default/rebel-base`: backend 10.1.1.1 port "" has no readable port
    --
    key `cilium/state/services/v1/alpha/default/rebel-base`: frontend 10.101.0.10 port "" is missing
    --
    key `cilium/state/services/v1/alpha/default/rebel-base`: `clusterID` is 2, which is another cluster's
    --
    key `cilium/state/services/v1/alpha/default/rebel-base`: there is no `clusterID`
    --
    key `cilium/state/services/v1/alpha/default/rebel-base`: cluster is beta, should be alpha
    --
    key `cilium/state/services/v1/alpha/default/rebel-base`: shared is false, should be true
    --
    key `cilium/state/services/v1/alpha/default/rebel-base`: selector app should not be there
    --
    key `cilium/state/services/v1/alpha/default/rebel-base`: the value is no JSON object
    --
    "#);
}

#[test]
fn keys_in_words() {
    let foreign = "cilium/state/services/v1/beta/default/rebel-base";
    let stray = "cilium/state/services/v1/alpha/default/stray";
    let mut held = etcd(&[(foreign, value(RIGHT)), (stray, value(RIGHT))]);
    held.retain(|(key, _)| !key.contains("/ip/"));
    for (key, value) in &mut held {
        if key.contains("cluster-config") {
            *value = json!({"id": 7, "capabilities": {"cached": true}}).to_string();
        }
    }
    held.push(("cilium/state/nodes/v1/alpha/alpha-1".to_owned(), "whatever".to_owned()));
    insta::assert_snapshot!(wrong(&mesh(), &held).join("\n"), @"
    key `cilium/synced/alpha/cilium/state/ip/v1` is missing
    key `cilium/cluster-config/alpha`: `id` is 7, should be 1
    key `cilium/cluster-config/alpha`: `syncedCanaries` should be true: the canaries are there
    key `cilium/cluster-config/alpha`: `cached` should not be true: the keys are under `cilium/state`
    key `cilium/state/services/v1/alpha/default/rebel-base` is missing
    key `cilium/state/services/v1/alpha/default/stray` should not be there: there is no such service
    key `cilium/state/services/v1/beta/default/rebel-base` should not be there: it belongs to another cluster
    ");
}

/// Without a known ID, all keys must have that of the configuration.
#[test_case(1 => 0 ; "the same")]
#[test_case(2 => 1 ; "another")]
fn ids_must_agree(id: u16) -> usize {
    let mut oracle = oracle(Duration::ZERO);
    tell(&mut oracle, 0, "alpha", &service(GLOBAL));
    let mut value = value(&[]);
    value["clusterID"] = json!(id);
    wrong(&oracle, &etcd(&[(KEY, value)])).len()
}

#[test_case(&[] => 1 ; "not global")]
#[test_case(&[GLOBAL[0], ("service.cilium.io/shared", "false")] => 1 ; "not shared")]
#[test_case(&[("io.cilium/global-service", "true")] => 0 ; "legacy name")]
fn exported(annotations: Annotations<'_>) -> usize {
    let mut oracle = mesh();
    tell(&mut oracle, 2000, "alpha", &service(annotations));
    wrong(&oracle, &etcd(&[(KEY, value(RIGHT))])).len()
}

#[test]
fn deleted_services_leave() {
    let mut oracle = mesh();
    oracle.service(Micros(2000), &cluster("alpha"), &service(GLOBAL), true).expect("readable");
    assert_eq!(wrong(&oracle, &etcd(&[])), Vec::<String>::new());
    assert_eq!(wrong(&oracle, &etcd(&[(KEY, value(RIGHT))])).len(), 1);
}

/// Nobody writes to the etcd from 2000 on; the only backend is replaced at 3000; from 4000 on leases expire.
#[test_case(Observers::Kvstore, 3500, Some(RIGHT) => true ; "old")]
#[test_case(Observers::Kvstore, 3500, Some(&["10.1.1.9"]) => true ; "new")]
#[test_case(Observers::Kvstore, 3500, None => false ; "gone too early")]
#[test_case(Observers::Kvstore, 4000, None => true ; "gone")]
#[test_case(Observers::All, 3500, Some(RIGHT) => true ; "all are cut, the etcd too")]
#[test_case(Observers::OtherClusters, 3500, Some(RIGHT) => false ; "only its readers are cut")]
fn cuts(observers: Observers, at: u64, backends: Option<&[&str]>) -> bool {
    let mut oracle = mesh();
    let fate = Fate::MayVanish { from: Micros(4000) };
    oracle.cut(Micros(2000), Cut::Knowledge { observers, about: cluster("alpha"), fate });
    tell(&mut oracle, 3000, "alpha", &slice(&[ready("10.1.1.9")]));
    let held = backends.map(|backends| etcd(&[(KEY, value(backends))])).unwrap_or_default();
    oracle.kvstore_at(Micros(at), &cluster("alpha")).differences(&held).is_empty()
}
