//! Which entries are written, and in which order.

use std::{collections::BTreeSet, time::Duration};

use mesh_abi::{Be16, Bytes as _, SERVICES, ServiceFlags, ServiceKey, ServiceValue, algorithm, protocol};
use mesh_datapath::{
    Changed, Datapath as _, DatapathErrorKind, RecordingDatapath, Write,
    list::{Listing, View},
};
use mesh_types::{Algorithm, Backend, BackendState, Frontend, FrontendType, Scope, TrafficPolicies, TrafficPolicy};
use test_case::test_case;

use crate::fixture::{Meaning, backend, cluster_ip, frontend_address, node_port};

const VIP: &str = "10.101.0.10:80";

/// A write in one word, for comparing orders.
fn word(write: &Write) -> String {
    match write {
        Write::PutService(key, _) if key.is_wildcard() => "wildcard".to_owned(),
        Write::PutService(key, value) if key.slot == 0 => format!("master {}", value.count),
        Write::PutService(key, _) => format!("slot {}", key.slot),
        Write::PutBackend(key, _) => format!("backend {}", key.0),
        Write::PutReverseNat(..) => "reverse".to_owned(),
        Write::PutAffinityMatch(key) => format!("match {}", key.backend_id),
        Write::RemoveService(key) if key.is_wildcard() => "-wildcard".to_owned(),
        Write::RemoveService(key) => format!("-slot {}", key.slot),
        Write::RemoveBackend(key) => format!("-backend {}", key.0),
        Write::RemoveReverseNat(_) => "-reverse".to_owned(),
        Write::RemoveAffinityMatch(key) => format!("-match {}", key.backend_id),
    }
}

/// The writes since `from`, in words.
fn since(datapath: &RecordingDatapath, from: usize) -> Vec<String> {
    datapath.store().record()[from..].iter().map(word).collect()
}

fn active(address: &str) -> Backend {
    backend(address, BackendState::Active)
}

fn sticky(frontend: Frontend) -> Frontend {
    Frontend { session_affinity: Some(Duration::from_secs(60)), ..frontend }
}

#[test]
fn a_master_is_written_after_its_slots_and_those_after_their_backends() {
    let mut datapath = RecordingDatapath::empty();
    let changed =
        datapath.upsert(&sticky(cluster_ip(VIP, vec![active("10.1.1.2:80"), active("10.2.1.2:80")]))).unwrap();
    let expected =
        ["backend 1", "backend 2", "slot 1", "slot 2", "match 1", "match 2", "reverse", "master 2", "wildcard"];
    assert_eq!(since(&datapath, 0), expected);
    assert_eq!(changed, Changed { written: 9, removed: 0 });
    assert!(!datapath.restored());
}

#[test]
fn nothing_that_is_there_is_written_again() {
    let mut datapath = RecordingDatapath::empty();
    let frontend = cluster_ip(VIP, vec![active("10.1.1.2:80")]);
    datapath.upsert(&frontend).unwrap();
    let before = datapath.store().record().len();
    assert!(datapath.upsert(&frontend).unwrap().is_nothing());
    assert_eq!(datapath.store().record().len(), before);
}

#[test]
fn a_shrinking_service_says_so_in_its_master_before_anything_is_removed() {
    let mut datapath = RecordingDatapath::empty();
    datapath.upsert(&sticky(cluster_ip(VIP, vec![active("10.1.1.2:80"), active("10.2.1.2:80")]))).unwrap();
    let before = datapath.store().record().len();
    datapath.upsert(&sticky(cluster_ip(VIP, vec![active("10.2.1.2:80")]))).unwrap();
    assert_eq!(since(&datapath, before), ["slot 1", "-match 1", "master 1", "-slot 2", "-backend 1"]);
}

#[test]
fn a_service_without_backends_keeps_a_master_that_counts_none() {
    let mut datapath = RecordingDatapath::empty();
    datapath.upsert(&cluster_ip(VIP, vec![active("10.1.1.2:80")])).unwrap();
    let before = datapath.store().record().len();
    datapath.upsert(&cluster_ip(VIP, vec![])).unwrap();
    assert_eq!(since(&datapath, before), ["master 0", "-slot 1", "-backend 1"]);
    assert_eq!(datapath.contents().services().len(), 2, "master and wildcard");
}

#[test]
fn deletion_is_in_ciliums_order_and_complete() {
    let mut datapath = RecordingDatapath::empty();
    datapath.upsert(&sticky(cluster_ip(VIP, vec![active("10.1.1.2:80"), active("10.2.1.2:80")]))).unwrap();
    let before = datapath.store().record().len();
    let changed = datapath.delete(&frontend_address(VIP)).unwrap();
    let expected =
        ["-match 1", "-match 2", "-backend 1", "-backend 2", "-slot 2", "-slot 1", "-slot 0", "-reverse", "-wildcard"];
    assert_eq!(since(&datapath, before), expected);
    assert_eq!(changed, Changed { written: 0, removed: 9 });
    assert_eq!(Meaning::of(datapath.contents()), Meaning::of(RecordingDatapath::empty().contents()));
    assert!(datapath.delete(&frontend_address(VIP)).unwrap().is_nothing(), "a second time");
}

#[test]
fn a_backend_of_two_services_has_one_entry_and_lives_as_long_as_either() {
    let mut datapath = RecordingDatapath::empty();
    datapath.upsert(&cluster_ip(VIP, vec![active("10.1.1.2:80")])).unwrap();
    datapath.upsert(&cluster_ip("10.101.0.11:80", vec![active("10.1.1.2:80")])).unwrap();
    assert_eq!(datapath.contents().backends().len(), 1);
    datapath.delete(&frontend_address(VIP)).unwrap();
    assert_eq!(datapath.contents().backends().len(), 1);
    datapath.upsert(&cluster_ip("10.101.0.11:80", vec![])).unwrap();
    assert_eq!(datapath.contents().backends().len(), 0);
}

#[test]
fn a_wildcard_lives_as_long_as_a_cluster_ip_on_its_address() {
    let mut datapath = RecordingDatapath::empty();
    let wildcards = |datapath: &RecordingDatapath| {
        datapath
            .contents()
            .services()
            .iter()
            .filter(|(key, _)| key.is_wildcard())
            .map(|(key, value)| (key.ip().to_string(), *value))
            .collect::<Vec<_>>()
    };
    let one = vec![("10.101.0.10".to_owned(), ServiceValue::default())];
    datapath.upsert(&cluster_ip("10.101.0.10:80", vec![])).unwrap();
    datapath.upsert(&cluster_ip("10.101.0.10:443", vec![])).unwrap();
    assert_eq!(wildcards(&datapath), one);
    datapath.delete(&frontend_address("10.101.0.10:80")).unwrap();
    assert_eq!(wildcards(&datapath), one, "port 443 is still there");
    datapath.delete(&frontend_address("10.101.0.10:443")).unwrap();
    assert_eq!(wildcards(&datapath), []);
    datapath.upsert(&node_port("172.18.1.11:31000", vec![])).unwrap();
    assert_eq!(wildcards(&datapath), [], "node ports have none");
}

fn with_policies(kind: FrontendType, external: TrafficPolicy, internal: TrafficPolicy) -> Frontend {
    Frontend { kind, policies: TrafficPolicies { external, internal }, ..cluster_ip(VIP, vec![active("10.1.1.2:80")]) }
}

/// Kind, policies, -> flags in Cilium's words, which a slot has too.
#[test_case(FrontendType::ClusterIp, TrafficPolicy::Cluster, TrafficPolicy::Cluster => "ClusterIP, non-routable"; "cluster ip")]
#[test_case(FrontendType::ClusterIp, TrafficPolicy::Cluster, TrafficPolicy::Local => "ClusterIP, InternalLocal, non-routable"; "one scope all the same")]
#[test_case(FrontendType::ClusterIp, TrafficPolicy::Local, TrafficPolicy::Local => "ClusterIP, Local, InternalLocal, non-routable"; "policies of the service")]
#[test_case(FrontendType::NodePort, TrafficPolicy::Local, TrafficPolicy::Cluster => "NodePort, Local, two-scopes"; "node port")]
#[test_case(FrontendType::ExternalIp, TrafficPolicy::Cluster, TrafficPolicy::Cluster => "ExternalIPs"; "external ip")]
#[test_case(FrontendType::LoadBalancer, TrafficPolicy::Local, TrafficPolicy::Local => "LoadBalancer, Local, InternalLocal"; "load balancer")]
#[test_case(FrontendType::LoadBalancer, TrafficPolicy::Cluster, TrafficPolicy::Local => "LoadBalancer, InternalLocal, two-scopes"; "load balancer with two scopes")]
fn flags(kind: FrontendType, external: TrafficPolicy, internal: TrafficPolicy) -> String {
    let mut datapath = RecordingDatapath::empty();
    datapath.upsert(&with_policies(kind, external, internal)).unwrap();
    let key = ServiceKey::from(frontend_address(VIP));
    let services = datapath.contents().services();
    assert_eq!(services[&key].flags, services[&key.with_slot(1)].flags);
    let rows = Listing::from(datapath.contents().clone()).rows(View::Services);
    let [_, master] = rows.iter().find(|[key, _]| key == "10.101.0.10:80/TCP (0)").unwrap();
    master.trim_end().strip_prefix("0.0.0.0:0 (1) (0) [").and_then(|rest| rest.strip_suffix("]")).unwrap().to_owned()
}

#[test]
fn a_surrogate_is_not_routable_and_a_nodes_own_address_is() {
    let mut datapath = RecordingDatapath::empty();
    let addresses = ["0.0.0.0:31000", "172.18.1.11:31000"];
    for address in addresses {
        datapath.upsert(&node_port(address, vec![])).unwrap();
    }
    let routable = addresses.map(|address| {
        datapath.contents().services()[&ServiceKey::from(frontend_address(address))].flags.has(ServiceFlags::ROUTABLE)
    });
    assert_eq!(routable, [false, true]);
}

#[test]
fn two_scopes_are_two_frontends_with_ids_of_their_own() {
    let external = Frontend {
        backends: vec![active("10.1.1.2:80"), active("10.1.2.2:80")],
        ..with_policies(FrontendType::LoadBalancer, TrafficPolicy::Cluster, TrafficPolicy::Local)
    };
    let mut internal = Frontend { backends: vec![active("10.1.1.2:80")], ..external.clone() };
    internal.address.scope = Scope::Internal;
    let mut datapath = RecordingDatapath::empty();
    datapath.upsert(&external).unwrap();
    datapath.upsert(&internal).unwrap();
    let rows = Listing::from(datapath.contents().clone()).rows(View::Services);
    let words = "LoadBalancer, InternalLocal, two-scopes";
    let expected = [
        ["10.101.0.10:0/ANY (0)", "0.0.0.0:0 (0) (0) [LoadBalancer, non-routable] "],
        ["10.101.0.10:80/TCP (0)", &format!("0.0.0.0:0 (1) (0) [{words}] ")],
        ["10.101.0.10:80/TCP (1)", "10.1.1.2:80/TCP (1) (1)"],
        ["10.101.0.10:80/TCP (2)", "10.1.2.2:80/TCP (1) (2)"],
        ["10.101.0.10:80/TCP/i (0)", &format!("0.0.0.0:0 (2) (0) [{words}] ")],
        ["10.101.0.10:80/TCP/i (1)", "10.1.1.2:80/TCP (2) (1)"],
    ];
    assert_eq!(rows, expected);
    let addresses = Meaning::of(datapath.contents()).reverse_nat;
    assert_eq!(addresses, [VIP, VIP], "both ids lead back to the address");

    datapath.delete(&external.address).unwrap();
    assert_eq!(datapath.contents().backends().len(), 1, "that of the internal one");
    let wildcard = ServiceKey::wildcard(ServiceKey::from(external.address).address);
    assert!(datapath.contents().services().contains_key(&wildcard), "the internal one asks for it too");
    datapath.delete(&internal.address).unwrap();
    assert_eq!(*datapath.contents(), mesh_datapath::Contents::default());
}

#[test]
fn a_wildcard_is_of_the_kind_of_the_first_frontend_whatever_came_first() {
    let load_balancer = Frontend { kind: FrontendType::LoadBalancer, ..cluster_ip("10.101.0.10:443", vec![]) };
    let other_kind = cluster_ip(VIP, vec![]);
    let kind = |order: [&Frontend; 2]| {
        let mut datapath = RecordingDatapath::empty();
        for frontend in order {
            datapath.upsert(frontend).unwrap();
        }
        datapath.contents().services()[&ServiceKey::wildcard(ServiceKey::from(load_balancer.address).address)].flags
    };
    assert_eq!(kind([&load_balancer, &other_kind]), ServiceFlags::NONE, "port 80 comes before 443");
    assert_eq!(kind([&other_kind, &load_balancer]), ServiceFlags::NONE);
    let mut datapath = RecordingDatapath::empty();
    datapath.upsert(&other_kind).unwrap();
    datapath.upsert(&load_balancer).unwrap();
    let before = datapath.store().record().len();
    datapath.delete(&other_kind.address).unwrap();
    let Some(Write::PutService(key, value)) = datapath.store().record()[before..].last() else {
        panic!("no write: {:?}", since(&datapath, before))
    };
    assert_eq!((key.is_wildcard(), value.flags), (true, ServiceFlags::LOAD_BALANCER));
}

/// Time-out in seconds and algorithm -> both as they stand in the master.
#[test_case(None, None => (0, algorithm::UNDEFINED); "neither")]
#[test_case(Some(10_800), None => (10_800, algorithm::UNDEFINED); "time-out")]
#[test_case(None, Some(Algorithm::Random) => (0, algorithm::RANDOM); "random")]
#[test_case(Some(10_800), Some(Algorithm::Maglev) => (10_800, algorithm::MAGLEV); "both")]
#[test_case(Some(1 << 24), Some(Algorithm::Maglev) => ((1 << 24) - 1, algorithm::MAGLEV); "a time-out that does not fit")]
#[test_case(Some(u64::MAX), None => ((1 << 24) - 1, algorithm::UNDEFINED); "a time-out that is far too long")]
fn unions(timeout: Option<u64>, algorithm: Option<Algorithm>) -> (u32, u8) {
    let session_affinity = timeout.map(Duration::from_secs);
    let mut datapath = RecordingDatapath::empty();
    datapath.upsert(&Frontend { session_affinity, algorithm, ..cluster_ip(VIP, vec![]) }).unwrap();
    let master = datapath.contents().services()[&ServiceKey::from(frontend_address(VIP))];
    (master.affinity_timeout(), master.algorithm())
}

/// States of backends a, b, c, … -> order of slots, count, qcount.
#[test_case("aaa" => ("abc".to_owned(), 3, 0) ; "all active")]
#[test_case("ta" => ("ba".to_owned(), 1, 1) ; "active before terminating")]
#[test_case("qta" => ("cba".to_owned(), 1, 2) ; "quarantined last")]
#[test_case("tt" => ("ab".to_owned(), 2, 0) ; "terminating serve when nothing is active")]
#[test_case("qt" => ("ba".to_owned(), 1, 1) ; "quarantined never serve")]
#[test_case("qq" => ("ab".to_owned(), 0, 2) ; "only quarantined")]
#[test_case("ma" => ("b".to_owned(), 1, 0) ; "maintenance has no slot")]
#[test_case("m" => (String::new(), 0, 0) ; "only maintenance")]
fn slots(states: &str) -> (String, u16, u16) {
    let backends = states.chars().zip(1u8..).map(|(state, number)| {
        let state = match state {
            'a' => BackendState::Active,
            't' => BackendState::Terminating,
            'q' => BackendState::Quarantined,
            _ => BackendState::Maintenance,
        };
        backend(&format!("10.1.1.{number}:80"), state)
    });
    let mut datapath = RecordingDatapath::empty();
    datapath.upsert(&cluster_ip(VIP, backends.collect())).unwrap();
    let contents = datapath.contents();
    let key = ServiceKey::from(frontend_address(VIP));
    let master = contents.services()[&key];
    let order = contents.frontend(key).filter(|(key, _)| key.slot > 0).map(|(_, value)| {
        let backend = contents.backends()[&mesh_abi::BackendKey(value.backend_id())];
        assert_eq!(value.flags.has(ServiceFlags::QUARANTINED), backend.state == mesh_abi::state::QUARANTINED);
        char::from(b'a' + backend.ip().octets()[3] - 1)
    });
    (order.collect(), master.count, master.qcount)
}

#[test]
fn ids_go_on_after_a_restart() {
    let mut datapath = RecordingDatapath::empty();
    datapath.upsert(&cluster_ip(VIP, vec![active("10.1.1.2:80")])).unwrap();
    datapath.upsert(&cluster_ip("10.101.0.11:80", vec![active("10.1.1.3:80")])).unwrap();
    datapath.delete(&frontend_address(VIP)).unwrap();
    let mut datapath = RecordingDatapath::open(datapath.into_store()).unwrap();
    assert!(datapath.restored());
    datapath.upsert(&cluster_ip(VIP, vec![active("10.1.1.2:80")])).unwrap();
    let master = datapath.contents().services()[&ServiceKey::from(frontend_address(VIP))];
    assert_eq!(master.rev_nat, Be16::new(3), "1 is free but was used not long ago, 2 is taken");
}

#[test]
fn a_frontend_keeps_its_id_and_a_backend_keeps_its_own() {
    let mut datapath = RecordingDatapath::empty();
    datapath.upsert(&cluster_ip(VIP, vec![active("10.1.1.2:80")])).unwrap();
    let before = Meaning::of(datapath.contents());
    let id = datapath.contents().services()[&ServiceKey::from(frontend_address(VIP))].rev_nat;
    datapath.upsert(&cluster_ip(VIP, vec![active("10.1.1.2:80"), active("10.1.1.3:80")])).unwrap();
    datapath.upsert(&cluster_ip(VIP, vec![active("10.1.1.2:80")])).unwrap();
    assert_eq!(Meaning::of(datapath.contents()), before);
    assert_eq!(datapath.contents().services()[&ServiceKey::from(frontend_address(VIP))].rev_nat, id);
}

#[test]
fn prune_removes_foreign_frontends_and_everything_that_nothing_refers_to() {
    let mut datapath = RecordingDatapath::empty();
    let kept = sticky(cluster_ip(VIP, vec![active("10.1.1.2:80")]));
    datapath.upsert(&kept).unwrap();
    let expected = Meaning::of(datapath.contents());
    datapath.upsert(&sticky(cluster_ip("10.101.0.11:80", vec![active("10.1.1.2:80"), active("10.1.1.3:80")]))).unwrap();

    // A writer that was killed between two writes: a slot without a master, ids that nobody has.
    let mut store = datapath.into_store();
    let orphan = ServiceKey::master(std::net::Ipv4Addr::new(10, 101, 0, 12).into(), Be16::new(80), protocol::TCP, 0);
    let value = ServiceValue { union: 77, rev_nat: Be16::new(99), ..ServiceValue::default() };
    store.put(&SERVICES, orphan.with_slot(1).as_bytes(), value.as_bytes());
    store.put(&SERVICES, ServiceKey::wildcard(orphan.address).as_bytes(), ServiceValue::default().as_bytes());
    store.put(&mesh_abi::REVERSE_NAT, &[0, 99], &[0; 6]);
    store.put(&mesh_abi::AFFINITY_MATCH, &[77, 0, 0, 0, 0, 99, 0, 0], &[0]);
    store.put(&mesh_abi::BACKENDS, &[77, 0, 0, 0], &[10, 1, 1, 9, 0, 80, 6, 0, 0, 0, 0, 0]);

    let mut datapath = RecordingDatapath::open(store).unwrap();
    let changed = datapath.prune(&BTreeSet::from([kept.address])).unwrap();
    assert!(!changed.is_nothing());
    assert_eq!(Meaning::of(datapath.contents()), expected);
    assert!(datapath.prune(&BTreeSet::from([kept.address])).unwrap().is_nothing(), "a second time");
}

#[test]
fn an_interrupted_write_is_retryable_and_finished_by_the_next_try() {
    let frontend = sticky(cluster_ip(VIP, vec![active("10.1.1.2:80"), active("10.2.1.2:80")]));
    let mut whole = RecordingDatapath::empty();
    whole.upsert(&frontend).unwrap();
    for writes in 0..whole.store().record().len() {
        let mut datapath = RecordingDatapath::empty();
        datapath.store_mut().fail_after(writes);
        let error = datapath.upsert(&frontend).unwrap_err();
        assert!(error.is_retryable(), "{error:?}");
        assert_eq!(datapath.store().record().len(), writes);
        datapath.store_mut().recover();
        datapath.upsert(&frontend).unwrap();
        assert_eq!(Meaning::of(datapath.contents()), Meaning::of(whole.contents()), "after {writes} writes");
    }
}

#[test]
fn more_backends_than_slots_are_refused_before_anything_is_written() {
    let backends = (0..=u32::from(u16::MAX)).map(|number| {
        let mut backend = active("10.1.1.2:80");
        backend.address.ip = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
        backend
    });
    let mut datapath = RecordingDatapath::empty();
    let error = datapath.upsert(&cluster_ip(VIP, backends.collect())).unwrap_err();
    assert!(matches!(error.kind, DatapathErrorKind::TooManyBackends { found: 65_536, .. }), "{error:?}");
    assert_eq!(error.to_string(), "failed to plan service `default/rebel-base`");
    assert_eq!(error.kind.to_string(), "frontend 10.101.0.10:80/TCP has 65536 backends, at most 65535 fit");
    assert_eq!(datapath.store().record(), []);
}
