//! What the router is told when it starts.

use std::{
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use ipnet::Ipv4Net;
use mesh_types::{ClusterId, ClusterName};
use meshbed_scenario::{LinkConditions, Topology};
use serde::{Deserialize, Serialize};

use crate::{WanError, error::Act};

/// The control socket of the run whose directory is `run_dir`.
pub fn socket_path(run_dir: &Path) -> PathBuf {
    run_dir.join("wan.sock")
}

/// The configuration file of the run whose directory is `run_dir`.
pub fn config_path(run_dir: &Path) -> PathBuf {
    run_dir.join("wan.json")
}

/// The clusters between which the router forwards, and the conditions that it starts with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// All clusters.
    pub clusters: Vec<ConfigCluster>,
    /// Directions that are not clear from the start.
    pub links: Vec<ConfigLink>,
}

/// A cluster as the router sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigCluster {
    /// Its name.
    pub name: ClusterName,
    /// Its cluster ID.
    pub id: ClusterId,
    /// The router's interface to its segment. It need not exist yet.
    pub interface: String,
    /// The router's address on its segment.
    pub router: Ipv4Addr,
    /// Its addresses: those of nodes and pods.
    pub cidrs: Vec<Ipv4Net>,
}

/// Conditions of one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigLink {
    /// Where its packets come from.
    pub from: ClusterName,
    /// Where they go to.
    pub to: ClusterName,
    /// What happens to them.
    pub conditions: LinkConditions,
}

impl Config {
    /// The configuration for `topology`; `interfaces` names the router's interfaces to the clusters, in their order.
    pub fn new(topology: &Topology, interfaces: Vec<String>) -> Self {
        let clusters = topology.clusters().iter().zip(interfaces).map(|(cluster, interface)| ConfigCluster {
            name: cluster.name().clone(),
            id: cluster.id(),
            interface,
            router: cluster.router_address(),
            cidrs: vec![cluster.node_cidr(), cluster.pod_cidr()],
        });
        let links = topology.links().iter().map(|link| ConfigLink {
            from: link.from.clone(),
            to: link.to.clone(),
            conditions: link.conditions.clone(),
        });
        Self { clusters: clusters.collect(), links: links.collect() }
    }

    /// Writes it as `path`.
    pub fn store(&self, path: &Path) -> Result<(), WanError> {
        let bytes = serde_json::to_vec_pretty(self).map_err(io::Error::from);
        bytes.and_then(|bytes| fs::write(path, bytes)).act(|| format!("write `{}`", path.display()))
    }

    /// Reads `path`.
    pub fn load(path: &Path) -> Result<Self, WanError> {
        let act = || format!("read `{}`", path.display());
        let bytes = fs::read(path).act(act)?;
        serde_json::from_slice(&bytes).map_err(io::Error::from).act(act)
    }
}
