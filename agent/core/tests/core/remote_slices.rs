//! Remote clusters that export endpoint slices (format v2): which format counts, and what slices tell more.

use mesh_core::{
    AddressType, Conditions, Config, Event, RemoteEndpoint, RemoteSlice, ServiceV2, SlicePort, TrafficDistribution,
};
use mesh_types::{Protocol, TrafficPolicies, TrafficPolicy};
use test_case::test_case;

use crate::mesh::*;

const READY: (bool, bool, bool) = (true, true, false);
const TERMINATING: (bool, bool, bool) = (false, true, true);
const DYING: (bool, bool, bool) = (false, false, true);
const NOT_READY: (bool, bool, bool) = (false, false, false);
const V1: &str = "10.2.0.1:8080@2";
const V2: &str = "10.2.0.2:8080@2";
const BACKENDS: &str = r#"{"10.2.0.1":{"":{"Protocol":"TCP","Port":8080}}}"#;

fn agent(service_v2: ServiceV2) -> Agent {
    let mut agent = Agent::new(Config { service_v2, ..config("alpha", 1, false) });
    agent.step(Event::LocalSynced);
    agent
}

/// An agent that reads slices, with the cluster `beta` that exports them.
fn slices_agent(annotations: &[(&str, &str)]) -> Agent {
    let mut agent = agent(ServiceV2::PreferEndpointSlice);
    agent.steps([service_event(service(annotations)), added("beta"), exports("beta", "services-and-endpointslices")]);
    agent
}

#[test_case(ServiceV2::PreferLegacy, None => vec![V1] ; "prefer legacy, nothing said")]
#[test_case(ServiceV2::PreferLegacy, Some("services-and-endpointslices") => vec![V1] ; "prefer legacy, both")]
#[test_case(ServiceV2::PreferLegacy, Some("endpointslices-only") => vec![V2] ; "prefer legacy, only v2")]
#[test_case(ServiceV2::PreferEndpointSlice, None => vec![V1] ; "prefer slices, nothing said")]
#[test_case(ServiceV2::PreferEndpointSlice, Some("") => vec![V1] ; "prefer slices, only v1")]
#[test_case(ServiceV2::PreferEndpointSlice, Some("services-and-endpointslices") => vec![V2] ; "prefer slices, both")]
#[test_case(ServiceV2::OnlyEndpointSlice, Some("") => Vec::<String>::new() ; "only slices, only v1")]
#[test_case(ServiceV2::OnlyEndpointSlice, Some("endpointslices-only") => vec![V2] ; "only slices, only v2")]
fn format_that_counts(mode: ServiceV2, said: Option<&str>) -> Vec<String> {
    let mut agent = agent(mode);
    agent.steps([service_event(service(&[GLOBAL])), added("beta"), remote_event("beta", 2, BACKENDS)]);
    agent.step(remote_slice_event(remote_slice("beta", 2, &[("10.2.0.2", READY)])));
    agent.steps(said.map(|said| exports("beta", said)));
    agent.echo()
}

#[test]
fn a_peer_that_is_upgraded_changes_its_format() {
    let mut agent = slices_agent(&[GLOBAL]);
    agent.steps([exports("beta", ""), remote_event("beta", 2, BACKENDS)]);
    assert_eq!(agent.echo(), [V1]);
    assert_eq!(agent.step(remote_slice_event(remote_slice("beta", 2, &[("10.2.0.2", READY)]))), []);
    assert_eq!(agent.state.remote_services(&cluster("beta")), 1);
    agent.step(exports("beta", "endpointslices-only"));
    assert_eq!(agent.echo(), [V2]);
    assert_eq!(agent.step(exports("beta", "services-and-endpointslices")), [], "the same slices count");
}

/// Rule 4.7: conditions of remote backends, which format v1 loses.
#[test_case(READY => vec!["10.2.0.2:8080@2"] ; "ready")]
#[test_case(TERMINATING => vec!["10.2.0.2:8080@2 terminating"] ; "terminating")]
#[test_case(DYING => vec!["10.2.0.2:8080@2 terminating-not-serving"] ; "terminating, not serving")]
#[test_case(NOT_READY => Vec::<String>::new() ; "not ready")]
fn conditions(conditions: (bool, bool, bool)) -> Vec<String> {
    let mut agent = slices_agent(&[GLOBAL]);
    agent.step(remote_slice_event(remote_slice("beta", 2, &[("10.2.0.2", conditions)])));
    agent.echo()
}

/// Rule 4.4, fifth point, with remote states that are not all active.
#[test_case(READY => vec![V2] ; "ready")]
#[test_case(TERMINATING => vec!["10.2.0.2:8080@2 terminating"] ; "terminating is healthy")]
#[test_case(DYING => vec!["10.1.0.1:8080", "10.2.0.2:8080@2 terminating-not-serving"] ; "not serving is not")]
#[test_case(NOT_READY => vec!["10.1.0.1:8080"] ; "not ready is not")]
fn remote_affinity(conditions: (bool, bool, bool)) -> Vec<String> {
    let mut agent = slices_agent(&[GLOBAL, REMOTE]);
    agent.step(slice_event(slice(&[("10.1.0.1", mesh_types::BackendState::Active)])));
    agent.step(remote_slice_event(remote_slice("beta", 2, &[("10.2.0.2", conditions)])));
    agent.echo()
}

/// Rule 4.4, fourth point: nothing local is active, and the remote side must be healthy.
#[test]
fn local_affinity_fails_over_to_healthy_slices_only() {
    let mut agent = slices_agent(&[GLOBAL, LOCAL]);
    agent.step(remote_slice_event(remote_slice("beta", 2, &[("10.2.0.2", DYING)])));
    assert!(agent.echo().is_empty());
    agent.step(remote_slice_event(remote_slice("beta", 2, &[("10.2.0.2", TERMINATING)])));
    assert_eq!(agent.echo(), ["10.2.0.2:8080@2 terminating"]);
}

/// Rule 4.5: remote backends have no node, and their hints count.
#[test]
fn policies_and_hints() {
    let mut agent = Agent::new(Config {
        service_v2: ServiceV2::OnlyEndpointSlice,
        zone: Some("a".to_owned()),
        service_topology: true,
        ..config("alpha", 1, false)
    });
    let mut slice = remote_slice("beta", 2, &[("10.2.0.2", READY), ("10.2.0.3", READY)]);
    for (endpoint, hint) in slice.endpoints.iter_mut().zip(["a", "b"]) {
        endpoint.zone = Some("z".to_owned());
        endpoint.hints = vec![hint.to_owned()];
    }
    let mut service = service(&[GLOBAL]);
    service.distribution = TrafficDistribution::Zone;
    agent.steps([Event::LocalSynced, service_event(service.clone()), added("beta")]);
    agent.steps([exports("beta", "endpointslices-only"), remote_slice_event(slice)]);
    assert_eq!(agent.echo(), [V2]);
    service.policies = TrafficPolicies { external: TrafficPolicy::Local, internal: TrafficPolicy::Local };
    agent.step(service_event(service));
    assert_eq!(agent.echo(), [V2, "10.2.0.3:8080@2"]);
}

/// Rule 4.3 for slices: several slices of one service, two names of one port, protocols.
#[test]
fn ports() {
    let mut agent = slices_agent(&[GLOBAL]);
    let mut service = service(&[GLOBAL]);
    service.ports = vec![service_port("http", 80), service_port("metrics", 90), service_port("dns", 53)];
    agent.step(service_event(service));
    let port = |name: &str, protocol, port| SlicePort { name: name.to_owned(), protocol, port };
    let first = RemoteSlice {
        ports: vec![port("http", Protocol::Tcp, 8080), port("metrics", Protocol::Tcp, 8080)],
        ..remote_slice("beta", 2, &[("10.2.0.2", READY)])
    };
    let second = RemoteSlice {
        name: "echo-2".to_owned(),
        ports: vec![port("http", Protocol::Tcp, 9090), port("dns", Protocol::Udp, 53)],
        ..remote_slice("beta", 2, &[("10.2.0.3", READY)])
    };
    agent.steps([remote_slice_event(first), remote_slice_event(second)]);
    assert_eq!(agent.backends(tcp("10.0.0.1", 80)), ["10.2.0.2:8080@2", "10.2.0.3:9090@2"]);
    assert_eq!(agent.backends(tcp("10.0.0.1", 90)), ["10.2.0.2:8080@2"]);
    assert!(agent.backends(tcp("10.0.0.1", 53)).is_empty());
    assert_eq!(agent.state.remote_services(&cluster("beta")), 1, "two slices of one service");
}

#[test]
fn slices_that_cannot_be_used() {
    let mut agent = slices_agent(&[GLOBAL]);
    let usable = remote_slice("beta", 2, &[("10.2.0.2", READY)]);
    for unusable in [
        RemoteSlice { service: None, ..usable.clone() },
        RemoteSlice { service: Some("other".to_owned()), ..usable.clone() },
        RemoteSlice { namespace: "other".to_owned(), ..usable.clone() },
        RemoteSlice { address_type: AddressType::Ipv6, ..usable.clone() },
        RemoteSlice { endpoints: vec![RemoteEndpoint::default()], ..usable.clone() },
    ] {
        assert_eq!(agent.step(remote_slice_event(unusable)), []);
    }
    agent.step(remote_slice_event(usable.clone()));
    assert_eq!(agent.echo(), [V2]);
    agent.step(remote_slice_event(RemoteSlice { service: None, ..usable }));
    assert!(agent.echo().is_empty(), "its label was taken away");
}

#[test]
fn absent_conditions_mean_ready() {
    let mut slice = remote_slice("beta", 2, &[("10.2.0.2", READY)]);
    slice.endpoints[0].conditions = Conditions::default();
    let mut agent = slices_agent(&[GLOBAL]);
    agent.step(remote_slice_event(slice));
    assert_eq!(agent.echo(), [V2]);
}

#[test]
fn the_life_of_a_cluster_with_slices() {
    let mut agent = slices_agent(&[GLOBAL]);
    let slice = |name: &str, ip: &str| RemoteSlice { name: name.to_owned(), ..remote_slice("beta", 2, &[(ip, READY)]) };
    agent.steps([remote_slice_event(slice("echo-1", "10.2.0.2")), remote_slice_event(slice("echo-2", "10.2.0.3"))]);
    assert_eq!(agent.step(synced("beta")), []);
    assert_eq!(agent.echo(), [V2, "10.2.0.3:8080@2"]);

    // A reader that starts over reports one of the two.
    assert_eq!(agent.step(added("beta")), []);
    assert_eq!(agent.step(remote_slice_event(slice("echo-1", "10.2.0.2"))), []);
    agent.step(synced("beta"));
    assert_eq!(agent.echo(), [V2]);

    // Another ID: what was known is of another cluster.
    let other = RemoteSlice { cluster_id: id(7), ..slice("echo-3", "10.2.0.4") };
    agent.step(remote_slice_event(other));
    assert_eq!(agent.echo(), ["10.2.0.4:8080@7"]);

    // The local cluster's ID is refused; so is the tail of a cluster that was removed.
    assert_eq!(agent.step(remote_slice_event(RemoteSlice { cluster_id: id(1), ..slice("echo-4", "10.2.0.5") })), []);
    agent.step(Event::RemoteRemoved { cluster: cluster("beta") });
    assert!(agent.echo().is_empty());
    assert_eq!(agent.step(remote_slice_event(slice("echo-1", "10.2.0.2"))), []);

    // Back again: what it exports must be said again.
    agent.steps([added("beta"), remote_slice_event(slice("echo-1", "10.2.0.2"))]);
    assert!(agent.echo().is_empty());
    agent.step(exports("beta", "endpointslices-only"));
    assert_eq!(agent.echo(), [V2]);
    agent.step(remote_slice_deleted("beta", 2, "echo-1"));
    assert!(agent.echo().is_empty());
}
