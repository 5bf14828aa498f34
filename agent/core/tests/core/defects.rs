//! Each planted defect changes the outcome in the way that its name says. Without, the same steps come out right.

use std::time::Duration;

use mesh_core::{Event, LocalEndpoint, LocalSlice, ServicePort, SlicePort};
use mesh_planted::{Defect, plant_here};
use mesh_types::{
    BackendState::{Active, Quarantined},
    FrontendAddress, Protocol, ServiceKey,
};
use mesh_wire::ClusterService;
use test_case::test_case;

use crate::mesh::*;

const NEAR: &str = "10.1.0.1:8080";
const FAR: &str = "10.2.0.1:8080@2";
const BACKENDS: &str = r#"{"10.2.0.1":{"":{"Protocol":"TCP","Port":8080}}}"#;

/// A running agent with a local and a remote backend of a global service with these annotations.
fn both_sides(annotations: &[(&str, &str)]) -> Agent {
    let mut agent = Agent::running();
    agent.steps([
        service_event(service(&[&[GLOBAL], annotations].concat())),
        slice_event(slice(&[("10.1.0.1", Active)])),
        added("beta"),
        remote_event("beta", 2, BACKENDS),
    ]);
    agent
}

#[test_case(None => vec![NEAR, FAR] ; "right")]
#[test_case(Some(Defect::RemoteBackendsDropped) => vec![NEAR] ; "wrong")]
#[test_case(Some(Defect::SharedIgnored) => vec![NEAR, FAR] ; "the reader knows nothing of shared")]
fn remote_backends_dropped(defect: Option<Defect>) -> Vec<String> {
    let _planting = plant_here(defect);
    both_sides(&[]).echo()
}

#[test_case(None => Vec::<String>::new() ; "right")]
#[test_case(Some(Defect::DeadBackendsKept) => vec![NEAR, FAR] ; "wrong")]
fn dead_backends_kept(defect: Option<Defect>) -> Vec<String> {
    let _planting = plant_here(defect);
    let mut agent = both_sides(&[]);
    agent.steps([slice_deleted("echo-1"), remote_deleted("beta", 2)]);
    agent.echo()
}

#[test_case(None => vec!["10.2.0.1:8080"] ; "right")]
#[test_case(Some(Defect::SharedIgnored) => vec!["10.2.0.1:8080", "10.1.0.1:8080@1"] ; "wrong")]
fn shared_ignored(defect: Option<Defect>) -> Vec<String> {
    let _planting = plant_here(defect);
    let mut backends = two_clusters(&[GLOBAL, UNSHARED], &[GLOBAL]).1.agent.echo();
    backends.sort_by_key(|backend| backend.contains('@'));
    backends
}

#[test_case(None, LOCAL => vec![NEAR] ; "right, local")]
#[test_case(None, REMOTE => vec![FAR] ; "right, remote")]
#[test_case(Some(Defect::AffinityInverted), LOCAL => vec![FAR] ; "wrong, local")]
#[test_case(Some(Defect::AffinityInverted), REMOTE => vec![NEAR] ; "wrong, remote")]
fn affinity_inverted(defect: Option<Defect>, affinity: (&str, &str)) -> Vec<String> {
    let _planting = plant_here(defect);
    both_sides(&[affinity]).echo()
}

#[test_case(None, LOCAL => vec![FAR] ; "right, local")]
#[test_case(None, REMOTE => vec![NEAR] ; "right, remote")]
#[test_case(Some(Defect::AffinityFallbackMissing), LOCAL => Vec::<String>::new() ; "wrong, local")]
#[test_case(Some(Defect::AffinityFallbackMissing), REMOTE => Vec::<String>::new() ; "wrong, remote")]
fn affinity_fallback_missing(defect: Option<Defect>, affinity: (&str, &str)) -> Vec<String> {
    let _planting = plant_here(defect);
    let mut agent = both_sides(&[affinity]);
    agent.step(if affinity == LOCAL { slice_deleted("echo-1") } else { remote_deleted("beta", 2) });
    agent.echo()
}

#[test_case(None => vec![FAR] ; "right")]
#[test_case(Some(Defect::AffinityIgnoresReadiness) => vec!["10.1.0.1:8080 maintenance"] ; "wrong: gets no slot, holds back")]
fn affinity_ignores_readiness(defect: Option<Defect>) -> Vec<String> {
    let _planting = plant_here(defect);
    let mut agent = both_sides(&[LOCAL]);
    agent.step(slice_event(slice(&[("10.1.0.1", Quarantined)])));
    agent.echo()
}

#[test_case(None => vec!["10.2.0.1:8080@2"] ; "right")]
#[test_case(Some(Defect::PortNamesIgnored) => vec!["10.2.0.1:8080@2", "10.2.0.1:9090@2"] ; "wrong")]
fn port_names_ignored(defect: Option<Defect>) -> Vec<String> {
    let _planting = plant_here(defect);
    let mut agent = Agent::running();
    let mut service = service(&[GLOBAL]);
    service.ports = vec![service_port("http", 80)];
    let ports = r#"{"10.2.0.1":{"http":{"Protocol":"TCP","Port":8080},"metrics":{"Protocol":"TCP","Port":9090}}}"#;
    agent.steps([service_event(service), added("beta"), remote_event("beta", 2, ports)]);
    agent.backends(tcp("10.0.0.1", 80))
}

/// Protocols of the frontends of a service with port 53 over UDP and TCP, in order of address.
#[test_case(None => vec![Protocol::Tcp, Protocol::Udp] ; "right")]
#[test_case(Some(Defect::ProtocolConfused) => vec![Protocol::Udp] ; "wrong: only the first")]
#[test_case(Some(Defect::UdpIgnored) => vec![Protocol::Tcp] ; "wrong: no UDP")]
fn protocols(defect: Option<Defect>) -> Vec<Protocol> {
    let _planting = plant_here(defect);
    let mut service = service(&[]);
    service.ports =
        vec![ServicePort { protocol: Protocol::Udp, ..service_port("dns", 53) }, service_port("dns-tcp", 53)];
    let mut agent = Agent::running();
    agent.step(service_event(service));
    agent.maps.keys().map(|address: &FrontendAddress| address.protocol).collect()
}

#[test_case(None => vec![NEAR] ; "right")]
#[test_case(Some(Defect::NamespaceIgnored) => vec![NEAR, FAR] ; "wrong")]
fn namespace_ignored(defect: Option<Defect>) -> Vec<String> {
    let _planting = plant_here(defect);
    let mut agent = Agent::running();
    agent.steps([service_event(service(&[GLOBAL])), slice_event(slice(&[("10.1.0.1", Active)])), added("beta")]);
    agent.step(Event::RemoteService {
        cluster: cluster("beta"),
        cluster_id: id(2),
        key: ServiceKey::new("other", "echo"),
        service: Some(remote_value("beta", 2, BACKENDS)),
    });
    agent.echo()
}

#[test_case(None => Some(Duration::from_secs(60)) ; "right")]
#[test_case(Some(Defect::SessionAffinityIgnored) => None ; "wrong")]
fn session_affinity_ignored(defect: Option<Defect>) -> Option<Duration> {
    let _planting = plant_here(defect);
    let mut service = service(&[]);
    service.session_affinity = Some(Duration::from_secs(60));
    let mut agent = Agent::running();
    agent.step(service_event(service));
    agent.maps[&tcp("10.0.0.1", 8080)].session_affinity
}

#[test_case(None, &[("io.cilium/global-service", "true")] => 2 ; "right, legacy alone")]
#[test_case(None, &[GLOBAL, ("io.cilium/global-service", "false")] => 2 ; "right, both")]
#[test_case(Some(Defect::LegacyAnnotationIgnored), &[("io.cilium/global-service", "true")] => 1 ; "ignored")]
#[test_case(Some(Defect::LegacyAnnotationIgnored), &[GLOBAL, ("io.cilium/global-service", "false")] => 2 ; "ignored, not missed")]
#[test_case(Some(Defect::LegacyAnnotationWins), &[GLOBAL, ("io.cilium/global-service", "false")] => 1 ; "wins")]
#[test_case(Some(Defect::LegacyAnnotationWins), &[("io.cilium/global-service", "true")] => 2 ; "wins alone")]
fn legacy_annotation(defect: Option<Defect>, annotations: &[(&str, &str)]) -> usize {
    let _planting = plant_here(defect);
    let mut agent = Agent::running();
    agent.steps([
        service_event(service(annotations)),
        slice_event(slice(&[("10.1.0.1", Active)])),
        added("beta"),
        remote_event("beta", 2, BACKENDS),
    ]);
    agent.echo().len()
}

/// How many effects leave before the remote cluster is synced.
#[test_case(None => 0 ; "right")]
#[test_case(Some(Defect::CanaryIgnored) => 2 ; "wrong: an upsert without remote backends, and the prune")]
fn canary_ignored(defect: Option<Defect>) -> usize {
    let _planting = plant_here(defect);
    let mut agent = Agent::new(config("alpha", 1, true));
    agent.steps([added("beta"), service_event(service(&[GLOBAL]))]);
    agent.step(Event::LocalSynced).len()
}

#[test_case(None => vec![NEAR] ; "right")]
#[test_case(Some(Defect::DuplicateClusterIdAccepted) => vec![NEAR, "10.2.0.1:8080@1"] ; "wrong")]
fn duplicate_cluster_id_accepted(defect: Option<Defect>) -> Vec<String> {
    let _planting = plant_here(defect);
    let mut agent = Agent::running();
    agent.steps([
        service_event(service(&[GLOBAL])),
        slice_event(slice(&[("10.1.0.1", Active)])),
        added("beta"),
        remote_event("beta", 1, BACKENDS),
    ]);
    agent.echo()
}

fn exported(endpoint: LocalEndpoint) -> ClusterService {
    let slice = LocalSlice {
        ports: vec![SlicePort { name: String::new(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints: vec![endpoint],
        ..slice(&[])
    };
    mesh_core::export(&cluster("alpha"), id(1), &service(&[GLOBAL]), std::iter::once(&slice)).expect("exported")
}

#[test_case(None => 1 ; "right")]
#[test_case(Some(Defect::WrongClusterId) => 2 ; "wrong")]
fn wrong_cluster_id(defect: Option<Defect>) -> u16 {
    let _planting = plant_here(defect);
    let value = exported(endpoint("10.1.0.1", Active)).encode();
    ClusterService::decode(&value).expect("valid but for its ID").cluster_id.get()
}

#[test_case(None => 0 ; "right")]
#[test_case(Some(Defect::NotReadyExported) => 1 ; "wrong")]
fn not_ready_exported(defect: Option<Defect>) -> usize {
    let _planting = plant_here(defect);
    exported(endpoint("10.1.0.1", Quarantined)).backends.len()
}
