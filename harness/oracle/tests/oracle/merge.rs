//! Rules of the merge that are not about annotations: ports, conditions, missing objects.

use std::time::Duration;

use crate::mesh::{
    Annotations, allowed, cluster, not_ready, oracle, ready, service, service_with_ports, slice, slice_with_ports,
    tell, terminating, terminating_not_serving, truth,
};
use meshbed_events::{DifferenceKind, MapFrontend, MapState, Micros};
use meshbed_oracle::Oracle;
use serde_json::{Value, json};
use test_case::test_case;

const GLOBAL: Annotations<'static> = &[("service.cilium.io/global", "true")];

fn world(objects: &[(&str, Value)]) -> Oracle {
    let mut oracle = oracle(Duration::ZERO);
    for (name, object) in objects {
        tell(&mut oracle, 0, name, object);
    }
    oracle
}

/// Alpha's frontend port and beta's port behind it: does beta's backend count?
#[test_case("http", "http", 9090 => true ; "same name, numbers do not matter")]
#[test_case("http", "web", 80 => false ; "other name, although the number is the same")]
#[test_case("", "web", 9090 => true ; "unnamed frontend takes every backend")]
#[test_case("http", "", 9090 => true ; "unnamed backend serves every frontend")]
#[test_case("", "", 9090 => true ; "no names at all")]
fn port_names(frontend: &str, backend: &str, number: u16) -> bool {
    let oracle = world(&[
        ("alpha", service_with_ports(GLOBAL, json!([{"name": frontend, "port": 80}]))),
        ("beta", service_with_ports(GLOBAL, json!([{"name": backend, "port": 80}]))),
        ("beta", slice_with_ports(&[ready("10.2.1.1")], json!([{"name": backend, "port": number}]))),
    ]);
    !allowed(&oracle, 0, "alpha").is_empty()
}

#[test]
fn protocols_must_be_equal() {
    let oracle = world(&[
        ("alpha", service(GLOBAL)),
        ("beta", service(GLOBAL)),
        ("beta", slice_with_ports(&[ready("10.2.1.1")], json!([{"name": "", "port": 80, "protocol": "UDP"}]))),
    ]);
    assert_eq!(allowed(&oracle, 0, "alpha"), Vec::<String>::new());
}

/// Two names for one port are one backend that answers to both.
#[test_case("a" => 1 ; "first name")]
#[test_case("b" => 1 ; "second name")]
#[test_case("c" => 0 ; "neither")]
fn one_address_under_two_names(frontend: &str) -> usize {
    let ports = json!([{"name": "a", "port": 8080}, {"name": "b", "port": 8080}]);
    let oracle = world(&[
        ("alpha", service_with_ports(GLOBAL, json!([{"name": frontend, "port": 80}]))),
        ("alpha", slice_with_ports(&[ready("10.1.1.1")], ports)),
    ]);
    allowed(&oracle, 0, "alpha").len()
}

/// What alpha sees of one endpoint when it is its own, and when it is beta's.
#[test_case(&json!({}) => (true, true) ; "no conditions mean ready")]
#[test_case(&json!({"ready": false}) => (false, false) ; "not ready, serving unknown")]
#[test_case(&json!({"ready": false, "serving": true, "terminating": true}) => (true, true) ; "terminating but serving, alone")]
#[test_case(&json!({"ready": false, "serving": false, "terminating": true}) => (false, false) ; "terminating, not serving")]
#[test_case(&json!({"ready": true, "serving": false}) => (true, true) ; "ready is enough")]
#[test_case(&json!({"ready": false, "serving": true}) => (false, true) ; "serving alone is exported and not used at home")]
fn conditions(conditions: &Value) -> (bool, bool) {
    let seen = |owner: &str| {
        let endpoint = json!({"addresses": ["10.9.9.9"], "conditions": conditions});
        let oracle = world(&[("alpha", service(GLOBAL)), ("beta", service(GLOBAL)), (owner, slice(&[endpoint]))]);
        !allowed(&oracle, 0, "alpha").is_empty()
    };
    (seen("alpha"), seen("beta"))
}

#[test]
fn without_an_own_service_there_is_no_frontend() {
    let oracle = world(&[("beta", service(GLOBAL)), ("beta", slice(&[ready("10.2.1.1")]))]);
    assert_eq!(allowed(&oracle, 0, "alpha"), Vec::<String>::new());
    assert_eq!(truth(&oracle, "alpha").len(), 0);
}

#[test]
fn a_headless_service_has_no_frontend_and_still_exports() {
    let mut headless = service(GLOBAL);
    headless["spec"]["clusterIP"] = json!("None");
    headless["spec"]["clusterIPs"] = json!(["None"]);
    let oracle = world(&[("alpha", service(GLOBAL)), ("beta", headless), ("beta", slice(&[ready("10.2.1.1")]))]);
    assert_eq!(truth(&oracle, "beta").len(), 0);
    assert_eq!(allowed(&oracle, 0, "alpha"), ["10.2.1.1 beta"]);
}

#[test]
fn deleted_objects_count_no_more() {
    let mut oracle = world(&[
        ("alpha", service(GLOBAL)),
        ("alpha", slice(&[ready("10.1.1.1")])),
        ("beta", service(GLOBAL)),
        ("beta", slice(&[ready("10.2.1.1")])),
    ]);
    oracle.slice(Micros(10), &cluster("alpha"), &slice(&[]), true).expect("readable");
    oracle.service(Micros(20), &cluster("beta"), &service(&[]), true).expect("readable");
    assert_eq!(allowed(&oracle, 9, "alpha"), ["10.1.1.1 alpha", "10.2.1.1 beta"]);
    assert_eq!(allowed(&oracle, 10, "alpha"), ["10.2.1.1 beta"]);
    assert_eq!(allowed(&oracle, 20, "alpha"), Vec::<String>::new());
}

#[test]
fn a_slice_that_changes_hands_leaves_its_service() {
    let mut oracle = world(&[("alpha", service(GLOBAL)), ("alpha", slice(&[ready("10.1.1.1")]))]);
    let mut other = slice(&[ready("10.1.1.1")]);
    other["metadata"]["labels"]["kubernetes.io/service-name"] = json!("death-star");
    tell(&mut oracle, 5, "alpha", &other);
    assert_eq!(allowed(&oracle, 5, "alpha"), Vec::<String>::new());
}

#[test]
fn an_unreadable_object_is_an_error() {
    let mut oracle = oracle(Duration::ZERO);
    let nameless = json!({"kind": "Service", "metadata": {"namespace": "default"}});
    let error = oracle.service(Micros(0), &cluster("alpha"), &nameless, false).expect_err("it has no name");
    assert_eq!(error.to_string(), "object has no readable `/metadata/name`: Service default/?");
    let wrong = service_with_ports(&[], json!([{"port": 70000}]));
    let error = oracle.service(Micros(0), &cluster("alpha"), &wrong, false).expect_err("its port is too large");
    assert_eq!(error.to_string(), "object has no readable `/ports/port`: Service default/rebel-base");
}

#[test]
fn truth_names_frontends_and_both_kinds_of_backends() {
    let endpoints =
        [ready("10.1.1.1"), terminating("10.1.1.2"), terminating_not_serving("10.1.1.3"), not_ready("10.1.1.4")];
    let mut kubernetes = service_with_ports(&[], json!([{"name": "https", "port": 443}]));
    kubernetes["metadata"]["name"] = json!("kubernetes");
    kubernetes["spec"]["clusterIPs"] = json!(["10.101.0.1"]);
    let mut api = slice_with_ports(&[ready("172.18.1.2")], json!([{"name": "https", "port": 6443}]));
    api["metadata"]["name"] = json!("kubernetes");
    api["metadata"]["labels"]["kubernetes.io/service-name"] = json!("kubernetes");
    let oracle = world(&[
        ("alpha", kubernetes),
        ("alpha", api),
        ("alpha", service(GLOBAL)),
        ("alpha", slice(&endpoints)),
        ("beta", service(GLOBAL)),
        ("beta", slice(&[ready("10.2.1.1"), terminating("10.2.1.2")])),
    ]);
    let truth = truth(&oracle, "alpha");
    let lines: Vec<String> = truth
        .iter()
        .map(|(address, truth)| {
            let text = |side: &std::collections::BTreeSet<mesh_types::BackendAddress>| {
                side.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            };
            let (active, inactive, tolerated) = (text(&truth.active), text(&truth.inactive), text(&truth.tolerated));
            format!("{address} {} active [{active}] inactive [{inactive}] tolerated [{tolerated}]", truth.service)
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    10.101.0.1:443/TCP default/kubernetes active [172.18.1.2:6443/TCP] inactive [] tolerated []
    10.101.0.10:80/TCP default/rebel-base active [10.1.1.1:8080/TCP 10.2.1.1:8080/TCP 10.2.1.2:8080/TCP] inactive [10.1.1.2:8080/TCP] tolerated [10.1.1.3:8080/TCP]
    ");
}

#[test]
fn an_external_name_is_no_service_of_ours() {
    let mut alias = service(GLOBAL);
    alias["spec"]["type"] = json!("ExternalName");
    let oracle = world(&[
        ("alpha", service(GLOBAL)),
        ("beta", alias),
        ("alpha", slice(&[ready("10.1.1.1")])),
        ("beta", slice(&[ready("10.2.1.1")])),
    ]);
    assert_eq!(allowed(&oracle, 0, "alpha"), ["10.1.1.1 alpha"], "it is not exported");
    assert_eq!(allowed(&oracle, 0, "beta"), Vec::<String>::new(), "it has no frontend");
}

/// What must not matter: who may answer is the same with and without.
#[test_case(&|service| service["spec"]["type"] = json!("NodePort") ; "node ports")]
#[test_case(&|service| service["metadata"]["annotations"]["service.cilium.io/global-sync-endpoint-slices"] = json!("true") ; "mirrored slices")]
#[test_case(&|service| service["spec"]["clusterIPs"] = json!(["fd00::1", "10.101.0.10"]) ; "two families")]
#[test_case(&|service| service["spec"]["selector"] = json!({"other": "pods"}) ; "selectors")]
fn of_no_consequence(change: &dyn Fn(&mut Value)) {
    let mut changed = service(GLOBAL);
    change(&mut changed);
    let asked = |service: &Value| {
        let oracle = world(&[
            ("alpha", service.clone()),
            ("beta", service.clone()),
            ("alpha", slice(&[ready("10.1.1.1")])),
            ("beta", slice(&[ready("10.2.1.1")])),
        ]);
        (allowed(&oracle, 0, "alpha"), truth(&oracle, "alpha"))
    };
    assert_eq!(asked(&changed), asked(&service(GLOBAL)));
}

/// A terminating backend at home does not hold traffic there, a ready one does; one that is not ready never counts.
#[test_case(&[ready("10.1.1.1")] => vec!["10.1.1.1 alpha"] ; "ready")]
#[test_case(&[terminating("10.1.1.1")] => vec!["10.2.1.1 beta"] ; "terminating")]
#[test_case(&[not_ready("10.1.1.1")] => vec!["10.2.1.1 beta"] ; "not ready")]
#[test_case(&[not_ready("10.1.1.1"), terminating("10.1.1.2"), ready("10.1.1.3")] => vec!["10.1.1.3 alpha"] ; "one of three")]
fn affinity_looks_at_ready_backends(local: &[Value]) -> Vec<String> {
    let affinity = [GLOBAL[0], ("service.cilium.io/affinity", "local")];
    let oracle = world(&[
        ("alpha", service(&affinity)),
        ("beta", service(GLOBAL)),
        ("alpha", slice(local)),
        ("beta", slice(&[ready("10.2.1.1")])),
    ]);
    allowed(&oracle, 0, "alpha")
}

/// Affinity of clients changes nobody's permission, and the maps have to hold its time-out.
#[test]
fn affinity_of_clients() {
    let mut sticky = service(GLOBAL);
    sticky["spec"]["sessionAffinity"] = json!("ClientIP");
    sticky["spec"]["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": 600}});
    let world_of = |service: &Value| world(&[("alpha", service.clone()), ("alpha", slice(&[ready("10.1.1.1")]))]);
    let (oracle, plain) = (world_of(&sticky), world_of(&service(GLOBAL)));
    assert_eq!(allowed(&oracle, 0, "alpha"), allowed(&plain, 0, "alpha"));
    let alpha = "alpha".parse().expect("a valid name");
    let right = oracle.truth(&alpha, "alpha-1");
    let (address, _) = right.frontends.first_key_value().expect("it has a frontend");
    let holding = |affinity_s| {
        let frontend =
            MapFrontend { active: vec!["10.1.1.1:8080/TCP".to_owned()], affinity_s, ..MapFrontend::default() };
        MapState { frontends: [(address.to_string(), frontend)].into(), ..MapState::default() }
    };
    let wrong = |affinity_s| {
        let all = right.differences(&holding(affinity_s));
        all.into_iter().filter(|one| one.kind == DifferenceKind::Affinity).map(|one| one.message).collect::<Vec<_>>()
    };
    assert_eq!(wrong(Some(600)), Vec::<String>::new());
    let told = wrong(None);
    assert!(told.len() == 1 && told[0].ends_with("session affinity is off and should be 600 s"), "{told:?}");
    assert!(wrong(Some(5))[0].ends_with("session affinity is 5 s and should be 600 s"));
}
