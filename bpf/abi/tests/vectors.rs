//! Our layouts against the bytes that Cilium's own agent wrote (`fixtures/vectors/maps`).

use std::{collections::BTreeMap, fs, net::Ipv4Addr, path::Path};

use mesh_abi::{
    AFFINITY_MATCH, AffinityMatchKey, BACKENDS, BackendKey, BackendValue, Bytes, IPCACHE, IpcacheFlags, IpcacheKey,
    IpcacheValue, MAPS, MapType, REVERSE_NAT, REVERSE_SK, ReverseNatKey, ReverseNatValue, SERVICES, ServiceFlags,
    ServiceKey, ServiceValue, protocol, state,
};

fn lines(name: &str) -> Vec<serde_json::Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vectors/maps").join(format!("{name}.jsonl"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn unhex(value: &serde_json::Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Decodes a recorded map, and checks that encoding gives the same bytes again.
fn recorded<K: Bytes, V: Bytes>(name: &str) -> Vec<(K, V)> {
    let entries = lines(name).into_iter().map(|line| {
        let (key_bytes, value_bytes) = (unhex(&line["key"]), unhex(&line["value"]));
        let (key, value) = (K::from_bytes(&key_bytes).unwrap(), V::from_bytes(&value_bytes).unwrap());
        assert_eq!(key.as_bytes(), key_bytes, "key of {name}");
        assert_eq!(value.as_bytes(), value_bytes, "value of {name}");
        (key, value)
    });
    entries.collect()
}

#[test]
fn services() {
    let entries: BTreeMap<ServiceKey, ServiceValue> = recorded(SERVICES.name).into_iter().collect();
    assert_eq!(entries.len(), 18);

    let key = ServiceKey::master(Ipv4Addr::new(10, 96, 101, 65).into(), mesh_abi::Be16::new(8080), protocol::TCP, 0);
    let master = entries[&key];
    assert_eq!((master.count, master.qcount, master.rev_nat.get()), (1, 1, 4));
    assert_eq!(master.affinity_timeout(), 10_800);
    assert_eq!(master.flags, ServiceFlags::SESSION_AFFINITY);
    let slot = entries[&key.with_slot(1)];
    assert_eq!(
        (slot.backend_id(), slot.count, slot.qcount, slot.rev_nat, slot.flags),
        (2, 0, 0, master.rev_nat, master.flags)
    );
    assert_eq!(entries[&key.with_slot(2)].backend_id(), 3);

    let node_port =
        ServiceKey::master(Ipv4Addr::new(172, 30, 0, 2).into(), mesh_abi::Be16::new(31000), protocol::TCP, 0);
    let expected = ServiceFlags::NODE_PORT | ServiceFlags::ROUTABLE | ServiceFlags::SESSION_AFFINITY;
    assert_eq!(entries[&node_port].flags, expected);
    assert_eq!(entries[&ServiceKey::wildcard(key.address)], ServiceValue::default());
    assert!(ServiceKey::wildcard(key.address).is_wildcard() && !key.is_wildcard());
}

#[test]
fn slots_of_a_frontend_are_neighbours_with_the_master_first() {
    let entries: BTreeMap<ServiceKey, ServiceValue> = recorded(SERVICES.name).into_iter().collect();
    let shown: Vec<String> =
        entries.keys().map(|key| format!("{}:{} {}", key.ip(), key.port.get(), key.slot)).collect();
    let expected = [
        "0.0.0.0:31000 0",
        "0.0.0.0:31000 1",
        "0.0.0.0:31000 2",
        "10.96.0.1:0 0",
        "10.96.0.1:443 0",
        "10.96.0.1:443 1",
        "10.96.22.45:0 0",
        "10.96.22.45:80 0",
        "10.96.22.45:80 1",
        "10.96.22.45:80 2",
        "10.96.22.45:80 3",
        "10.96.101.65:0 0",
        "10.96.101.65:8080 0",
        "10.96.101.65:8080 1",
        "10.96.101.65:8080 2",
        "172.30.0.2:31000 0",
        "172.30.0.2:31000 1",
        "172.30.0.2:31000 2",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn backends() {
    let entries: BTreeMap<BackendKey, BackendValue> = recorded(BACKENDS.name).into_iter().collect();
    assert_eq!(entries.len(), 6);
    let terminating = entries[&BackendKey(3)];
    assert_eq!((terminating.ip(), terminating.port.get()), (Ipv4Addr::new(10, 9, 0, 51), 8080));
    assert_eq!((terminating.protocol, terminating.state), (protocol::TCP, state::TERMINATING));
    let remote = entries[&BackendKey(6)];
    assert_eq!((remote.ip(), remote.port.get(), remote.state), (Ipv4Addr::new(10, 2, 0, 12), 80, state::ACTIVE));
    assert_eq!((remote.cluster_id, remote.zone), (0, 0), "remote backends look like local ones");
}

#[test]
fn reverse_nat() {
    let entries: BTreeMap<u16, (Ipv4Addr, u16)> = recorded::<ReverseNatKey, ReverseNatValue>(REVERSE_NAT.name)
        .into_iter()
        .map(|(key, ReverseNatValue { address, port })| (key.0.get(), (address.into(), port.get())))
        .collect();
    assert_eq!(entries[&1], (Ipv4Addr::new(10, 96, 0, 1), 443), "service id 1 is bytes 00 01");
    assert_eq!(entries[&5], (Ipv4Addr::new(10, 96, 22, 45), 80));
    assert_eq!(entries.len(), 5);
}

#[test]
fn affinity_matches() {
    let mut entries: Vec<(u32, u16)> = recorded::<AffinityMatchKey, u8>(AFFINITY_MATCH.name)
        .into_iter()
        .map(|(key, _)| (key.backend_id, key.rev_nat.get()))
        .collect();
    entries.sort_unstable();
    assert_eq!(entries, [(2, 2), (2, 3), (2, 4)], "the terminating backend 3 is in none");
}

#[test]
fn ipcache() {
    let entries: BTreeMap<IpcacheKey, IpcacheValue> = recorded(IPCACHE.name).into_iter().collect();
    assert_eq!(entries.len(), 8);
    let at = |address: [u8; 4], bits| entries[&IpcacheKey::new(address.into(), bits)];
    let node = Ipv4Addr::new(172, 31, 0, 2);

    let pod = at([10, 2, 0, 11], 32);
    assert_eq!((pod.identity, pod.tunnel_ip()), (2 << 16 | 28, node.into()), "cluster 2, identity 28 there");
    assert_eq!((pod.encrypt_key, pod.flags), (0, IpcacheFlags::HAS_TUNNEL));
    let router = at([10, 2, 0, 1], 32);
    assert_eq!(router.flags, IpcacheFlags::HAS_TUNNEL | IpcacheFlags::REMOTE_CLUSTER);
    assert_eq!(at([172, 31, 0, 2], 32).flags, IpcacheFlags::REMOTE_CLUSTER);
    let world = at([0, 0, 0, 0], 0);
    assert_eq!((world.identity, world.tunnel_ip(), world.flags), (2, Ipv4Addr::UNSPECIFIED.into(), IpcacheFlags::NONE));

    let shown: Vec<String> = entries.keys().map(|key| format!("{}/{}", key.ip().unwrap(), key.bits())).collect();
    assert_eq!(shown[..4], ["0.0.0.0/0", "10.2.0.0/24", "10.2.0.1/32", "10.2.0.11/32"], "by address");
}

/// Type, sizes and limit of each map as Cilium pinned them. That agent ran without Helm's `preallocateMaps: false`,
/// hence other flags on hash maps there, and it sized `reverse_sk` by the machine's memory.
#[test]
fn specs() {
    let pinned: BTreeMap<String, serde_json::Value> =
        lines("pinned-maps").into_iter().map(|line| (line["pin"].as_str().unwrap().to_owned(), line)).collect();
    for spec in MAPS {
        let found = &pinned[spec.name];
        let kind = match spec.kind {
            MapType::Hash => "hash",
            MapType::LruHash => "lru_hash",
            MapType::LpmTrie => "lpm_trie",
        };
        assert_eq!(found["type"], kind, "{spec}");
        assert_eq!(found["bytes_key"], spec.key_size, "{spec}");
        assert_eq!(found["bytes_value"], spec.value_size, "{spec}");
        if spec != REVERSE_SK {
            assert_eq!(found["max_entries"], spec.max_entries, "{spec}");
        }
        if spec == IPCACHE {
            assert_eq!(found["flags"], spec.flags.0, "{spec}");
        }
    }
}
