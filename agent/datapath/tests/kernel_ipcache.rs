//! The ipcache in the running kernel. The ground is that of `tests/kernel.rs`.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    os::fd::{AsFd as _, OwnedFd},
    process::Command,
    time::Instant,
};

use mesh_abi::{Bytes as _, IPCACHE, IpcacheKey, IpcacheValue};
use mesh_datapath::{
    BpfDatapath, BpfIpcache, Changed, Ipcache as _, IpcacheChange, bpf::globals, ipcache::IpcacheStore as _,
    list::IpcacheListing, sys,
};
use mesh_types::{IpPrefix, IpcacheEntry};

use crate::{
    fixture::{self, cilium_ipcache},
    ground::{self, Ground},
};

fn open(ground: &Ground) -> BpfIpcache {
    BpfIpcache::open(&ground.options().bpf_root).unwrap()
}

fn pinned(ground: &Ground) -> OwnedFd {
    let pin = globals(&ground.options().bpf_root).join(IPCACHE.name);
    sys::open_pin(&pin, sys::PinAccess::Read).unwrap().expect("the map is pinned")
}

/// Puts Cilium's recorded entries and one of IPv6 into the map.
fn fill(ipcache: &mut BpfIpcache) -> BTreeMap<IpcacheKey, IpcacheValue> {
    let mut entries = cilium_ipcache().entries().clone();
    let node = Some("fd00::b".parse().unwrap());
    let entry = IpcacheEntry { identity: 9, tunnel_endpoint: node, encrypt_key: 3, ..IpcacheEntry::default() };
    entries.insert("fd00:10::/64".parse::<IpPrefix>().unwrap().into(), entry.into());
    let all: Vec<_> = entries.iter().map(|(key, value)| (*key, *value)).collect();
    ipcache.store_mut().put(&all).unwrap();
    entries
}

#[test]
fn root_entries_outlive_the_agent_and_are_taken_over() {
    ground::run(|ground| {
        let mut ipcache = open(ground);
        assert!(!ipcache.restored());
        assert_eq!(sys::map_info(pinned(ground).as_fd()).unwrap(), sys::MapInfo::from(&IPCACHE));
        let entries = fill(&mut ipcache);
        drop(ipcache);

        let mut ipcache = open(ground);
        assert!(ipcache.restored());
        assert_eq!(ipcache.contents().iter().collect::<BTreeMap<_, _>>(), entries);
        let pod: IpPrefix = "10.2.0.11/32".parse().unwrap();
        let entry = IpcacheEntry { identity: 77, ..IpcacheEntry::default() };
        assert_eq!(ipcache.upsert(pod, entry).unwrap(), Changed { written: 1, removed: 0 });
        assert!(ipcache.upsert(pod, entry).unwrap().is_nothing());
        let changed = ipcache.prune(&|prefix| prefix == pod || prefix.bits() == 24).unwrap();
        assert_eq!(changed, Changed { written: 0, removed: entries.len() - 2 });
        assert_eq!(ipcache.delete(pod).unwrap(), Changed { written: 0, removed: 1 });
        let left = sys::entries(pinned(ground).as_fd(), &IPCACHE).unwrap();
        assert_eq!(left.len(), 1, "{left:?}");
    });
}

#[test]
fn root_a_lookup_finds_the_longest_prefix() {
    ground::run(|ground| {
        fill(&mut open(ground));
        let identity = |address: &str| {
            let key = IpcacheKey::from(IpPrefix::from(address.parse::<std::net::IpAddr>().unwrap()));
            let found = sys::lookup(pinned(ground).as_fd(), &IPCACHE, key.as_bytes()).unwrap();
            found
                .map(|value| IpcacheValue::from_bytes(&value).unwrap())
                .map(|value| (value.identity, value.tunnel_ip()))
        };
        let node = Ipv4Addr::new(172, 31, 0, 2).into();
        assert_eq!(identity("10.2.0.11"), Some((131_100, node)), "a pod");
        assert_eq!(identity("10.2.0.99"), Some((2, node)), "another address of its node");
        assert_eq!(identity("192.0.2.1"), Some((2, Ipv4Addr::UNSPECIFIED.into())), "the world");
        assert_eq!(identity("fd00:10::7"), Some((9, "fd00::b".parse().unwrap())));
        assert_eq!(identity("fd00:11::7"), None, "the families do not mix");
    });
}

#[test]
fn root_bpftool_dumps_the_bytes_that_the_list_claims() {
    if Command::new("bpftool").arg("version").output().is_err() {
        ground::say("skipped: bpftool is not installed");
        return;
    }
    ground::run(|ground| {
        let root = ground.options().bpf_root;
        let entries = fill(&mut open(ground));
        let pin = globals(&root).join(IPCACHE.name);
        let output = Command::new("bpftool").args(["-j", "map", "dump", "pinned"]).arg(pin).output().unwrap();
        assert!(output.status.success(), "bpftool: {}", String::from_utf8_lossy(&output.stderr));
        let dumped: Vec<(Vec<u8>, Vec<u8>)> = serde_json::from_slice::<Vec<serde_json::Value>>(&output.stdout)
            .unwrap()
            .iter()
            .map(|entry| (fixture::dumped_bytes(&entry["key"]), fixture::dumped_bytes(&entry["value"])))
            .collect();
        assert_eq!(dumped.len(), entries.len());
        let listing = IpcacheListing::read(&root).unwrap();
        let of_dump = IpcacheListing::of_bytes(dumped.iter().map(|(key, value)| (&key[..], &value[..]))).unwrap();
        assert_eq!((listing.table(), listing.json()), (of_dump.table(), of_dump.json()));
        assert_eq!(listing.contents().iter().collect::<BTreeMap<_, _>>(), entries);
    });
}

#[test]
fn root_the_datapath_makes_the_map_and_takes_it_away() {
    ground::run(|ground| {
        let datapath = BpfDatapath::open(&ground.options()).unwrap();
        fill(&mut open(ground));
        assert_eq!(sys::map_info(pinned(ground).as_fd()).unwrap(), sys::MapInfo::from(&IPCACHE));
        datapath.remove().unwrap();
        assert_eq!(std::fs::read_dir(globals(&ground.options().bpf_root)).unwrap().count(), 0, "maps that are left");
        assert!(IpcacheListing::read(&ground.options().bpf_root).is_err(), "nothing to list");
    });
}

#[test]
fn root_many_entries_are_written_read_and_removed_in_batches() {
    ground::run(|ground| {
        const PODS: u32 = 200_000;
        let prefix = |pod| IpPrefix::from(std::net::IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + pod)));
        let entry = |pod| IpcacheEntry {
            identity: pod,
            tunnel_endpoint: Some(Ipv4Addr::from_bits(0xac10_0000 + pod / 100).into()),
            ..IpcacheEntry::default()
        };
        let all: Vec<_> = (0..PODS).map(|pod| IpcacheChange::Upsert(prefix(pod), entry(pod))).collect();
        let mut ipcache = open(ground);
        let start = Instant::now();
        assert_eq!(ipcache.update(&all).unwrap().written, PODS as usize);
        ground::say(&format!("{PODS} entries written in {:?}", start.elapsed()));
        let start = Instant::now();
        assert!(ipcache.update(&all).unwrap().is_nothing());
        ground::say(&format!("found written already in {:?}", start.elapsed()));

        let start = Instant::now();
        let mut ipcache = open(ground);
        ground::say(&format!("taken over in {:?}", start.elapsed()));
        assert_eq!(ipcache.contents().len(), PODS as usize);
        let map = pinned(ground);
        let mut batched = sys::entries(map.as_fd(), &IPCACHE).unwrap();
        batched.sort_unstable();
        assert_eq!(batched, sys::entries_singly(map.as_fd(), &IPCACHE).unwrap());

        // One is gone that the mirror believes in: the batch stops there, and the rest goes one by one.
        let missing = IpcacheKey::from(prefix(10));
        let writable =
            sys::open_pin(&globals(&ground.options().bpf_root).join(IPCACHE.name), sys::PinAccess::ReadWrite);
        sys::delete(writable.unwrap().unwrap().as_fd(), &IPCACHE, missing.as_bytes()).unwrap();
        let start = Instant::now();
        let changed = ipcache.prune(&|found| found == prefix(PODS - 1)).unwrap();
        ground::say(&format!("removed in {:?}", start.elapsed()));
        assert_eq!(changed, Changed { written: 0, removed: PODS as usize - 1 });
        let left = sys::entries(map.as_fd(), &IPCACHE).unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].0, IpcacheKey::from(prefix(PODS - 1)).as_bytes());
    });
}
