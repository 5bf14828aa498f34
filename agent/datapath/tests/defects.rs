//! Each planted defect makes the maps wrong in the way that its name says. Without, the same steps come out right.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use mesh_abi::{ServiceKey, ServiceValue};
use mesh_datapath::{BpfDatapath, Contents, Datapath as _, RecordingDatapath, Write};
use mesh_planted::{Defect, plant_here};
use mesh_types::BackendState::{self, Active, Terminating};
use test_case::test_case;

use crate::{
    fixture::{backend, cluster_ip, frontend_address},
    ground,
};

const VIP: &str = "10.101.0.10:80";
const ONE: &str = "10.1.1.2:80";
const TWO: &str = "10.2.1.2:80";
/// Defects that show in memory wait for this long where a wrong state is to be seen.
const PAUSE: Duration = Duration::from_millis(50);

fn upsert(datapath: &mut RecordingDatapath, backends: &[(&str, BackendState)]) {
    let backends = backends.iter().map(|(address, state)| backend(address, *state)).collect();
    datapath.upsert(&cluster_ip(VIP, backends)).unwrap();
}

/// Two backends, of which only the second stays.
fn shrunk() -> RecordingDatapath {
    let mut datapath = RecordingDatapath::empty();
    upsert(&mut datapath, &[(ONE, Active), (TWO, Active)]);
    upsert(&mut datapath, &[(TWO, Active)]);
    datapath
}

fn master(contents: &Contents) -> &ServiceValue {
    &contents.services()[&ServiceKey::from(frontend_address(VIP))]
}

/// Count, slots and backends.
fn shape(contents: &Contents) -> (u16, usize, usize) {
    let slots = contents.services().keys().filter(|key| key.slot > 0).count();
    (master(contents).count, slots, contents.backends().len())
}

#[test_case(None => (1, 1, 1) ; "right")]
#[test_case(Some(Defect::SlotCountTooMany) => (2, 1, 1) ; "count")]
#[test_case(Some(Defect::SlotCountOffByOne) => (1, 1, 1) ; "one backend is counted")]
#[test_case(Some(Defect::StaleSlotLeft) => (1, 2, 2) ; "slot and backend")]
#[test_case(Some(Defect::OrphanBackendLeft) => (1, 1, 2) ; "backend")]
fn after_shrinking(defect: Option<Defect>) -> (u16, usize, usize) {
    let _planting = plant_here(defect);
    shape(shrunk().contents())
}

#[test_case(None => (2, 2, 2) ; "right")]
#[test_case(Some(Defect::SlotCountOffByOne) => (1, 2, 2) ; "one less")]
#[test_case(Some(Defect::SlotCountTooMany) => (2, 2, 2) ; "only after shrinking")]
fn with_two(defect: Option<Defect>) -> (u16, usize, usize) {
    let _planting = plant_here(defect);
    let mut datapath = RecordingDatapath::empty();
    upsert(&mut datapath, &[(ONE, Active), (TWO, Active)]);
    shape(datapath.contents())
}

#[test_case(None => vec!["10.101.0.10"] ; "right")]
#[test_case(Some(Defect::RevNatWrong) => vec!["10.101.0.11"] ; "wrong")]
fn reverse_nat(defect: Option<Defect>) -> Vec<String> {
    let _planting = plant_here(defect);
    let contents = shrunk();
    contents.contents().reverse_nat().values().map(|value| Ipv4Addr::from(value.address).to_string()).collect()
}

/// Which backend is chosen: the one in the first slot, and how many are.
#[test_case(None => ("10.2.1.2".to_owned(), 1) ; "right: the active one")]
#[test_case(Some(Defect::TerminatingPreferred) => ("10.1.1.2".to_owned(), 1) ; "wrong: the terminating one")]
fn terminating_preferred(defect: Option<Defect>) -> (String, u16) {
    let _planting = plant_here(defect);
    let mut datapath = RecordingDatapath::empty();
    upsert(&mut datapath, &[(ONE, Terminating), (TWO, Active)]);
    let contents = datapath.contents();
    let slot = contents.services()[&ServiceKey::from(frontend_address(VIP)).with_slot(1)];
    let backend = contents.backends()[&mesh_abi::BackendKey(slot.backend_id())];
    (Ipv4Addr::from(backend.address).to_string(), master(contents).count)
}

#[test_case(None => 0 ; "right")]
#[test_case(Some(Defect::WildcardLeft) => 1 ; "wrong")]
fn entries_after_deletion(defect: Option<Defect>) -> usize {
    let _planting = plant_here(defect);
    let mut datapath = shrunk();
    datapath.delete(&frontend_address(VIP)).unwrap();
    datapath.contents().services().len()
}

/// Counts that the master had, and whether the first of them was written before any backend; how long it took.
fn growth(defect: Option<Defect>) -> (Vec<u16>, bool, Duration) {
    let mut datapath = RecordingDatapath::empty();
    upsert(&mut datapath, &[(ONE, Active)]);
    let before = datapath.store().record().len();
    let _planting = plant_here(defect);
    let start = Instant::now();
    upsert(&mut datapath, &[(ONE, Active), (TWO, Active)]);
    let took = start.elapsed();
    let record = &datapath.store().record()[before..];
    let counts = record.iter().filter_map(|write| match write {
        Write::PutService(key, value) if key.slot == 0 && !key.is_wildcard() => Some(value.count),
        _ => None,
    });
    (counts.collect(), matches!(record.first(), Some(Write::PutService(key, _)) if key.slot == 0), took)
}

#[test]
fn growing_passes_through_wrong_states() {
    let (counts, master_first, _) = growth(None);
    assert_eq!((counts, master_first), (vec![2], false));
    let (counts, master_first, took) = growth(Some(Defect::MasterWrittenFirst));
    assert_eq!((counts, master_first), (vec![2], true));
    assert!(took >= PAUSE, "{took:?}");
    let (counts, _, took) = growth(Some(Defect::BackendsFlapping));
    assert_eq!(counts, [0, 2]);
    assert!(took >= PAUSE, "{took:?}");
}

#[test]
fn backends_flap_only_when_something_changes() {
    let _planting = plant_here(Defect::BackendsFlapping);
    let mut datapath = RecordingDatapath::empty();
    upsert(&mut datapath, &[(ONE, Active)]);
    let before = datapath.store().record().len();
    upsert(&mut datapath, &[(ONE, Active)]);
    assert_eq!(datapath.store().record().len(), before);
}

/// Whether a second life finds the entries of the first, and how many links there are between the two.
fn restart(defect: Option<Defect>) -> Option<(bool, usize)> {
    let mut seen = None;
    ground::run(|ground| {
        let _planting = plant_here(defect);
        let options = ground.options();
        let mut datapath = BpfDatapath::open(&options).unwrap();
        datapath.upsert(&cluster_ip(VIP, vec![backend(ONE, Active)])).unwrap();
        drop(datapath);
        let links = std::fs::read_dir(mesh_datapath::bpf::links(&options.bpf_root)).unwrap().count();
        seen = Some((BpfDatapath::open(&options).unwrap().restored(), links));
    });
    seen
}

#[test_case(None, (true, 5) ; "right")]
#[test_case(Some(Defect::RestartClearsMaps), (false, 5) ; "maps gone")]
#[test_case(Some(Defect::RestartDetaches), (true, 0) ; "links gone")]
fn root_restart(defect: Option<Defect>, expected: (bool, usize)) {
    if let Some(seen) = restart(defect) {
        assert_eq!(seen, expected);
    }
}
