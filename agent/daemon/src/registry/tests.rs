//! Against what `cilium-dbg` printed for the recorded mesh (`fixtures/vectors`).

use std::fs;

use super::*;
use crate::status::{identity_table, node_table};

fn name(name: &str) -> ClusterName {
    ClusterName::new(name).expect("valid")
}

/// The recorded value of the only key of cluster `beta` that contains `part`, with what follows `part`.
fn recorded(part: &str) -> (String, Vec<u8>) {
    let text = fs::read_to_string("../../fixtures/vectors/kvstore/beta-hand-written.jsonl").expect("readable");
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let found = lines.filter_map(|line| {
        let (key, value) = (line["key"].as_str()?, line["value"].as_str()?);
        let (before, tail) = key.split_once(part)?;
        (before == "cilium").then(|| (tail.to_owned(), value.as_bytes().to_vec()))
    });
    let found: Vec<(String, Vec<u8>)> = found.collect();
    assert_eq!(found.len(), 1, "{part}");
    found.into_iter().next().expect("one")
}

/// What a recorded command printed, without the line that is the command.
fn printed(file: &str) -> String {
    let text = fs::read_to_string(format!("../../fixtures/vectors/cli/{file}")).expect("readable");
    text.split_once('\n').expect("a first line").1.to_owned()
}

/// The recorded mesh as node `node-c1` of cluster `alpha` knows it.
fn registry() -> Registry {
    let mut registry = Registry::new(name("alpha"), "node-c1");
    let (node, value) = recorded("/state/nodes/v1/beta/");
    let beta = Node::decode(&value).expect("valid");
    registry.node(Some(name("beta")), &node, Some(&beta));
    let (number, value) = recorded("/state/identities/v1/id/");
    let labels = IdentityLabels::decode(&value).expect("valid");
    registry.identity(Some(name("beta")), number.parse().expect("a number"), Some(&labels));
    // Our own node is no key of `beta`: what the recorded list says of it.
    let addresses = vec![mesh_wire::NodeAddress { kind: "InternalIP".into(), ip: [172, 30, 0, 2].into() }];
    let pods = Some("10.9.0.0/24".parse().expect("a network"));
    let ours = Node { name: "node-c1".into(), cluster: name("alpha"), addresses, ipv4_pods: pods, ..beta };
    registry.node(None, "node-c1", Some(&ours));
    registry
}

#[test]
fn nodes_are_listed_as_cilium_lists_them() {
    assert_eq!(node_table(&registry().nodes()), printed("node-list.txt"));
}

/// Identities that Cilium lists and we do not, and why.
const NOT_LISTED: [(std::ops::RangeInclusive<u32>, &str); 2] = [
    (100..=115, "well-known ones: Cilium's chart turns them off, and nothing here gives them out"),
    (0x0100_0000..=0x01ff_ffff, "identities of CIDRs are made for policies, which are not ours yet"),
];

#[test]
fn identities_are_listed_as_cilium_lists_them_but_for_the_listed_differences() {
    let mut kept = String::new();
    let mut keep = true;
    for line in printed("identity-list.txt").lines() {
        if let Some(id) = line.split(' ').next().and_then(|id| id.parse::<u32>().ok()) {
            keep = !NOT_LISTED.iter().any(|(range, _)| range.contains(&id));
        }
        if keep {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    let ours = identity_table(&registry().identities());
    // The column is narrower without the largest number.
    let words = |text: &str| text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let (ours_words, kept_words): (Vec<String>, Vec<String>) = (words(&ours), words(&kept));
    assert_eq!(ours_words, kept_words);
    assert!(ours.starts_with("ID       LABELS\n1        reserved:host\n"), "{ours}");
    assert!(ours.contains("\n7        reserved:kube-apiserver\n         reserved:remote-node\n"), "{ours}");
}

#[test]
fn what_is_gone_is_not_listed() {
    let mut registry = registry();
    registry.node(None, "node-c1", None);
    assert_eq!(registry.nodes().nodes.len(), 1);
    registry.identity(Some(name("beta")), NumericIdentity::new(131_100), None);
    assert_eq!(registry.identities().len(), RESERVED.len());
    registry.node(Some(name("beta")), "node-b1", None);
    registry.node(Some(name("beta")), "never-there", None);
    assert!(registry.nodes().nodes.is_empty());
}

#[test]
fn a_cluster_goes_with_all_that_is_its() {
    let mut registry = registry();
    registry.remove_cluster(&name("beta"));
    let left: Vec<String> = registry.nodes().nodes.into_iter().map(|node| node.name).collect();
    assert_eq!(left, ["alpha/node-c1"]);
    assert_eq!(registry.identities().len(), RESERVED.len());
}

#[test]
fn sources_say_where_a_node_is_from() {
    let (_, value) = recorded("/state/nodes/v1/beta/");
    let node = Node::decode(&value).expect("valid");
    let mut registry = Registry::new(name("default"), "a");
    registry.node(None, "a", Some(&node));
    registry.node(None, "b", Some(&node));
    registry.node(Some(name("beta")), "a", Some(&node));
    let listed = registry.nodes();
    let rows: Vec<(String, NodeSource)> = listed.nodes.into_iter().map(|node| (node.name, node.source)).collect();
    let expected = [("a", NodeSource::Local), ("b", NodeSource::CustomResource), ("beta/a", NodeSource::Clustermesh)];
    assert_eq!(rows, expected.map(|(name, source)| (name.to_owned(), source)), "no mesh, no cluster before the name");
    assert_eq!(listed.this, "a");
}

#[test]
fn a_node_is_known_by_its_internal_address() {
    let (_, value) = recorded("/state/nodes/v1/beta/");
    let mut node = Node::decode(&value).expect("valid");
    let address = |kind: &str, ip: &str| mesh_wire::NodeAddress { kind: kind.into(), ip: ip.parse().expect("an IP") };
    node.addresses = vec![address("ExternalIP", "192.0.2.1"), address("CiliumInternalIP", "fd00::1")];
    let mut registry = Registry::new(name("alpha"), "a");
    registry.node(None, "a", Some(&node));
    let ips = |registry: &Registry| {
        let element = registry.nodes().nodes.remove(0).primary_address;
        [element.ipv4.ip, element.ipv6.ip]
    };
    assert_eq!(ips(&registry), ["192.0.2.1", ""]);
    node.addresses.push(address("InternalIP", "172.18.0.2"));
    node.addresses.push(address("InternalIP", "fd00::2"));
    registry.node(None, "a", Some(&node));
    assert_eq!(ips(&registry), ["172.18.0.2", "fd00::2"]);
}

#[test]
fn labels_are_shown_as_cilium_shows_them() {
    assert_eq!(texts(b"k8s:a=b;k8s:empty=;k8s:odd==;"), ["k8s:a=b", "k8s:empty", "k8s:odd=="]);
    assert!(texts(b"").is_empty());
}
