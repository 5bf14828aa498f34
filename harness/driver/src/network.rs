//! A node's place in the network of its cluster: made when a mesh comes up, and again when a node boots.

use crate::{
    error::SystemError,
    links::{Index, VethEnd, add_veth, everywhere},
    namespace::Namespace,
    state::{ClusterState, NodeState},
};

/// Name of a node's link to its cluster's segment.
pub(crate) const NODE_LINK: &str = "eth0";
/// Name of a cluster's link to the router, in the cluster's namespace.
pub(crate) const UPLINK: &str = "wan";

/// Name of the link to a cluster in the router's namespace.
pub(crate) fn wan_link(cluster: &ClusterState) -> String {
    format!("cluster{}", cluster.id)
}

/// The bridge port of `node` in its cluster's namespace; the node is one of `cluster`'s.
pub(crate) fn port_of(cluster: &ClusterState, node: &NodeState) -> Index {
    let position = cluster.nodes.iter().position(|other| other.name == node.name).unwrap_or_default();
    Index::of_port(u32::try_from(position).unwrap_or_default())
}

/// Connects the fresh `namespace` of `node` to its cluster's `segment`, with address and routes.
pub(crate) async fn connect_node(
    cluster: &ClusterState,
    node: &NodeState,
    segment: &Namespace,
    namespace: &Namespace,
) -> Result<(), SystemError> {
    let port = port_of(cluster, node);
    add_veth(
        VethEnd { namespace: segment, name: format!("node{}", port.of_node()), index: port },
        VethEnd { namespace, name: NODE_LINK.to_owned(), index: Index::NODE },
        Index::BRIDGE,
    )
    .await?;
    namespace.add_address(Index::NODE, node.ip, cluster.node_cidr.prefix_len()).await?;
    namespace.add_route(everywhere(), cluster.router_ip).await?;
    for peer in cluster.nodes.iter().filter(|peer| peer.name != node.name) {
        namespace.add_route(peer.pod_cidr, peer.ip).await?;
    }
    namespace.add_refusing(node.pod_cidr).await
}
