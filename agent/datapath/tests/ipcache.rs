//! The ipcache: which entries are written and in which order, Cilium's own map, and any history of changes.

use std::collections::{BTreeMap, BTreeSet};

use mesh_abi::{IpcacheFlags, IpcacheKey, IpcacheValue, family};
use mesh_datapath::{
    Changed, Ipcache as _, IpcacheChange, IpcacheContents, RecordingIpcache,
    ipcache::memory::{IpcacheWrite, MemoryIpcache},
    list::IpcacheListing,
};
use mesh_types::{IpPrefix, IpcacheEntry};
use proptest::prelude::*;

use crate::fixture::{cilium_ipcache, text};

fn prefix(text: &str) -> IpPrefix {
    text.parse().unwrap()
}

fn entry(identity: u32) -> IpcacheEntry {
    IpcacheEntry { identity, ..IpcacheEntry::default() }
}

fn on_node(identity: u32, node: &str) -> IpcacheEntry {
    IpcacheEntry { tunnel_endpoint: Some(node.parse().unwrap()), ..entry(identity) }
}

fn upsert(text: &str, entry: IpcacheEntry) -> IpcacheChange {
    IpcacheChange::Upsert(prefix(text), entry)
}

fn delete(text: &str) -> IpcacheChange {
    IpcacheChange::Delete(prefix(text))
}

/// The writes since `from` in words.
fn since(ipcache: &RecordingIpcache, from: usize) -> Vec<String> {
    let word = |write: &IpcacheWrite| match write {
        IpcacheWrite::Put(key, value) => format!("{} is {}", key.prefix().unwrap(), value.identity),
        IpcacheWrite::Remove(key) => format!("-{}", key.prefix().unwrap()),
    };
    ipcache.store().record()[from..].iter().map(word).collect()
}

/// What the nodes, pods and prefixes of the recorded mesh are, as far as the recorded agent had them in its ipcache.
fn recorded() -> Vec<(IpPrefix, IpcacheEntry)> {
    let remote_node = |entry| IpcacheEntry { remote_cluster: true, ..entry };
    vec![
        (prefix("0.0.0.0/0"), entry(2)),
        (prefix("10.2.0.0/24"), on_node(2, "172.31.0.2")),
        (prefix("10.2.0.1/32"), remote_node(on_node(6, "172.31.0.2"))),
        (prefix("10.2.0.11/32"), on_node(131_100, "172.31.0.2")),
        (prefix("10.9.0.223/32"), entry(1)),
        (prefix("172.30.0.1/32"), entry(16_777_217)),
        (prefix("172.30.0.2/32"), entry(1)),
        (prefix("172.31.0.2/32"), remote_node(entry(6))),
    ]
}

#[test]
fn our_map_has_the_bytes_of_ciliums_map() {
    let mut ipcache = RecordingIpcache::empty();
    for (prefix, entry) in recorded() {
        assert_eq!(ipcache.upsert(prefix, entry).unwrap(), Changed { written: 1, removed: 0 });
    }
    assert_eq!(ipcache.store().entries(), cilium_ipcache().entries());
}

#[test]
fn ciliums_map_is_taken_over_without_a_write() {
    let mut ipcache = RecordingIpcache::take_over(cilium_ipcache()).unwrap();
    assert!(ipcache.restored());
    let all: Vec<_> = recorded().into_iter().map(|(prefix, entry)| IpcacheChange::Upsert(prefix, entry)).collect();
    assert!(ipcache.update(&all).unwrap().is_nothing());
    let known: BTreeSet<IpPrefix> = recorded().into_iter().map(|(prefix, _)| prefix).collect();
    assert!(ipcache.prune(&|prefix| known.contains(&prefix)).unwrap().is_nothing());
    assert_eq!(ipcache.store().record(), []);
}

#[test]
fn restored_entries_stay_until_a_prune() {
    let mut ipcache = RecordingIpcache::take_over(cilium_ipcache()).unwrap();
    ipcache.upsert(prefix("10.2.0.11/32"), on_node(131_101, "172.31.0.2")).unwrap();
    assert_eq!(since(&ipcache, 0), ["10.2.0.11/32 is 131101"]);
    assert_eq!(ipcache.contents().len(), recorded().len());
    let changed = ipcache.prune(&|prefix| prefix.bits() == 0 || prefix.to_string() == "10.2.0.11/32").unwrap();
    assert_eq!(changed, Changed { written: 0, removed: 6 });
    let left: Vec<_> = ipcache.contents().keys().map(|key| key.prefix().unwrap().to_string()).collect();
    assert_eq!(left, ["0.0.0.0/0", "10.2.0.11/32"]);
}

#[test]
fn a_prune_removes_what_we_would_not_write() {
    let key = IpcacheKey::from(prefix("10.1.0.0/24"));
    let odd = [
        IpcacheKey { cluster_id: 7, ..key },
        IpcacheKey { family: 9, ..key },
        IpcacheKey { pad: 1, ..key },
        IpcacheKey { prefix_len: 7, ..key },
        IpcacheKey { prefix_len: IpcacheKey::STATIC_BITS + 33, ..key },
        IpcacheKey {
            prefix_len: IpcacheKey::STATIC_BITS + 16,
            address: [10, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ..key
        },
    ];
    let mut store = MemoryIpcache::default();
    for key in odd.into_iter().chain([key]) {
        store.put_foreign(key, entry(5).into());
    }
    let mut ipcache = RecordingIpcache::take_over(store).unwrap();
    assert_eq!(ipcache.prune(&|_| true).unwrap(), Changed { written: 0, removed: odd.len() });
    assert_eq!(ipcache.store().entries().keys().copied().collect::<Vec<_>>(), [key]);
}

#[test]
fn only_what_differs_is_written_and_before_anything_is_removed() {
    let mut ipcache = RecordingIpcache::empty();
    ipcache.update(&[upsert("10.1.0.0/24", entry(1)), upsert("10.1.0.7/32", entry(2))]).unwrap();
    let before = ipcache.store().record().len();
    let changed = ipcache
        .update(&[
            delete("10.1.0.0/24"),
            upsert("10.1.0.7/32", entry(2)),
            delete("10.9.0.0/16"),
            upsert("10.1.0.8/32", entry(3)),
        ])
        .unwrap();
    assert_eq!(since(&ipcache, before), ["10.1.0.8/32 is 3", "-10.1.0.0/24"]);
    assert_eq!(changed, Changed { written: 1, removed: 1 });
}

#[test]
fn of_several_changes_of_a_prefix_the_last_one_counts() {
    let mut ipcache = RecordingIpcache::empty();
    ipcache
        .update(&[
            upsert("10.1.0.7/32", entry(1)),
            upsert("10.1.0.8/32", entry(4)),
            delete("10.1.0.7/32"),
            upsert("10.1.0.7/32", entry(3)),
            delete("10.1.0.8/32"),
        ])
        .unwrap();
    assert_eq!(since(&ipcache, 0), ["10.1.0.7/32 is 3"]);
}

#[test]
fn a_full_map_still_loses_what_is_to_go_and_has_room_for_the_next_try() {
    let mut ipcache = RecordingIpcache::empty();
    ipcache.store_mut().limit(2);
    ipcache.update(&[upsert("10.1.0.1/32", entry(1)), upsert("10.1.0.2/32", entry(2))]).unwrap();
    let changes = [upsert("10.1.0.3/32", entry(3)), delete("10.1.0.1/32")];
    let error = ipcache.update(&changes).unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(ipcache.update(&changes).unwrap(), Changed { written: 1, removed: 0 });
    assert_eq!(since(&ipcache, 2), ["-10.1.0.1/32", "10.1.0.3/32 is 3"]);
}

#[test]
fn tunnels_and_flags_of_both_families() {
    let value = |entry: IpcacheEntry| IpcacheValue::from(entry);
    let v4 = value(IpcacheEntry { skip_tunnel: true, encrypt_key: 3, ..on_node(7, "172.18.1.11") });
    assert_eq!((v4.tunnel_endpoint[..5].to_vec(), v4.encrypt_key), (vec![172, 18, 1, 11, 0], 3));
    assert_eq!(v4.flags, IpcacheFlags::HAS_TUNNEL | IpcacheFlags::SKIP_TUNNEL);
    let v6 = value(on_node(7, "fd00::b"));
    assert_eq!((v6.tunnel_endpoint[15], v6.flags.0), (0xb, 6));
    let key = IpcacheKey::from(prefix("fd00:10::/64"));
    assert_eq!((key.prefix_len, key.family, key.prefix()), (96, family::V6, Some(prefix("fd00:10::/64"))));
}

fn listing() -> IpcacheListing {
    let recorded = cilium_ipcache();
    let bytes: Vec<_> = recorded
        .entries()
        .iter()
        .map(|(key, value)| (mesh_abi::Bytes::as_bytes(key), mesh_abi::Bytes::as_bytes(value)))
        .collect();
    IpcacheListing::of_bytes(bytes).unwrap()
}

#[test]
fn the_table_is_ciliums_except_for_the_order_of_rows() {
    let printed = text("bpf-ipcache-list.txt");
    // The first line is the command.
    let (_, printed) = printed.split_once('\n').unwrap();
    let ours = listing().table();
    assert_eq!(ours.lines().next(), printed.lines().next(), "header");
    let rows = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(rows(&ours), rows(printed));
    assert_eq!(ours.lines().count(), printed.lines().count());
}

#[test]
fn json_is_ciliums_byte_for_byte() {
    let printed = text("bpf-ipcache-list-json.txt");
    let (_, printed) = printed.split_once('\n').unwrap();
    assert_eq!(listing().json(), printed);
}

#[test]
fn what_was_not_recorded_is_listed_as_in_ciliums_source() {
    let mut contents = IpcacheContents::default();
    let all = IpcacheEntry { skip_tunnel: true, remote_cluster: true, encrypt_key: 5, ..on_node(8, "fd00::b") };
    contents.put(prefix("fd00:10::/64").into(), all.into());
    contents.put(IpcacheKey { cluster_id: 3, ..prefix("10.1.0.7/32").into() }, entry(9).into());
    let expected = [
        ["10.1.0.7/32@3", "identity=9 encryptkey=0 tunnelendpoint=0.0.0.0 flags=<none>"],
        [
            "fd00:10::/64",
            "identity=8 encryptkey=5 tunnelendpoint=fd00::b flags=skiptunnel,hastunnel,ipv6tunnel,remotecluster",
        ],
    ];
    assert_eq!(IpcacheListing::from(contents).rows(), expected);
}

#[test]
fn an_empty_map_prints_a_header_and_an_empty_object() {
    let listing = IpcacheListing::default();
    assert_eq!(listing.table(), "IP PREFIX/ADDRESS   IDENTITY\n");
    assert_eq!(listing.json(), "{}\n\n");
    let error = IpcacheListing::of_bytes([(&[0u8; 20][..], &[0u8; 24][..])]).unwrap_err();
    assert_eq!(error.kind.to_string(), "found 20 bytes, expected 24 bytes");
}

fn prefixes() -> impl Strategy<Value = IpPrefix> {
    // Few addresses and lengths, so that they meet.
    let v4 = (0..4u8, prop_oneof![Just(24), Just(32)])
        .prop_map(|(host, bits)| IpPrefix::new([10, 1, 0, host].into(), bits).unwrap());
    let v6 = (0..3u16).prop_map(|host| IpPrefix::new([0xfd00, 0, 0, 0, 0, 0, 0, host].into(), 128).unwrap());
    prop_oneof![3 => v4, 1 => v6]
}

fn changes() -> impl Strategy<Value = Vec<IpcacheChange>> {
    let entry = (0..3u32, proptest::option::of(1..4u8)).prop_map(|(identity, node)| IpcacheEntry {
        tunnel_endpoint: node.map(|node| [172, 18, 1, node].into()),
        ..entry(identity)
    });
    let change = prop_oneof![
        2 => (prefixes(), entry).prop_map(|(prefix, entry)| IpcacheChange::Upsert(prefix, entry)),
        1 => prefixes().prop_map(IpcacheChange::Delete),
    ];
    proptest::collection::vec(change, 0..8)
}

#[derive(Clone, Debug)]
enum Act {
    Update(Vec<IpcacheChange>),
    Restart,
    /// From now on, until the next restart, the map holds no more than so many.
    Full(usize),
}

proptest! {
    #[test]
    fn any_history_ends_in_what_was_wanted(acts in proptest::collection::vec(prop_oneof![
        8 => changes().prop_map(Act::Update),
        1 => Just(Act::Restart),
        1 => (0..4usize).prop_map(Act::Full),
    ], 1..20)) {
        let mut ipcache = RecordingIpcache::empty();
        let mut wanted: BTreeMap<IpPrefix, IpcacheEntry> = BTreeMap::new();
        for act in acts {
            match act {
                Act::Update(changes) => {
                    for change in &changes {
                        match *change {
                            IpcacheChange::Upsert(prefix, entry) => drop(wanted.insert(prefix, entry)),
                            IpcacheChange::Delete(prefix) => drop(wanted.remove(&prefix)),
                        }
                    }
                    // A failure is an error that the caller would retry; here the final round does.
                    ipcache.update(&changes).ok();
                }
                Act::Restart => {
                    let mut store = ipcache.into_store();
                    store.limit(usize::MAX);
                    ipcache = RecordingIpcache::take_over(store).unwrap();
                }
                Act::Full(entries) => ipcache.store_mut().limit(entries),
            }
            let mirror: BTreeMap<_, _> = ipcache.contents().iter().collect();
            prop_assert_eq!(&mirror, ipcache.store().entries(), "mirror and map differ");
        }
        ipcache.store_mut().limit(usize::MAX);
        let all: Vec<_> = wanted.iter().map(|(prefix, entry)| IpcacheChange::Upsert(*prefix, *entry)).collect();
        ipcache.update(&all).unwrap();
        ipcache.prune(&|prefix| wanted.contains_key(&prefix)).unwrap();
        let expected: BTreeMap<IpcacheKey, IpcacheValue> =
            wanted.iter().map(|(prefix, entry)| ((*prefix).into(), (*entry).into())).collect();
        prop_assert_eq!(ipcache.store().entries(), &expected);
        prop_assert!(ipcache.update(&all).unwrap().is_nothing(), "a second time");
    }
}
