//! The topologies of the repository can be read, and the first scenario in the small language of these tests.

use std::path::{Path, PathBuf};

use meshbed_scenario::Topology;

use crate::language::Scenario;

/// The repository's root, relative to this crate's folder, where cargo runs its tests.
const ROOT: &str = "../..";

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(Path::new(ROOT).join(folder)).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("an entry can be read").path());
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    assert!(!files.is_empty(), "no file in `{folder}`");
    files
}

#[test]
fn topologies() {
    for file in yaml_files("fixtures/topologies") {
        let topology = Topology::load(&file).unwrap_or_else(|error| panic!("{error}"));
        let stem = file.file_stem().expect("it ends in `.yaml`").to_string_lossy().into_owned();
        assert_eq!(topology.name(), stem, "a topology is called like its file");
    }
}

#[test]
fn addresses_of_two_clusters() {
    let topology = Topology::load(format!("{ROOT}/fixtures/topologies/two-clusters.yaml")).expect("it is valid");
    let mut lines = Vec::new();
    for cluster in topology.clusters() {
        let (router, control_plane) = (cluster.router_address(), cluster.control_plane_address());
        lines.push(format!("{} {} router {router} control plane {control_plane}", cluster.name(), cluster.id()));
        for node in cluster.nodes() {
            let (pods, gateway) = (node.pod_cidr(), node.pod_gateway());
            lines.push(format!("  {} {} pods {pods} gateway {gateway}", node.name(), node.address()));
        }
    }
    insta::assert_snapshot!(lines.join("\n"), @"
    alpha 1 router 172.18.1.1 control plane 172.18.1.2
      alpha-1 172.18.1.11 pods 10.1.1.0/24 gateway 10.1.1.1
      alpha-2 172.18.1.12 pods 10.1.2.0/24 gateway 10.1.2.1
    beta 2 router 172.18.2.1 control plane 172.18.2.2
      beta-1 172.18.2.11 pods 10.2.1.0/24 gateway 10.2.1.1
      beta-2 172.18.2.12 pods 10.2.2.0/24 gateway 10.2.2.1
    ");
}

/// Only where clusters run is different: what is found on one of the two topologies can be looked for on the other.
#[test]
fn mixed_kernels_are_two_clusters_on_kernels() {
    let [mixed, plain] = ["mixed-kernels", "two-clusters"]
        .map(|name| Topology::load(format!("{ROOT}/fixtures/topologies/{name}.yaml")).expect("it is valid"));
    let kernels: Vec<_> = mixed.clusters().iter().map(meshbed_scenario::Cluster::kernel).collect();
    assert_eq!(kernels, [Some("5.10"), Some("7.3")]);
    assert!(plain.clusters().iter().all(|cluster| cluster.kernel().is_none()));
    let addresses = |topology: &Topology| {
        let of_each = topology.clusters().iter();
        of_each
            .map(|one| (one.node_cidr(), one.pod_cidr(), one.service_cidr(), one.nodes().to_vec()))
            .collect::<Vec<_>>()
    };
    assert_eq!(addresses(&mixed), addresses(&plain));
}

#[test]
fn failover_in_words() {
    let scenario = Scenario::load(format!("{ROOT}/scenarios/failover.yaml")).expect("it is valid");
    let mut lines = Vec::new();
    for step in scenario.steps() {
        lines.push(format!("{}: {} ({} requests)", step.at.position, step.name, step.steady_requests));
        lines.extend(step.actions.iter().map(|action| format!("  {}: {}", action.position, action.value)));
        lines.extend(step.expectations.iter().map(|expect| format!("  {}: {}", expect.position, expect.value)));
    }
    insta::assert_snapshot!(lines.join("\n"));
}
