//! Meshes of any size: topologies and the Star Wars objects of clusters that no file describes.

use std::fmt::Write as _;

use meshbed_scenario::Topology;
use serde_json::{Value, json};

use super::BenchError;

/// Clusters of a generated mesh at most: each has the number in an octet of its CIDRs, and services have theirs
/// [`SERVICE_OCTET`] above those of pods.
pub const CLUSTERS_MAX: u32 = 99;
/// Second octet of a cluster's service CIDR, less its number.
const SERVICE_OCTET: u32 = 100;
/// What the answer of the manifests calls the first cluster.
const FIRST_ANSWER: &str = "Cluster-1";

/// A topology of `clusters` clusters with `nodes` nodes each.
pub(super) fn topology(clusters: u32, nodes: u32) -> Result<Topology, BenchError> {
    if clusters > CLUSTERS_MAX {
        return Err(format!("at most {CLUSTERS_MAX} clusters can be generated").into());
    }
    let mut text =
        format!("apiVersion: meshbed.dev/v1alpha1\nkind: Topology\nname: generated-{clusters}-clusters\nclusters:\n");
    for number in 1..=clusters {
        let names: Vec<String> = (1..=nodes).map(|node| format!("{{name: c{number}-{node}}}")).collect();
        writeln!(
            text,
            "- name: c{number}\n  id: {number}\n  nodeCIDR: 172.18.{number}.0/24\n  podCIDR: 10.{number}.0.0/16\n  \
             serviceCIDR: 10.{}.0.0/16\n  nodes: [{}]",
            number + SERVICE_OCTET,
            names.join(", "),
        )?;
    }
    Ok(Topology::parse(&text, "generated topology")?)
}

/// The objects of the first cluster of Star Wars, which is what `manifests` holds, as those of cluster `number`: it gives
/// its own name in its answers, and its services are global.
pub(super) fn star_wars(manifests: &[String], number: usize) -> Result<Vec<Value>, BenchError> {
    let mut objects = Vec::new();
    for text in manifests {
        let text = text.replace(FIRST_ANSWER, &format!("Cluster-{number}"));
        objects.extend(meshbed_scenario::manifests(&text)?);
    }
    for service in objects.iter_mut().filter(|object| object["kind"] == "Service") {
        service["metadata"]["annotations"] = json!({"service.cilium.io/global": "true"});
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_a_valid_topology() {
        for clusters in [1, 2, 16, CLUSTERS_MAX] {
            let topology = topology(clusters, 2).unwrap_or_else(|error| panic!("{clusters} clusters: {error}"));
            assert_eq!(topology.clusters().len(), clusters as usize);
        }
        assert!(topology(CLUSTERS_MAX + 1, 2).is_err());
    }

    #[test]
    fn answers_name_the_cluster() {
        let manifest = "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {is: Cluster-1}}\n".to_owned();
        let objects = star_wars(&[manifest], 7).expect("it is valid");
        assert_eq!(objects[0]["metadata"]["labels"]["is"], "Cluster-7");
        assert_eq!(objects[0]["metadata"]["annotations"]["service.cilium.io/global"], "true");
    }
}
