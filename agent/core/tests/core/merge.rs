//! Which services are one: truth table of `global` and `shared`, and what belongs to whom.

use std::time::Duration;

use mesh_core::{Event, ServiceKind};
use mesh_types::{BackendState::Active, FrontendType};
use test_case::test_case;

use crate::mesh::*;

const A: &str = "10.1.0.1:8080";
const B: &str = "10.2.0.1:8080";
const A_FAR: &str = "10.1.0.1:8080@1";
const B_FAR: &str = "10.2.0.1:8080@2";
const LEGACY_GLOBAL: (&str, &str) = ("io.cilium/global-service", "true");
const LEGACY_UNSHARED: (&str, &str) = ("io.cilium/shared-service", "false");

#[test_case(&[], &[] => [vec![A], vec![B]] ; "plain services stay at home")]
#[test_case(&[GLOBAL], &[GLOBAL] => [vec![A, B_FAR], vec![A_FAR, B]] ; "both shared")]
#[test_case(&[GLOBAL, UNSHARED], &[GLOBAL] => [vec![A, B_FAR], vec![B]] ; "alpha is not shared")]
#[test_case(&[GLOBAL], &[GLOBAL, UNSHARED] => [vec![A], vec![A_FAR, B]] ; "beta is not shared")]
#[test_case(&[GLOBAL, UNSHARED], &[GLOBAL, UNSHARED] => [vec![A], vec![B]] ; "neither is shared")]
#[test_case(&[GLOBAL], &[] => [vec![A], vec![B]] ; "only alpha is global")]
#[test_case(&[], &[GLOBAL] => [vec![A], vec![B]] ; "only beta is global")]
#[test_case(&[LEGACY_GLOBAL], &[GLOBAL] => [vec![A, B_FAR], vec![A_FAR, B]] ; "legacy name meets canonical")]
#[test_case(&[LEGACY_GLOBAL, LEGACY_UNSHARED], &[LEGACY_GLOBAL] => [vec![A, B_FAR], vec![B]] ; "legacy shared")]
#[test_case(&[GLOBAL, LOCAL], &[GLOBAL, REMOTE] => [vec![A], vec![A_FAR]] ; "each side has its own affinity")]
fn views(alpha: &[(&str, &str)], beta: &[(&str, &str)]) -> [Vec<&'static str>; 2] {
    let (one, two) = two_clusters(alpha, beta);
    [one, two].map(|cluster| {
        let known = |text: String| *[A, B, A_FAR, B_FAR].iter().find(|known| **known == text).unwrap();
        cluster.agent.echo().into_iter().map(known).collect()
    })
}

#[test]
fn annotations_that_change_take_effect_at_once() {
    let (mut one, mut two) = two_clusters(&[GLOBAL], &[GLOBAL]);
    one.local(service_event(service(&[GLOBAL, UNSHARED])), &mut two);
    assert_eq!((one.agent.echo(), two.agent.echo()), (vec![A.into(), B_FAR.into()], vec![B.to_owned()]));
    one.local(service_event(service(&[("service.cilium.io/global", "false")])), &mut two);
    assert_eq!((one.agent.echo(), two.agent.echo()), (vec![A.to_owned()], vec![B.to_owned()]));
    one.local(service_event(service(&[GLOBAL])), &mut two);
    assert_eq!((one.agent.echo(), two.agent.echo()), (vec![A.into(), B_FAR.into()], vec![A_FAR.into(), B.into()]));
}

#[test]
fn remote_service_without_a_local_one_has_no_frontend() {
    let mut agent = Agent::running();
    agent.steps([added("beta"), remote_event("beta", 2, r#"{"10.2.0.1":{"":{"Protocol":"TCP","Port":8080}}}"#)]);
    assert!(agent.maps.is_empty());
    assert_eq!(agent.state.remote_services(&cluster("beta")), 1);
    agent.step(service_event(service(&[GLOBAL])));
    assert_eq!(agent.echo(), [B_FAR]);
    assert_eq!(agent.state.global_services(), 1);
}

#[test]
fn namesake_in_another_namespace_is_another_service() {
    let mut agent = Agent::running();
    let mut other = service(&[GLOBAL]);
    other.key.namespace = "prod".to_owned();
    agent.steps([service_event(other), added("beta"), remote_event("beta", 2, PORT_8080)]);
    assert!(agent.echo().is_empty());
}

const PORT_8080: &str = r#"{"10.2.0.1":{"":{"Protocol":"TCP","Port":8080}}}"#;

#[test]
fn everything_but_backends_is_the_local_services() {
    let mut agent = Agent::running();
    let mut own = service(&[GLOBAL]);
    own.session_affinity = Some(Duration::from_secs(10_800));
    own.kind = ServiceKind::NodePort;
    own.ports[0].node_port = Some(31_000);
    agent.steps([service_event(own), added("beta"), remote_event("beta", 2, PORT_8080)]);
    let kinds: Vec<_> = agent.maps.values().map(|frontend| (frontend.address, frontend.kind)).collect();
    assert_eq!(
        kinds,
        [(tcp("0.0.0.0", 31_000), FrontendType::NodePort), (tcp("10.0.0.1", 8080), FrontendType::ClusterIp)]
    );
    for frontend in agent.maps.values() {
        assert_eq!(frontend.session_affinity, Some(Duration::from_secs(10_800)));
        assert_eq!(agent.backends(frontend.address), [B_FAR]);
    }
}

#[test_case(|service| service.cluster_ips.clear() ; "headless")]
#[test_case(|service| service.kind = ServiceKind::ExternalName ; "dns alias")]
fn no_frontends(change: fn(&mut mesh_core::LocalService)) {
    let mut agent = Agent::running();
    agent.step(service_event(service(&[])));
    assert_eq!(agent.maps.len(), 1);
    let mut changed = service(&[]);
    change(&mut changed);
    agent.step(service_event(changed));
    assert!(agent.maps.is_empty());
}

#[test]
fn service_without_any_backend_keeps_its_frontend() {
    let mut agent = Agent::running();
    agent.steps([service_event(service(&[])), slice_event(slice(&[("10.1.0.1", Active)])), slice_deleted("echo-1")]);
    assert!(agent.echo().is_empty(), "an empty frontend refuses at once");
}

#[test]
fn an_address_in_both_clusters_is_local() {
    let mut agent = Agent::running();
    agent.steps([
        service_event(service(&[GLOBAL])),
        slice_event(slice(&[("10.2.0.1", Active)])),
        added("beta"),
        remote_event("beta", 2, PORT_8080),
    ]);
    assert_eq!(agent.echo(), ["10.2.0.1:8080"]);
    agent.step(slice_deleted("echo-1"));
    assert_eq!(agent.echo(), [B_FAR]);
}

#[test]
fn an_address_in_two_remote_clusters_belongs_to_the_lower_id() {
    let mut agent = Agent::running();
    agent.steps([service_event(service(&[GLOBAL])), added("beta"), added("acme")]);
    agent.steps([remote_event("acme", 3, PORT_8080), remote_event("beta", 2, PORT_8080)]);
    assert_eq!(agent.echo(), [B_FAR]);
    agent.step(remote_deleted("beta", 2));
    assert_eq!(agent.echo(), ["10.2.0.1:8080@3"]);
}

#[test]
fn cluster_ip_that_moves_to_another_service_is_kept_in_either_order() {
    for order in [[0, 1], [1, 0]] {
        let mut agent = Agent::running();
        agent.step(service_event(service(&[])));
        let mut heir = service(&[]);
        heir.key.name = "a-new-one".to_owned();
        let events = [Event::Service { key: key(), service: None }, service_event(heir)];
        agent.steps(order.map(|index| events[index].clone()));
        assert_eq!(agent.maps[&tcp("10.0.0.1", 8080)].service.name, "a-new-one");
    }
}

#[test]
fn slice_that_moves_to_another_service_takes_its_endpoints_along() {
    let mut agent = Agent::running();
    let mut other = service(&[]);
    other.key.name = "other".to_owned();
    other.cluster_ips = vec![ip("10.0.0.2")];
    agent.steps([service_event(service(&[])), service_event(other), slice_event(slice(&[("10.1.0.1", Active)]))]);
    let mut moved = slice(&[("10.1.0.1", Active)]);
    moved.service = Some("other".to_owned());
    agent.step(slice_event(moved.clone()));
    assert_eq!((agent.echo(), agent.backends(tcp("10.0.0.2", 8080))), (vec![], vec![A.to_owned()]));
    moved.service = None;
    agent.step(slice_event(moved));
    assert!(agent.backends(tcp("10.0.0.2", 8080)).is_empty());
}

#[test]
fn removed_cluster_is_drained_and_stays_silent() {
    let mut agent = Agent::running();
    agent.steps([service_event(service(&[GLOBAL])), added("beta"), remote_event("beta", 2, PORT_8080)]);
    assert_eq!(agent.echo(), [B_FAR]);
    agent.step(Event::RemoteRemoved { cluster: cluster("beta") });
    assert!(agent.echo().is_empty());
    agent.step(remote_event("beta", 2, PORT_8080));
    assert!(agent.echo().is_empty(), "the tail of what the reader had sent");
}

#[test]
fn peer_with_a_new_id_is_drained_first() {
    let mut agent = Agent::running();
    agent.steps([service_event(service(&[GLOBAL])), added("beta"), remote_event("beta", 2, PORT_8080)]);
    let mut other = remote_value("beta", 7, PORT_8080);
    other.key.name = "other".to_owned();
    let (cluster_id, key) = (id(7), other.key.clone());
    agent.step(Event::RemoteService { cluster: cluster("beta"), cluster_id, key, service: Some(other) });
    assert!(agent.echo().is_empty());
    agent.step(remote_event("beta", 7, PORT_8080));
    assert_eq!(agent.echo(), ["10.2.0.1:8080@7"]);
}

#[test]
fn peer_with_my_id_or_my_name_is_ignored() {
    let mut agent = Agent::running();
    agent.steps([service_event(service(&[GLOBAL])), added("beta"), added("alpha")]);
    agent.steps([remote_event("beta", 1, PORT_8080), remote_event("alpha", 2, PORT_8080)]);
    assert!(agent.echo().is_empty());
}
