//! Whatever happens in whatever order, the maps end up right, and are never wrong for a connection in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use mesh_abi::{BackendKey, ServiceKey};
use mesh_datapath::{Balancer, Contents, Datapath as _, RecordingDatapath, Write, memory::MemoryMaps};
use mesh_types::{
    Algorithm, Backend, BackendAddress, BackendState, Frontend, FrontendAddress, FrontendType, Protocol, Scope,
    ServiceKey as Name, TrafficPolicies, TrafficPolicy,
};
use proptest::prelude::*;

use crate::fixture::Meaning;

#[derive(Clone, Debug)]
enum Act {
    Upsert(Frontend),
    Delete(FrontendAddress),
    Restart,
    /// The next upserts or deletions fail after so many writes, until the restart that follows.
    Fail(usize),
}

fn address() -> impl Strategy<Value = FrontendAddress> {
    (1..4u8, 80..82u16, any::<bool>(), any::<bool>()).prop_map(|(host, port, udp, internal)| FrontendAddress {
        ip: Ipv4Addr::new(10, 101, 0, host),
        port,
        protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
        scope: if internal { Scope::Internal } else { Scope::External },
    })
}

fn state() -> impl Strategy<Value = BackendState> {
    prop_oneof![
        6 => Just(BackendState::Active),
        2 => Just(BackendState::Terminating),
        1 => Just(BackendState::Quarantined),
        1 => Just(BackendState::Maintenance),
    ]
}

fn kind() -> impl Strategy<Value = FrontendType> {
    prop_oneof![
        3 => Just(FrontendType::ClusterIp),
        1 => Just(FrontendType::NodePort),
        1 => Just(FrontendType::ExternalIp),
        1 => Just(FrontendType::LoadBalancer),
    ]
}

fn frontend() -> impl Strategy<Value = Frontend> {
    let backends = proptest::collection::btree_map(1..7u8, state(), 0..6);
    (address(), kind(), any::<[bool; 3]>(), backends).prop_map(|(address, kind, [sticky, local, maglev], backends)| {
        Frontend {
            address,
            kind,
            service: Name::new("default", "rebel-base"),
            session_affinity: sticky.then_some(Duration::from_secs(60)),
            policies: TrafficPolicies {
                internal: if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster },
                ..TrafficPolicies::default()
            },
            algorithm: maglev.then_some(Algorithm::Maglev),
            backends: backends
                .into_iter()
                .map(|(host, state)| Backend {
                    state,
                    address: BackendAddress { ip: Ipv4Addr::new(10, 1, 0, host), port: 80, protocol: address.protocol },
                    cluster: None,
                })
                .collect(),
        }
    })
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        8 => frontend().prop_map(Act::Upsert),
        3 => address().prop_map(Act::Delete),
        1 => Just(Act::Restart),
        1 => (0..6usize).prop_map(Act::Fail),
    ];
    proptest::collection::vec(act, 1..40)
}

/// Runs the acts and gives the datapath and what was wanted last, state by state as far as backends are shared.
fn run(acts: &[Act]) -> (RecordingDatapath, BTreeMap<FrontendAddress, Frontend>) {
    let mut datapath = RecordingDatapath::empty();
    let mut wanted = BTreeMap::new();
    for act in acts {
        // A failure is an error that the caller would retry; here the final round does.
        match act {
            Act::Upsert(frontend) => {
                wanted.insert(frontend.address, frontend.clone());
                datapath.upsert(frontend).ok();
            }
            Act::Delete(address) => {
                wanted.remove(address);
                datapath.delete(address).ok();
            }
            Act::Restart => datapath = reopen(datapath),
            Act::Fail(writes) => datapath.store_mut().fail_after(*writes),
        }
    }
    (reopen(datapath), wanted)
}

fn reopen(datapath: RecordingDatapath) -> RecordingDatapath {
    let mut store: MemoryMaps = datapath.into_store();
    store.recover();
    Balancer::open(store).unwrap()
}

/// Upserts everything that is wanted and prunes the rest, as an agent does after its start.
fn settle(datapath: &mut RecordingDatapath, wanted: &BTreeMap<FrontendAddress, Frontend>) {
    for frontend in wanted.values() {
        datapath.upsert(frontend).unwrap();
    }
    datapath.prune(&wanted.keys().copied().collect()).unwrap();
}

/// Every slot that a connection can be sent to exists and has a backend, except in a frontend being deleted.
fn assert_serves(contents: &Contents, deleted: Option<ServiceKey>, when: &str) {
    for (key, value) in contents.services().iter().filter(|(key, _)| key.slot == 0) {
        if Some(*key) == deleted {
            continue;
        }
        for slot in 1..=value.count {
            let found = contents.services().get(&key.with_slot(slot));
            let found =
                found.unwrap_or_else(|| panic!("{when}: {key:?} counts {} but has no slot {slot}", value.count));
            assert!(
                contents.backends().contains_key(&BackendKey(found.backend_id())),
                "{when}: slot {slot} of {key:?} leads nowhere"
            );
            assert_eq!(found.rev_nat, value.rev_nat, "{when}: slot {slot} of {key:?} has another service id");
        }
        let id = mesh_abi::ReverseNatKey(value.rev_nat);
        assert!(key.is_wildcard() || contents.reverse_nat().contains_key(&id), "{when}: {key:?} has no reverse entry");
    }
}

proptest! {
    #[test]
    fn any_history_ends_in_the_maps_of_a_fresh_start(acts in acts()) {
        let (mut datapath, wanted) = run(&acts);
        settle(&mut datapath, &wanted);
        let mut fresh = RecordingDatapath::empty();
        settle(&mut fresh, &wanted);
        prop_assert_eq!(Meaning::of(datapath.contents()), Meaning::of(fresh.contents()));
        prop_assert_eq!(&Contents::read(datapath.store()).unwrap(), datapath.contents(), "mirror and maps differ");

        // Settling again writes only states of backends that two services see differently.
        let shared: BTreeSet<_> = wanted.values().flat_map(|frontend| &frontend.backends).cloned().collect();
        let addresses: BTreeSet<_> = shared.iter().map(|backend| backend.address).collect();
        if shared.len() == addresses.len() {
            let before = datapath.store().record().len();
            settle(&mut datapath, &wanted);
            prop_assert_eq!(datapath.store().record().len(), before, "a second time");
        }
    }

    #[test]
    fn no_moment_sends_a_connection_nowhere(acts in acts()) {
        let mut datapath = RecordingDatapath::empty();
        let mut seen = Contents::default();
        for act in &acts {
            let before = datapath.store().record().len();
            let deleted = match act {
                Act::Upsert(frontend) => {
                    datapath.upsert(frontend).unwrap();
                    None
                }
                Act::Delete(address) => {
                    datapath.delete(address).unwrap();
                    Some(ServiceKey::from(*address))
                }
                Act::Restart | Act::Fail(_) => {
                    datapath = reopen(datapath);
                    None
                }
            };
            let writes: Vec<Write> = datapath.store().record().get(before..).unwrap_or_default().to_vec();
            for write in writes {
                seen.apply(&write);
                assert_serves(&seen, deleted, &format!("{act:?}, {write:?}"));
            }
        }
        prop_assert_eq!(&seen, datapath.contents());
    }
}
