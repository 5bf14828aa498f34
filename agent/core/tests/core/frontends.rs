//! Which frontends a service gets, and which backends each of them may use: types, scopes, traffic policies, hints.

use std::{collections::BTreeMap, net::Ipv4Addr};

use mesh_core::{Config, Event, LocalEndpoint, LocalService, LocalSlice, ServiceKind, TrafficDistribution};
use mesh_types::{
    Algorithm,
    BackendState::{Active, Terminating},
    FrontendAddress, Scope, TrafficPolicies,
    TrafficPolicy::{self, Cluster, Local},
};
use test_case::test_case;

use crate::mesh::*;

const NODE_IP: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 2);
const HERE: &str = "10.1.0.1:8080";
const THERE: &str = "10.1.0.2:8080";
const NOWHERE: &str = "10.1.0.3:8080";
const FAR: &str = "10.2.0.1:8080@2";
const FAR_HINTED: &str = r#""zones":{"10.2.0.1":{"zone":"z","forZones":[{"name":"a"}]}}"#;

/// The agent of node `alpha-1` in zone `a`, past its start.
fn agent() -> Agent {
    let mut agent = Agent::new(Config {
        node_addresses: vec![NODE_IP],
        zone: Some("a".to_owned()),
        service_topology: true,
        ..config("alpha", 1, false)
    });
    agent.step(Event::LocalSynced);
    agent
}

/// A service with an address of each kind.
fn load_balancer(policies: (TrafficPolicy, TrafficPolicy), annotations: &[(&str, &str)]) -> LocalService {
    let mut service = service(annotations);
    service.kind = ServiceKind::LoadBalancer;
    service.ports[0].node_port = Some(31_000);
    service.load_balancer_ips = vec![ip("192.0.2.1")];
    service.external_ips = vec![ip("192.0.2.7")];
    service.policies = TrafficPolicies { external: policies.0, internal: policies.1 };
    service
}

fn at(node: &str, hints: &[&str], address: &str) -> LocalEndpoint {
    LocalEndpoint {
        node_name: (!node.is_empty()).then(|| node.to_owned()),
        zone: Some("somewhere".to_owned()),
        hints: hints.iter().map(|&hint| hint.to_owned()).collect(),
        ..endpoint(address, Active)
    }
}

/// Backends on this node, on another one, and on none (as of a slice written by hand).
fn spread() -> LocalSlice {
    LocalSlice {
        endpoints: vec![at("alpha-1", &[], "10.1.0.1"), at("alpha-2", &[], "10.1.0.2"), at("", &[], "10.1.0.3")],
        ..slice(&[])
    }
}

/// `test/echo` of `beta`, with what else stands in its value.
fn remote(more: &str) -> Event {
    let backends = r#"{"10.2.0.1":{"":{"Protocol":"TCP","Port":8080}}}"#;
    let backends = if more.is_empty() { backends.to_owned() } else { format!("{backends},{more}") };
    remote_event("beta", 2, &backends)
}

fn internal(address: FrontendAddress) -> FrontendAddress {
    FrontendAddress { scope: Scope::Internal, ..address }
}

/// All frontends as `address kind`.
fn shown(agent: &Agent) -> Vec<String> {
    agent.maps.values().map(|frontend| format!("{} {:?}", frontend.address, frontend.kind)).collect()
}

/// Rule 2.5 of `bpf.md` and 4.5: a second scope only where the policies differ, and never for cluster IPs.
#[test_case(Cluster, Cluster => false ; "both cluster")]
#[test_case(Local, Local => false ; "both local")]
#[test_case(Local, Cluster => true ; "external local")]
#[test_case(Cluster, Local => true ; "internal local")]
fn scopes(external: TrafficPolicy, internal: TrafficPolicy) -> bool {
    let mut agent = agent();
    agent.step(service_event(load_balancer((external, internal), &[])));
    let of = |scope| agent.maps.keys().filter(move |address| address.scope == scope).map(|address| address.ip);
    let outer: Vec<Ipv4Addr> = of(Scope::External).collect();
    let inner: Vec<Ipv4Addr> = of(Scope::Internal).collect();
    let cluster_ip = ip("10.0.0.1");
    assert_eq!(outer, [Ipv4Addr::UNSPECIFIED, cluster_ip, NODE_IP, ip("192.0.2.1"), ip("192.0.2.7")]);
    if !inner.is_empty() {
        assert_eq!(inner, outer.into_iter().filter(|ip| *ip != cluster_ip).collect::<Vec<_>>());
    }
    assert!(agent.maps.values().all(|frontend| frontend.policies.differ() != inner.is_empty()));
    !inner.is_empty()
}

/// Rule 4.5: which policy holds where. Under `Local`, backends of other nodes are left out; remote ones pass.
#[test_case(Cluster, Cluster ; "both cluster")]
#[test_case(Local, Local ; "both local")]
#[test_case(Local, Cluster ; "external local")]
#[test_case(Cluster, Local ; "internal local")]
fn traffic_policies(external: TrafficPolicy, inner: TrafficPolicy) {
    let mut agent = agent();
    agent.steps([
        service_event(load_balancer((external, inner), &[GLOBAL])),
        slice_event(spread()),
        added("beta"),
        remote(""),
    ]);
    let under = |policy| match policy {
        Cluster => vec![HERE, THERE, NOWHERE, FAR],
        Local => vec![HERE, NOWHERE, FAR],
    };
    assert_eq!(agent.echo(), under(inner), "the cluster IP is for clients inside");
    for (ip, port) in [("0.0.0.0", 31_000), ("172.18.0.2", 31_000), ("192.0.2.1", 8080), ("192.0.2.7", 8080)] {
        assert_eq!(agent.backends(tcp(ip, port)), under(external), "{ip}");
        if external != inner {
            assert_eq!(agent.backends(internal(tcp(ip, port))), under(inner), "{ip} inside");
        }
    }
}

/// Rules 4.4 and 4.5 together: the policy comes first, so a local backend on another node does not keep traffic at home.
#[test]
fn affinity_sees_what_the_policy_leaves() {
    let mut agent = agent();
    let mut service = service(&[GLOBAL, LOCAL]);
    service.policies.internal = Local;
    let elsewhere = LocalSlice { endpoints: vec![at("alpha-2", &[], "10.1.0.2")], ..slice(&[]) };
    agent.steps([service_event(service), slice_event(elsewhere), added("beta"), remote("")]);
    assert_eq!(agent.echo(), [FAR]);
    agent.step(slice_event(spread()));
    assert_eq!(agent.echo(), [HERE, NOWHERE]);
}

/// Rule 4.1: `type` limits the frontends to one type; external IPs have none and stay.
#[test_case(&[], &["0.0.0.0:31000/TCP NodePort", "10.0.0.1:8080/TCP ClusterIp", "172.18.0.2:31000/TCP NodePort", "192.0.2.1:8080/TCP LoadBalancer", "192.0.2.7:8080/TCP ExternalIp"] ; "all")]
#[test_case(&[("service.cilium.io/type", "ClusterIP")], &["10.0.0.1:8080/TCP ClusterIp", "192.0.2.7:8080/TCP ExternalIp"] ; "cluster ip")]
#[test_case(&[("service.cilium.io/type", "NodePort")], &["0.0.0.0:31000/TCP NodePort", "172.18.0.2:31000/TCP NodePort", "192.0.2.7:8080/TCP ExternalIp"] ; "node port")]
#[test_case(&[("service.cilium.io/type", "LoadBalancer")], &["192.0.2.1:8080/TCP LoadBalancer", "192.0.2.7:8080/TCP ExternalIp"] ; "load balancer")]
#[test_case(&[("service.cilium.io/type", "nodeport")], &["0.0.0.0:31000/TCP NodePort", "10.0.0.1:8080/TCP ClusterIp", "172.18.0.2:31000/TCP NodePort", "192.0.2.1:8080/TCP LoadBalancer", "192.0.2.7:8080/TCP ExternalIp"] ; "unknown values are ignored")]
fn types(annotations: &[(&str, &str)], expected: &[&str]) {
    let mut agent = agent();
    agent.step(service_event(load_balancer((Cluster, Cluster), annotations)));
    assert_eq!(shown(&agent), expected);
}

/// What a Service's own type allows, whatever addresses it has.
#[test_case(ServiceKind::ClusterIp => vec!["10.0.0.1", "192.0.2.7"] ; "cluster ip")]
#[test_case(ServiceKind::NodePort => vec!["0.0.0.0", "10.0.0.1", "172.18.0.2", "192.0.2.7"] ; "node port")]
#[test_case(ServiceKind::LoadBalancer => vec!["0.0.0.0", "10.0.0.1", "172.18.0.2", "192.0.2.1", "192.0.2.7"] ; "load balancer")]
#[test_case(ServiceKind::ExternalName => Vec::<&str>::new() ; "dns alias")]
fn kinds(kind: ServiceKind) -> Vec<String> {
    let mut agent = agent();
    agent.step(service_event(LocalService { kind, ..load_balancer((Cluster, Cluster), &[]) }));
    agent.maps.keys().map(|address| address.ip.to_string()).collect()
}

/// Rule 4.6: headless, by address or by label.
#[test_case(|service| service.cluster_ips.clear() ; "without a cluster IP")]
#[test_case(|service| drop(service.labels.insert("service.kubernetes.io/headless".into(), "".into())) ; "by label")]
fn headless(change: fn(&mut LocalService)) {
    let mut agent = agent();
    let mut service = load_balancer((Cluster, Cluster), &[GLOBAL]);
    agent.step(service_event(service.clone()));
    assert_eq!(agent.maps.len(), 5);
    change(&mut service);
    agent.step(service_event(service));
    assert!(agent.maps.is_empty());
}

/// Rule 4.1: `lb-algorithm`.
#[test_case(&[] => None ; "absent")]
#[test_case(&[("service.cilium.io/lb-algorithm", "maglev")] => Some(Algorithm::Maglev) ; "maglev")]
#[test_case(&[("service.cilium.io/lb-algorithm", "least-request")] => None ; "unknown")]
fn algorithm(annotations: &[(&str, &str)]) -> Option<Algorithm> {
    let mut agent = agent();
    agent.step(service_event(service(annotations)));
    agent.maps[&tcp("10.0.0.1", 8080)].algorithm
}

/// Rule 4.1: `node-selector`; the labels of the node may come before the service or after it, and may change.
#[test]
fn services_for_particular_nodes() {
    let labels = |tier: &str| Event::NodeLabels { labels: texts(&[("tier", tier)]) };
    let edge = service(&[("service.cilium.io/node-selector", "tier in (edge)")]);
    let mut agent = agent();
    agent.step(service_event(edge));
    assert_eq!(agent.maps.len(), 1, "labels are not known yet");
    agent.step(labels("core"));
    assert!(agent.maps.is_empty());
    assert_eq!(agent.step(labels("core")), []);
    agent.step(labels("edge"));
    assert_eq!(agent.maps.len(), 1);
}

fn hinted(first: &[&str], second: &[&str]) -> LocalSlice {
    let endpoints = vec![at("alpha-1", first, "10.1.0.1"), at("alpha-2", second, "10.1.0.2")];
    LocalSlice { endpoints, ..slice(&[]) }
}

fn close(annotations: &[(&str, &str)]) -> LocalService {
    LocalService { distribution: TrafficDistribution::Zone, ..service(annotations) }
}

/// Rule 4.5, hints: every backend has some, one is for the node's zone, and the service wants it.
#[test_case(&close(&[]), &hinted(&["a"], &["b"]) => vec![HERE] ; "one is for this zone")]
#[test_case(&close(&[]), &hinted(&["a"], &["b", "a"]) => vec![HERE, THERE] ; "both are for this zone")]
#[test_case(&close(&[]), &hinted(&["a"], &[]) => vec![HERE, THERE] ; "one has none")]
#[test_case(&close(&[]), &hinted(&["c"], &["b"]) => vec![HERE, THERE] ; "none is for this zone")]
#[test_case(&service(&[]), &hinted(&["a"], &["b"]) => vec![HERE, THERE] ; "not asked for")]
#[test_case(&service(&[("service.kubernetes.io/topology-mode", "Auto")]), &hinted(&["a"], &["b"]) => vec![HERE] ; "asked for by annotation")]
#[test_case(&service(&[("service.kubernetes.io/topology-mode", "Auto"), ("service.kubernetes.io/topology-aware-hints", "Disabled")]), &hinted(&["a"], &["b"]) => vec![HERE, THERE] ; "the older annotation wins")]
fn hints(service: &LocalService, slice: &LocalSlice) -> Vec<String> {
    let mut agent = agent();
    agent.steps([service_event(service.clone()), slice_event(slice.clone())]);
    agent.echo()
}

/// Rule 4.5, hints: `Local` inside leaves nothing to prefer; outside the policy comes first.
#[test]
fn hints_under_local_policies() {
    let mut agent = agent();
    let mut service = close(&[]);
    service.policies.internal = Local;
    agent.steps([service_event(service.clone()), slice_event(hinted(&["b"], &["a"]))]);
    assert_eq!(agent.echo(), [HERE]);
    service.policies.internal = Cluster;
    agent.step(service_event(service));
    assert_eq!(agent.echo(), [THERE]);
}

/// Rule 4.5, hints: hints of an endpoint in no zone are none.
#[test]
fn hints_without_a_zone() {
    let mut agent = agent();
    let mut slice = hinted(&["a"], &["b"]);
    slice.endpoints[0].zone = None;
    agent.steps([service_event(close(&[])), slice_event(slice)]);
    assert_eq!(agent.echo(), [HERE, THERE]);
}

/// Rule 4.5, hints: those of remote backends count as well, even where affinity leaves these aside.
#[test_case(&[GLOBAL], FAR_HINTED => vec![HERE, FAR] ; "with hints")]
#[test_case(&[GLOBAL], "" => vec![HERE, THERE, FAR] ; "without hints")]
#[test_case(&[GLOBAL, LOCAL], FAR_HINTED => vec![HERE] ; "with hints, local preferred")]
#[test_case(&[GLOBAL, LOCAL], "" => vec![HERE, THERE] ; "without hints, local preferred")]
#[test_case(&[], "" => vec![HERE] ; "not global")]
fn remote_hints(annotations: &[(&str, &str)], more: &str) -> Vec<String> {
    let mut agent = agent();
    agent.steps([service_event(close(annotations)), slice_event(hinted(&["a"], &["b"])), added("beta"), remote(more)]);
    agent.echo()
}

/// Rule 4.5, hints: the node's zone may come late, and change; without the option nothing is preferred.
#[test]
fn zone_of_the_node() {
    let zone = |zone: Option<&str>| Event::NodeZone { zone: zone.map(str::to_owned) };
    let mut agent = agent();
    agent.steps([service_event(close(&[])), slice_event(hinted(&["a"], &["b"]))]);
    assert_eq!(agent.step(zone(Some("a"))), [], "known from the start");
    assert_eq!(agent.echo(), [HERE]);
    agent.step(zone(Some("b")));
    assert_eq!(agent.echo(), [THERE]);
    agent.step(zone(None));
    assert_eq!(agent.echo(), [HERE, THERE]);

    let mut plain = Agent::new(Config { zone: Some("a".to_owned()), ..config("alpha", 1, false) });
    plain.steps([Event::LocalSynced, service_event(close(&[])), slice_event(hinted(&["a"], &["b"]))]);
    assert_eq!(plain.echo(), [HERE, THERE], "off unless asked for");
}

/// Rule 4.7: what each state means for selection and for the order of slots.
#[test]
fn states_in_the_order_of_slots() {
    let mut agent = agent();
    let all = [
        ("10.1.0.1", mesh_types::BackendState::TerminatingNotServing),
        ("10.1.0.2", Terminating),
        ("10.1.0.3", mesh_types::BackendState::Quarantined),
        ("10.1.0.4", Active),
    ];
    agent.steps([service_event(service(&[])), slice_event(slice(&all))]);
    assert_eq!(
        agent.echo(),
        ["10.1.0.4:8080", "10.1.0.2:8080 terminating", "10.1.0.1:8080 terminating-not-serving"],
        "not ready: no slot"
    );
}

/// Rules 4.4 and 4.7: a local backend that terminates without serving neither holds traffic nor counts as a way back.
#[test]
fn terminating_not_serving_is_not_healthy() {
    let gone = slice_event(slice(&[("10.1.0.1", mesh_types::BackendState::TerminatingNotServing)]));
    for (affinity, expected) in
        [(LOCAL, vec![FAR.to_owned(), format!("{HERE} terminating-not-serving")]), (REMOTE, vec![FAR.to_owned()])]
    {
        let mut agent = agent();
        agent.steps([service_event(service(&[GLOBAL, affinity])), gone.clone(), added("beta"), remote("")]);
        assert_eq!(agent.echo(), expected);
        agent.step(remote_deleted("beta", 2));
        let left = if affinity == LOCAL { vec![format!("{HERE} terminating-not-serving")] } else { Vec::new() };
        assert_eq!(agent.echo(), left);
    }
}

#[test]
fn a_change_of_policy_changes_the_frontends_in_place() {
    let mut agent = agent();
    agent.steps([service_event(load_balancer((Local, Cluster), &[])), slice_event(spread())]);
    let count = |agent: &Agent| {
        let mut scopes: BTreeMap<bool, usize> = BTreeMap::new();
        agent.maps.keys().for_each(|address| *scopes.entry(address.scope == Scope::Internal).or_default() += 1);
        (scopes.get(&false).copied(), scopes.get(&true).copied())
    };
    assert_eq!(count(&agent), (Some(5), Some(4)));
    agent.step(service_event(load_balancer((Local, Local), &[])));
    assert_eq!(count(&agent), (Some(5), None));
    assert_eq!(agent.echo(), [HERE, NOWHERE]);
}
