//! What the oracle costs: it is asked at every change, for every node.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use meshbed_events::{MapFrontend, MapState, Micros};
use meshbed_oracle::{Acceptable, Cut, Fate, MapTruth, Observers, Oracle};
use serde_json::{Value, json};

use crate::mesh::{cluster, ready};

const CLUSTERS: usize = 16;
const SERVICES: usize = 10;
/// The aim is 200 µs for one node; a busy machine with a debug build may take a few times as long.
const NODE_MAX: Duration = Duration::from_micros(1000);

fn name(index: usize) -> String {
    format!("cluster-{index}")
}

fn node(index: usize) -> String {
    format!("{}-1", name(index))
}

fn slice(of: usize, number: usize, backends: usize) -> Value {
    let endpoints: Value = (0..backends).map(|last| ready(&format!("10.{of}.{number}.{last}"))).collect();
    json!({"kind": "EndpointSlice", "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 8080}],
        "metadata": {"namespace": "default", "name": format!("service-{number}-1"),
            "labels": {"kubernetes.io/service-name": format!("service-{number}")}}})
}

fn mesh() -> Oracle {
    let topology = (0..CLUSTERS).map(|of| (cluster(&name(of)), vec![node(of), format!("{}-2", name(of))]));
    let mut oracle = Oracle::new(topology, Duration::from_millis(100));
    for of in 0..CLUSTERS {
        for number in 0..SERVICES {
            let service = json!({"kind": "Service",
                "metadata": {"namespace": "default", "name": format!("service-{number}"),
                    "annotations": {"service.cilium.io/global": "true"}},
                "spec": {"clusterIP": format!("10.101.{of}.{number}"), "ports": [{"port": 80}]}});
            let told = oracle.service(Micros(0), &cluster(&name(of)), &service, false);
            let told = told.and_then(|()| oracle.slice(Micros(0), &cluster(&name(of)), &slice(of, number, 2), false));
            told.expect("readable");
        }
    }
    oracle
}

/// Maps that hold the newest possibility.
fn right(truth: &MapTruth) -> MapState {
    let frontends = truth.frontends.iter().map(|(address, choice)| {
        let Acceptable::OneOf(truths) = &choice.acceptable else { panic!("there are few possibilities") };
        let texts = |side: &std::collections::BTreeSet<mesh_types::BackendAddress>| {
            side.iter().map(ToString::to_string).collect()
        };
        let frontend = MapFrontend {
            active: texts(&truths[0].active),
            inactive: texts(&truths[0].inactive),
            ..MapFrontend::default()
        };
        (address.to_string(), frontend)
    });
    MapState { frontends: frontends.collect(), ..MapState::default() }
}

/// The median time that truth and comparison take for one node, after a change of one service that no node has seen.
fn median(oracle: &mut Oracle) -> Duration {
    let clusters: Vec<_> = (0..CLUSTERS).map(|of| cluster(&name(of))).collect();
    let mut times = Vec::new();
    for round in 0..20_u64 {
        let backends = 2 + usize::from(round % 2 == 0);
        oracle.slice(Micros(1000 + round), &clusters[0], &slice(0, 0, backends), false).expect("readable");
        let truths: Vec<_> = (0..CLUSTERS).map(|of| right(&oracle.truth(&clusters[of], &node(of)))).collect();
        // Changed again, so that nothing of it is remembered.
        oracle.slice(Micros(1000 + round), &clusters[0], &slice(0, 0, backends), true).expect("readable");
        oracle.slice(Micros(1000 + round), &clusters[0], &slice(0, 0, backends), false).expect("readable");
        let start = Instant::now();
        for of in 0..CLUSTERS {
            for node in [node(of), format!("{}-2", name(of))] {
                let differences = oracle.truth(&clusters[of], &node).differences(&truths[of]);
                assert_eq!(black_box(differences), []);
            }
        }
        times.push(start.elapsed() / u32::try_from(2 * CLUSTERS).expect("a small number"));
    }
    times.sort();
    times[times.len() / 2]
}

#[test]
#[expect(clippy::print_stderr, reason = "shown with `--no-capture`: the figure is what one wants to know")]
fn one_node_of_a_large_mesh() {
    let mut oracle = mesh();
    let whole = median(&mut oracle);
    let (observers, fate) = (Observers::OtherClusters, Fate::Kept);
    oracle.cut(Micros(2000), Cut::Knowledge { observers, about: cluster(&name(5)), fate });
    let cut = median(&mut oracle);
    assert!(whole < NODE_MAX && cut < NODE_MAX, "a node took {whole:?}, with a cut {cut:?}");
    eprintln!("truth and differences of a node: {whole:?}, with a cut {cut:?}");
}
