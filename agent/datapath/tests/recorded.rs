//! Held against Cilium: the frontends of `fixtures/vectors/input` must give maps that mean what Cilium's maps mean,
//! and listings of Cilium's maps must be what `cilium-dbg` printed.

mod fixture;

use std::{collections::BTreeSet, time::Duration};

use fixture::{Meaning, backend, cilium, cluster_ip, node_port, text};
use mesh_abi::LB_MAPS;
use mesh_datapath::{
    Contents, Datapath as _, RecordingDatapath,
    list::{Listing, View},
};
use mesh_types::{BackendState, Frontend};
use test_case::test_case;

const AFFINITY_TIMEOUT: Duration = Duration::from_secs(10_800);

/// What `fixtures/vectors/input` and the remote cluster's etcd ask for.
fn frontends() -> Vec<Frontend> {
    let node_port_backends =
        || vec![backend("10.9.0.50:8080", BackendState::Active), backend("10.9.0.51:8080", BackendState::Terminating)];
    let sticky = |frontend: Frontend| Frontend { session_affinity: Some(AFFINITY_TIMEOUT), ..frontend };
    vec![
        cluster_ip("10.96.0.1:443", vec![backend("172.30.0.1:16443", BackendState::Active)]),
        sticky(node_port("0.0.0.0:31000", node_port_backends())),
        sticky(node_port("172.30.0.2:31000", node_port_backends())),
        sticky(cluster_ip("10.96.101.65:8080", node_port_backends())),
        cluster_ip(
            "10.96.22.45:80",
            vec![
                backend("10.1.0.11:80", BackendState::Active),
                backend("10.2.0.11:80", BackendState::Active),
                backend("10.2.0.12:80", BackendState::Active),
            ],
        ),
    ]
}

#[test]
fn our_maps_mean_what_ciliums_maps_mean() {
    let mut datapath = RecordingDatapath::empty();
    for frontend in frontends() {
        datapath.upsert(&frontend).unwrap();
    }
    let ciliums = Contents::read(&cilium()).unwrap();
    assert_eq!(Meaning::of(datapath.contents()), Meaning::of(&ciliums));
}

#[test]
fn ciliums_maps_are_taken_over_without_a_write() {
    let mut datapath = mesh_datapath::Balancer::open(cilium()).unwrap();
    assert!(datapath.restored());
    for frontend in frontends() {
        let changed = datapath.upsert(&frontend).unwrap();
        assert!(changed.is_nothing(), "{}: {changed:?}", frontend.address);
    }
    let keep: BTreeSet<_> = frontends().iter().map(|frontend| frontend.address).collect();
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
