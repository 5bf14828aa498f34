//! Entry by entry: what Cilium's agent recorded (`fixtures/vectors/maps`, `cli/service-list*`) against what comes out
//! of the same services as values. Ids and the order of slots of equal rank are the agent's choice, so entries are
//! compared by what they mean.
//!
//! # Where we differ on purpose
//!
//! In the entries: nowhere, every recorded one has its counterpart and there are no others. In the maps themselves:
//! [`SHAPES`], which the tests hold to be complete. And in what was not recorded because that agent had no such service:
//!
//! | what | here | why |
//! |---|---|---|
//! | cluster ID of a backend | 0 for remote ones too | as Cilium: it is for overlapping addresses, which no mesh of ours has |
//! | zone of a backend | 0 | Cilium writes another only with the option `fixed-zone-mapping`, for metrics |
//! | cluster IPs from outside | never routable | Cilium's option `bpf-lb-external-clusterip`, off by default |
//! | forwarding mode DSR, source ranges, layer-7 redirection, host ports, local redirect | no such frontends | nothing here handles packets from outside, and the agent makes no such services; all are listed when another writer left them |
//! | Maglev's tables | not written, whatever the algorithm of a frontend | the socket path never reads them, in Cilium neither |
//! | wildcard entry of a load balancer's address | always | Cilium leaves it out when the service has another `loadBalancerClass` than its own; a frontend does not say whose address it is |
//! | `nodeName`, `weight`, `preferred` of a backend in `service list -o json` | not in a frontend | no map holds them |

use std::collections::{BTreeMap, BTreeSet};

use mesh_abi::{MAPS, MapType};
use mesh_datapath::{Contents, Datapath as _, RecordingDatapath};
use mesh_types::{Frontend, TrafficPolicy};

use crate::fixture::{Meaning, NODE_PORT_OF_NODE, cilium, frontend_address, recorded_frontends, recorded_lines, text};

/// A property of a map in which it differs from the recorded one.
struct Difference {
    map: &'static str,
    property: &'static str,
    ours: u32,
    ciliums: u32,
    /// For the reader.
    _why: &'static str,
}

const NO_HELM: &str = "the recorded agent ran without Helm, whose chart turns preallocation off";

const fn flags(map: &'static str) -> Difference {
    Difference { map, property: "flags", ours: 1, ciliums: 0, _why: NO_HELM }
}

const SHAPES: [Difference; 5] = [
    flags("cilium_lb4_services_v2"),
    flags("cilium_lb4_backends_v3"),
    flags("cilium_lb4_reverse_nat"),
    flags("cilium_lb_affinity_match"),
    Difference {
        map: "cilium_lb4_reverse_sk",
        property: "max_entries",
        ours: 262_144,
        ciliums: 110_861,
        _why: "Cilium takes a share of the machine's memory; ours is its value on a machine with enough",
    },
];

fn ours() -> RecordingDatapath {
    let mut datapath = RecordingDatapath::empty();
    for frontend in recorded_frontends() {
        datapath.upsert(&frontend).unwrap();
    }
    datapath
}

/// What each entry means, and how often that is said.
fn entries(contents: &Contents) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in Meaning::of(contents).entries() {
        *counts.entry(entry).or_default() += 1;
    }
    counts
}

#[test]
fn every_recorded_entry_has_its_counterpart_and_there_is_no_other() {
    let recorded = entries(&Contents::read(&cilium()).unwrap());
    let ours = entries(ours().contents());
    let only = |one: &BTreeMap<String, usize>, other: &BTreeMap<String, usize>| -> Vec<String> {
        one.iter().filter(|(entry, count)| other.get(*entry) != Some(count)).map(|(entry, _)| entry.clone()).collect()
    };
    assert_eq!(only(&recorded, &ours), Vec::<String>::new(), "only recorded");
    assert_eq!(only(&ours, &recorded), Vec::<String>::new(), "only ours");

    let lines =
        ["cilium_lb4_services_v2", "cilium_lb4_backends_v3", "cilium_lb4_reverse_nat", "cilium_lb_affinity_match"]
            .map(|map| recorded_lines(map).len());
    assert_eq!(recorded.values().sum::<usize>(), lines.iter().sum::<usize>(), "every recorded line was compared");
    assert_eq!(lines, [18, 6, 5, 3]);
}

#[test]
fn maps_have_the_recorded_shapes_but_for_the_listed_differences() {
    let pinned: BTreeMap<String, serde_json::Value> = recorded_lines("pinned-maps")
        .into_iter()
        .map(|line| (line["pin"].as_str().unwrap().to_owned(), line))
        .collect();
    let mut found = BTreeSet::new();
    for spec in &MAPS {
        let recorded = &pinned[spec.name];
        let kind = match spec.kind {
            MapType::Hash => "hash",
            MapType::LruHash => "lru_hash",
            MapType::LpmTrie => "lpm_trie",
        };
        assert_eq!(recorded["type"], kind, "{spec}");
        let properties = [
            ("bytes_key", spec.key_size),
            ("bytes_value", spec.value_size),
            ("max_entries", spec.max_entries),
            ("flags", spec.flags.0),
        ];
        for (property, ours) in properties {
            let ciliums = u32::try_from(recorded[property].as_u64().unwrap()).unwrap();
            if ours != ciliums {
                found.insert((spec.name, property, ours, ciliums));
            }
        }
    }
    let listed = SHAPES.map(|Difference { map, property, ours, ciliums, .. }| (map, property, ours, ciliums));
    assert_eq!(found, BTreeSet::from(listed));
}

/// A frontend as `cilium-dbg service list` shows it: address, type and backends, without the id.
type Row = (String, String, Vec<String>);

/// The list leaves the node's own addresses out: they are made from the surrogate.
fn listed_frontends() -> Vec<Frontend> {
    let is_listed = |frontend: &Frontend| frontend.address != frontend_address(NODE_PORT_OF_NODE);
    recorded_frontends().into_iter().filter(is_listed).collect()
}

#[test]
fn the_service_list_shows_the_same_frontends() {
    let mut expected: Vec<Row> = Vec::new();
    // The first two lines are the command and the header.
    for line in text("service-list.txt").lines().skip(2) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, frontend, kind, number, "=>", backend, state] => {
                expected.push((frontend.to_owned(), kind.to_owned(), vec![format!("{number} {backend} {state}")]));
            }
            [number, "=>", backend, state] => {
                expected.last_mut().expect("a frontend comes first").2.push(format!("{number} {backend} {state}"));
            }
            _ => panic!("another form: {line}"),
        }
    }
    let row = |frontend: &Frontend| -> Row {
        let numbered = frontend.backends.iter().zip(1..);
        let backends = numbered.map(|(backend, number)| format!("{number} {} ({})", backend.address, backend.state));
        (frontend.address.to_string(), frontend.kind.to_string(), backends.collect())
    };
    assert_eq!(listed_frontends().iter().map(row).collect::<Vec<_>>(), expected);
}

#[test]
fn the_service_list_as_json_shows_the_same_services_and_policies() {
    let printed = text("service-list-json.txt");
    // The first line is the command.
    let (_, printed) = printed.split_once('\n').unwrap();
    let services: Vec<serde_json::Value> = serde_json::from_str(printed).unwrap();
    let field = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let expected: BTreeSet<[String; 6]> = services
        .iter()
        .map(|service| (&service["spec"]["flags"], &service["spec"]["frontend-address"]))
        .map(|(flags, address)| {
            [
                format!("{}:{}/{}", field(&address["ip"]), address["port"], field(&address["protocol"])),
                field(&flags["namespace"]),
                field(&flags["name"]),
                field(&flags["type"]),
                field(&flags["extTrafficPolicy"]),
                field(&flags["intTrafficPolicy"]),
            ]
        })
        .collect();
    let policy = |policy| match policy {
        TrafficPolicy::Cluster => "Cluster".to_owned(),
        TrafficPolicy::Local => "Local".to_owned(),
    };
    let ours: BTreeSet<[String; 6]> = listed_frontends()
        .into_iter()
        .map(|frontend| {
            [
                frontend.address.to_string(),
                frontend.service.namespace,
                frontend.service.name,
                frontend.kind.to_string(),
                policy(frontend.policies.external),
                policy(frontend.policies.internal),
            ]
        })
        .collect();
    assert_eq!(ours, expected);
}
