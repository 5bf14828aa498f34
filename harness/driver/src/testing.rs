//! What the unit tests share.

use meshbed_scenario::Topology;

/// The topology that the documentation uses.
pub(crate) fn two_clusters() -> Topology {
    let text = "\
apiVersion: meshbed.dev/v1alpha1
kind: Topology
name: two-clusters
clusters:
- name: alpha
  id: 1
  nodeCIDR: 172.18.1.0/24
  podCIDR: 10.1.0.0/16
  serviceCIDR: 10.101.0.0/16
  nodes: [{name: alpha-1}, {name: alpha-2}]
- name: beta
  id: 2
  nodeCIDR: 172.18.2.0/24
  podCIDR: 10.2.0.0/16
  serviceCIDR: 10.102.0.0/16
  nodes: [{name: beta-1}, {name: beta-2}]
";
    Topology::parse(text, "two-clusters.yaml").expect("the text above is a valid topology")
}
