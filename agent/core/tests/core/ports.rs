//! Which backends of a service answer for which of its ports: names and protocols, never numbers.

use mesh_core::{LocalSlice, SlicePort};
use mesh_types::{
    BackendState::{self, Active, Terminating},
    FrontendAddress, Protocol,
};
use test_case::test_case;

use crate::mesh::*;

/// Backends of 10.0.0.1:80 when the service port has the name `local` and the remote service the ports `remote`.
#[test_case("", r#"{"":{"Protocol":"TCP","Port":9090}}"# => vec!["10.2.0.1:9090@2"] ; "unnamed on both sides, other number")]
#[test_case("http", r#"{"http":{"Protocol":"TCP","Port":9090}}"# => vec!["10.2.0.1:9090@2"] ; "same name, other number")]
#[test_case("http", r#"{"web":{"Protocol":"TCP","Port":80}}"# => Vec::<String>::new() ; "other name contributes nothing")]
#[test_case("http", r#"{"":{"Protocol":"TCP","Port":8080}}"# => vec!["10.2.0.1:8080@2"] ; "unnamed remote fits any name")]
#[test_case("", r#"{"http":{"Protocol":"TCP","Port":8080},"metrics":{"Protocol":"TCP","Port":9090}}"# => vec!["10.2.0.1:8080@2", "10.2.0.1:9090@2"] ; "unnamed frontend takes all")]
#[test_case("http", r#"{"http":{"Protocol":"TCP","Port":8080},"metrics":{"Protocol":"TCP","Port":9090}}"# => vec!["10.2.0.1:8080@2"] ; "only the named one")]
#[test_case("metrics", r#"{"http":{"Protocol":"TCP","Port":8080},"metrics":{"Protocol":"TCP","Port":8080}}"# => vec!["10.2.0.1:8080@2"] ; "two names of one port do not shadow each other")]
#[test_case("http", r#"{"":{"Protocol":"TCP","Port":8080},"metrics":{"Protocol":"TCP","Port":8080}}"# => Vec::<String>::new() ; "a name given anywhere counts")]
#[test_case("dns", r#"{"dns":{"Protocol":"UDP","Port":53}}"# => Vec::<String>::new() ; "protocol must match")]
fn remote_ports(local: &str, remote: &str) -> Vec<String> {
    let mut agent = Agent::running();
    let mut service = service(&[GLOBAL]);
    service.ports = vec![service_port(local, 80)];
    agent.steps([
        service_event(service),
        added("beta"),
        remote_event("beta", 2, &format!(r#"{{"10.2.0.1":{remote},"fd00::1":{remote}}}"#)),
    ]);
    agent.backends(tcp("10.0.0.1", 80))
}

#[test]
fn local_ports_match_by_name_and_protocol() {
    let port = |name: &str, protocol, port| SlicePort { name: name.to_owned(), protocol, port };
    let ports = vec![
        port("http", Protocol::Tcp, 8080),
        port("admin", Protocol::Tcp, 8081),
        port("dns", Protocol::Tcp, 53),
        port("dns-udp", Protocol::Udp, 53),
    ];
    let mut service = service(&[]);
    service.ports = vec![
        service_port("http", 80),
        service_port("admin", 81),
        service_port("dns", 53),
        mesh_core::ServicePort { protocol: Protocol::Udp, ..service_port("dns-udp", 53) },
        service_port("missing", 99),
    ];
    let mut agent = Agent::running();
    agent.steps([service_event(service), slice_event(LocalSlice { ports, ..slice(&[("10.1.0.1", Active)]) })]);
    assert_eq!(agent.backends(tcp("10.0.0.1", 80)), ["10.1.0.1:8080"]);
    assert_eq!(agent.backends(tcp("10.0.0.1", 81)), ["10.1.0.1:8081"]);
    assert_eq!(agent.backends(tcp("10.0.0.1", 53)), ["10.1.0.1:53"]);
    let udp = FrontendAddress { protocol: Protocol::Udp, ..tcp("10.0.0.1", 53) };
    assert_eq!(agent.maps[&udp].backends[0].address.protocol, Protocol::Udp);
    assert!(agent.backends(tcp("10.0.0.1", 99)).is_empty());
}

#[test_case(Active, Terminating ; "active in the first slice")]
#[test_case(Terminating, Active ; "active in the second slice")]
fn endpoint_in_two_slices_has_its_best_state(first: BackendState, second: BackendState) {
    let mut agent = Agent::running();
    let second = LocalSlice { name: "echo-2".to_owned(), ..slice(&[("10.1.0.1", second), ("10.1.0.2", Active)]) };
    agent.steps([service_event(service(&[])), slice_event(slice(&[("10.1.0.1", first)])), slice_event(second)]);
    assert_eq!(agent.echo(), ["10.1.0.1:8080", "10.1.0.2:8080"]);
}

#[test]
fn slices_of_other_address_types_are_ignored() {
    let mut agent = Agent::running();
    let ipv6 = LocalSlice { address_type: mesh_core::AddressType::Ipv6, ..slice(&[("10.1.0.1", Active)]) };
    agent.steps([service_event(service(&[])), slice_event(ipv6)]);
    assert!(agent.echo().is_empty());
}
