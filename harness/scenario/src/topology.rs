//! What exists: clusters, their nodes and their addresses.

use std::{collections::BTreeMap, net::Ipv4Addr, path::Path};

use ipnet::Ipv4Net;
use mesh_types::{ClusterId, ClusterName};

use crate::{AgentSettings, Diagnostics, Link, Tls};

/// A mesh of clusters. Valid by construction: names and IDs are unique and no two CIDRs overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    pub(crate) name: String,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) links: Vec<Link>,
    pub(crate) tls: Tls,
    pub(crate) agents: AgentSettings,
    pub(crate) text: String,
}

impl Topology {
    /// Reads and checks the topology file `path`.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Diagnostics> {
        crate::read_topology::load(path.as_ref())
    }

    /// Reads and checks `text`; `file_name` is what findings call it.
    pub fn parse(text: &str, file_name: impl AsRef<Path>) -> Result<Self, Diagnostics> {
        crate::read_topology::parse(text, file_name.as_ref())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text that it was read from, for those who want to read it again later.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its clusters in the order of the file; at least one.
    pub fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    /// The cluster called `name`.
    pub fn cluster(&self, name: &ClusterName) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.name() == name)
    }

    /// The directions between two clusters for which the file has conditions, in its order, each at most once. All
    /// others are clear.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Certificates and users of its etcds.
    pub fn tls(&self) -> Tls {
        self.tls
    }

    /// How its agents are set up.
    pub fn agents(&self) -> &AgentSettings {
        &self.agents
    }
}

/// One Kubernetes cluster of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub(crate) name: ClusterName,
    pub(crate) id: ClusterId,
    pub(crate) node_cidr: Ipv4Net,
    pub(crate) pod_cidr: Ipv4Net,
    pub(crate) service_cidr: Ipv4Net,
    pub(crate) nodes: Vec<Node>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) kernel: Option<String>,
}

impl Cluster {
    /// Its name, unique in the mesh.
    pub fn name(&self) -> &ClusterName {
        &self.name
    }

    /// Its cluster ID, unique in the mesh.
    pub fn id(&self) -> ClusterId {
        self.id
    }

    /// The cluster's L2 segment: router, control plane and nodes.
    pub fn node_cidr(&self) -> Ipv4Net {
        self.node_cidr
    }

    /// What the nodes' pod CIDRs are cut from.
    pub fn pod_cidr(&self) -> Ipv4Net {
        self.pod_cidr
    }

    /// What cluster IPs are allocated from.
    pub fn service_cidr(&self) -> Ipv4Net {
        self.service_cidr
    }

    /// More environment for the programs of its agents, which wins over that of [`Topology::agents`].
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// Name of the kernel that its nodes run on, of a file of kernels; whichever there is when it has none. Which kernels exist is
    /// the matter of who makes the mesh.
    pub fn kernel(&self) -> Option<&str> {
        self.kernel.as_deref()
    }

    /// Its nodes in the order of the file; at least one.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node called `name`.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name() == name)
    }

    /// Address of the WAN router on the cluster's segment (host number [`ROUTER_HOST`]).
    pub fn router_address(&self) -> Ipv4Addr {
        host(self.node_cidr, ROUTER_HOST)
    }

    /// Address of the control plane (etcd and Kubernetes API) on the cluster's segment
    /// (host number [`CONTROL_PLANE_HOST`]).
    pub fn control_plane_address(&self) -> Ipv4Addr {
        host(self.node_cidr, CONTROL_PLANE_HOST)
    }
}

/// One node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) pod_cidr: Ipv4Net,
}

impl Node {
    /// Its name, unique in the mesh.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the cluster's segment.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Addresses of its pods: a /24 of the cluster's pod CIDR.
    pub fn pod_cidr(&self) -> Ipv4Net {
        self.pod_cidr
    }

    /// The next hop of its pods: host number [`ROUTER_HOST`] of its pod CIDR.
    pub fn pod_gateway(&self) -> Ipv4Addr {
        host(self.pod_cidr, ROUTER_HOST)
    }
}

/// Host number of the router on a cluster's segment, and of the gateway in a node's pod CIDR.
pub const ROUTER_HOST: u32 = 1;
/// Host number of the control plane on a cluster's segment.
pub const CONTROL_PLANE_HOST: u32 = 2;
/// Host number of the first node on a cluster's segment; the numbers between stay free for people's own additions.
pub const FIRST_NODE_HOST: u32 = 11;
/// Prefix length of a node's pod CIDR.
pub const NODE_POD_PREFIX: u8 = 24;
/// Clusters that a topology can have: as many as Cilium's default mesh.
pub const CLUSTERS_MAX: usize = 255;
/// Nodes that a cluster can have: what fits between [`FIRST_NODE_HOST`] and the end of a /24 segment.
pub const NODES_MAX: usize = 200;

/// The address with host number `number` in `net`. The caller knows that `net` has so many.
pub(crate) fn host(net: Ipv4Net, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(net.network()) + number)
}
