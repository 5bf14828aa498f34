//! Held against Cilium: its maps are taken over as they are, and listings of them are what `cilium-dbg` printed.
//! That the frontends of `fixtures/vectors/input` give maps with the same meaning is in `recorded_entries.rs`.

use std::collections::BTreeSet;

use mesh_abi::LB_MAPS;
use mesh_datapath::{
    Contents, Datapath as _,
    list::{Listing, View},
};
use test_case::test_case;

use crate::fixture::{self, cilium, recorded_frontends, text};

#[test]
fn ciliums_maps_are_taken_over_without_a_write() {
    let mut datapath = mesh_datapath::Balancer::open(cilium()).unwrap();
    assert!(datapath.restored());
    for frontend in recorded_frontends() {
        let changed = datapath.upsert(&frontend).unwrap();
        assert!(changed.is_nothing(), "{}: {changed:?}", frontend.address);
    }
    let keep: BTreeSet<_> = recorded_frontends().iter().map(|frontend| frontend.address).collect();
    assert!(datapath.prune(&keep).unwrap().is_nothing());
    assert_eq!(datapath.store().record(), []);
}

#[test]
fn every_byte_of_ciliums_maps_survives_the_mirror() {
    let (source, ciliums) = (cilium(), Contents::read(&cilium()).unwrap());
    let mut copy = mesh_datapath::memory::MemoryMaps::default();
    for write in fixture::writes(&ciliums) {
        copy.put(write.map(), write.key(), write.value().unwrap());
    }
    for map in &LB_MAPS {
        use mesh_datapath::MapSource as _;
        assert_eq!(copy.entries(map).unwrap(), source.entries(map).unwrap(), "{map}");
    }
}

#[test_case("bpf-lb-list.txt", View::Services ; "services")]
#[test_case("bpf-lb-list-frontends.txt", View::Frontends ; "frontends")]
#[test_case("bpf-lb-list-backends.txt", View::Backends ; "backends")]
#[test_case("bpf-lb-list-revnat.txt", View::ReverseNat ; "reverse NAT")]
fn tables_are_ciliums_except_for_the_order_of_rows(file: &str, view: View) {
    let printed = text(file);
    // The first line is the command.
    let (_, printed) = printed.split_once('\n').unwrap();
    let ours = Listing::from(Contents::read(&cilium()).unwrap()).table(view);
    assert_eq!(ours.lines().next(), printed.lines().next(), "header");
    let rows = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(rows(&ours), rows(printed));
    assert_eq!(ours.lines().count(), printed.lines().count());
}

#[test]
fn json_is_ciliums_byte_for_byte() {
    let printed = text("bpf-lb-list-json.txt");
    let (_, printed) = printed.split_once('\n').unwrap();
    assert_eq!(Listing::from(Contents::read(&cilium()).unwrap()).json(View::Services), printed);
}

#[test]
fn rows_are_sorted() {
    let listing = Listing::from(Contents::read(&cilium()).unwrap());
    let first: Vec<String> = listing.rows(View::Services).into_iter().map(|[key, _]| key).collect();
    assert_eq!(
        first[..4],
        ["0.0.0.0:31000/TCP (0)", "0.0.0.0:31000/TCP (1)", "0.0.0.0:31000/TCP (2)", "10.96.0.1:0/ANY (0)"]
    );
    assert_eq!(first[6], "10.96.22.45:0/ANY (0)", "10.96.22 before 10.96.101: by number, not by letter");
}

#[test]
fn empty_maps_print_a_header_and_an_empty_object() {
    let listing = Listing::default();
    assert_eq!(listing.table(View::Services), "SERVICE ADDRESS   BACKEND ADDRESS (REVNAT_ID) (SLOT)\n");
    assert_eq!(listing.json(View::Services), "{}\n\n");
}
