//! Who is behind each address.

use std::collections::BTreeMap;

use mesh_core::{Ipcache, IpcacheChange};
use mesh_types::{ClusterName, IpPrefix, IpcacheEntry};
use mesh_wire::{IpEntry, Key, Node};
use proptest::prelude::*;

const RECORD: &str = "../../fixtures/vectors/kvstore/beta-hand-written.jsonl";
/// Our own node as Cilium's agent that was recorded knew it.
const OWN_NODE: &str = r#"{"Name":"node-c1","Cluster":"alpha","IPAddresses":[{"Type":"InternalIP","IP":"172.30.0.2"},
    {"Type":"CiliumInternalIP","IP":"10.9.0.223"}],"IPv4AllocCIDR":{"IP":"10.9.0.0","Mask":"////AA=="},"ClusterID":1}"#;

fn cluster(name: &str) -> Option<ClusterName> {
    Some(ClusterName::new(name).unwrap())
}

fn node(text: &str) -> Node {
    Node::decode(text.as_bytes()).unwrap()
}

/// Applies changes to a map of the datapath.
fn apply(map: &mut BTreeMap<IpPrefix, IpcacheEntry>, changes: Vec<IpcacheChange>) {
    for (prefix, entry) in changes {
        let before = match entry {
            Some(entry) => map.insert(prefix, entry),
            None => map.remove(&prefix),
        };
        assert_ne!(before, entry, "{prefix}: no news");
    }
}

/// `identity tunnel remote` by prefix.
fn texts(map: &BTreeMap<IpPrefix, IpcacheEntry>) -> BTreeMap<String, String> {
    let text = |entry: &IpcacheEntry| {
        let tunnel = entry.tunnel_endpoint.map_or("-".to_owned(), |ip| ip.to_string());
        format!("{} {tunnel} {}", entry.identity, if entry.remote_cluster { "remotecluster" } else { "-" })
    };
    map.iter().map(|(prefix, entry)| (prefix.to_string(), text(entry))).collect()
}

#[test]
fn what_cilium_recorded() {
    let mut ipcache = Ipcache::new("node-c1");
    let mut map = BTreeMap::new();
    apply(&mut map, Ipcache::world());
    apply(&mut map, ipcache.node(None, "node-c1", Some(&node(OWN_NODE))));
    let mut read = 0;
    for line in std::fs::read_to_string(RECORD).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let [Some(key), Some(value)] = ["key", "value"].map(|field| line[field].as_str()) else { continue };
        match key.parse() {
            Ok(Key::Node { name, .. }) => {
                apply(&mut map, ipcache.node(cluster("beta"), &name, Some(&node(value))));
                read += 1;
            }
            Ok(Key::Ip { prefix, .. }) => {
                let entry = IpEntry::decode(value.as_bytes()).unwrap();
                let network = prefix.network();
                let prefix = IpPrefix::new(network.addr(), network.prefix_len()).unwrap();
                apply(&mut map, ipcache.endpoint(cluster("beta"), prefix, Some(&entry)));
                read += 1;
            }
            _ => {}
        }
    }
    assert_eq!(read, 2);
    // As in `fixtures/vectors/cli/bpf-ipcache-list.txt`, but for the Kubernetes API server at 172.30.0.1, which Cilium gives an
    // identity of this node's own: policies are not ours.
    let expected = [
        ("0.0.0.0/0", "2 - -"),
        ("10.2.0.0/24", "2 172.31.0.2 -"),
        ("10.2.0.1/32", "6 172.31.0.2 remotecluster"),
        ("10.2.0.11/32", "131100 172.31.0.2 -"),
        ("10.9.0.223/32", "1 - -"),
        ("172.30.0.2/32", "1 - -"),
        ("172.31.0.2/32", "6 - remotecluster"),
    ];
    assert_eq!(texts(&map), expected.map(|(prefix, entry)| (prefix.to_owned(), entry.to_owned())).into());

    apply(&mut map, ipcache.remove_cluster(&ClusterName::new("beta").unwrap()));
    assert_eq!(map.len(), 3, "ours stay: {map:?}");
}

/// One thing that somebody says.
#[derive(Clone, Debug)]
enum Said {
    Endpoint { cluster: Option<ClusterName>, last: u8, identity: Option<u32> },
    Node { cluster: Option<ClusterName>, name: String, last: Option<u8> },
}

fn anybody() -> impl Strategy<Value = Option<ClusterName>> {
    prop_oneof![Just(None), Just(cluster("beta")), Just(cluster("gamma"))]
}

fn said() -> impl Strategy<Value = Said> {
    let identity = proptest::option::of(256..260_u32);
    let endpoint = (anybody(), 0..4_u8, identity);
    let node = (anybody(), "[ab]", proptest::option::of(0..4_u8));
    prop_oneof![
        endpoint.prop_map(|(cluster, last, identity)| Said::Endpoint { cluster, last, identity }),
        node.prop_map(|(cluster, name, last)| Said::Node { cluster, name, last }),
    ]
}

fn hear(ipcache: &mut Ipcache, said: &Said) -> Vec<IpcacheChange> {
    match said {
        Said::Endpoint { cluster, last, identity } => {
            let entry = identity.map(|identity| {
                let text = format!(r#"{{"IP":"10.0.0.{last}","HostIP":"192.0.2.1","ID":{identity},"Key":0}}"#);
                IpEntry::decode(text.as_bytes()).unwrap()
            });
            let prefix = IpPrefix::from(std::net::IpAddr::from([10, 0, 0, *last]));
            ipcache.endpoint(cluster.clone(), prefix, entry.as_ref())
        }
        Said::Node { cluster, name, last } => {
            let of = cluster.as_ref().map_or("alpha", ClusterName::as_str);
            let value = last.map(|last| {
                node(&format!(
                    r#"{{"Name":"{name}","Cluster":"{of}","ClusterID":2,
                        "IPAddresses":[{{"Type":"InternalIP","IP":"10.0.0.{last}"}}]}}"#
                ))
            });
            ipcache.node(cluster.clone(), name, value.as_ref())
        }
    }
}

/// Who says it of what: later words of the same about the same replace earlier ones.
fn about(said: &Said) -> String {
    match said {
        Said::Endpoint { cluster, last, .. } => format!("{cluster:?} {last}"),
        Said::Node { cluster, name, .. } => format!("{cluster:?} {name}"),
    }
}

proptest! {
    /// The outcome depends on what everybody said last, not on the order.
    #[test]
    fn any_order_of_the_last_words_converges(history in proptest::collection::vec(said(), 0..40), seed in any::<u64>()) {
        let mut ipcache = Ipcache::new("a");
        let mut map = BTreeMap::new();
        for said in &history {
            apply(&mut map, hear(&mut ipcache, said));
        }
        let mut last: Vec<(String, Said)> =
            history.iter().map(|said| (about(said), said.clone())).collect::<BTreeMap<_, _>>().into_iter().collect();
        // Another order, drawn by lot.
        let weight = |name: &str| {
            name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(byte)))
        };
        last.sort_by_key(|(name, _)| weight(name));
        let mut anew = Ipcache::new("a");
        let mut other = BTreeMap::new();
        for (_, said) in &last {
            apply(&mut other, hear(&mut anew, said));
        }
        prop_assert_eq!(&map, &other);
        prop_assert_eq!(map.len(), ipcache.len());
        // Whoever leaves takes nothing of the others along.
        for name in ["beta", "gamma"] {
            apply(&mut map, ipcache.remove_cluster(&ClusterName::new(name).unwrap()));
        }
        let mut alone = Ipcache::new("a");
        let mut ours = BTreeMap::new();
        let local = |said: &&Said| matches!(said, Said::Endpoint { cluster: None, .. } | Said::Node { cluster: None, .. });
        for said in history.iter().filter(local) {
            apply(&mut ours, hear(&mut alone, said));
        }
        prop_assert_eq!(&map, &ours);
    }
}
