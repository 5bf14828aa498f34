//! What a run consists of, as stored in its `run.json`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::Ipv4Net;
use mesh_types::{ClusterId, ClusterName};
use meshbed_scenario::AgentSettings;
use serde::{Deserialize, Serialize};

use crate::{
    Launch, RunId,
    error::{Act, SystemError},
    etcd_users, process_table,
};

/// Everything that `status`, `exec`, `down` and `kubeconfig` need to know about a run. Written before anything else
/// of the run is made, so that a run that was cut off can be found; written again when all processes are ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunState {
    /// Run ID.
    pub run: RunId,
    /// Name of the topology.
    pub topology: String,
    /// The process that made the run.
    pub harness: ProcessIdentity,
    /// When the run was made, in milliseconds since 1970-01-01T00:00:00Z.
    pub started_unix_ms: u64,
    /// Left running on purpose (`--keep`): not an orphan although its harness is gone.
    pub kept: bool,
    /// All processes are ready.
    pub ready: bool,
    /// The run directory, a tmpfs.
    pub run_dir: PathBuf,
    /// Logs of all processes.
    pub logs_dir: PathBuf,
    /// The run's cgroup.
    pub cgroup: PathBuf,
    /// Pinned namespace of the router between the clusters.
    pub wan_netns: PathBuf,
    /// How the agents are set up.
    pub agents: AgentSetup,
    /// Clusters in the order of the topology.
    pub clusters: Vec<ClusterState>,
    /// Processes started by the driver (not the pods) in the order of their start; empty until `ready`.
    pub processes: Vec<ProcessState>,
    /// Names of nodes that are crashed and not booted again.
    pub switched_off: BTreeSet<String>,
    /// Links that are cut on purpose.
    pub cut_links: BTreeSet<CutLink>,
}

/// How the agents of a run are set up, whoever made them: `agents` of its topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSetup {
    /// Size of the mesh in Cilium's sense.
    pub max_connected_clusters: u16,
    /// How long a remote cluster may not be ready before its services are dropped; for ever if none.
    pub cache_ttl: Option<Duration>,
    /// Agents read remote clusters from copies in their own cluster's etcd.
    pub kvstoremesh: bool,
    /// More environment for all programs of the agents.
    pub env: BTreeMap<String, String>,
}

impl From<&AgentSettings> for AgentSetup {
    fn from(settings: &AgentSettings) -> Self {
        Self {
            max_connected_clusters: settings.max_connected_clusters.get(),
            cache_ttl: settings.cache_ttl,
            kvstoremesh: settings.kvstoremesh,
            env: settings.env.clone(),
        }
    }
}

/// A link that is cut on purpose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CutLink {
    /// A node's link to its cluster's segment, by the node's name.
    Node(String),
    /// A cluster's link to the router between the clusters, by the cluster's name.
    Cluster(String),
}

impl RunState {
    /// The cluster called `name`.
    pub fn cluster(&self, name: &str) -> Option<&ClusterState> {
        self.clusters.iter().find(|cluster| cluster.name.as_str() == name)
    }

    /// The node called `node` of the cluster called `cluster`.
    pub fn node(&self, cluster: &str, node: &str) -> Option<&NodeState> {
        self.cluster(cluster)?.node(node)
    }

    /// The node called `name`, whose name is unique in the mesh, and its cluster.
    pub fn find_node(&self, name: &str) -> Option<(&ClusterState, &NodeState)> {
        self.clusters.iter().find_map(|cluster| Some((cluster, cluster.node(name)?)))
    }

    /// The process called `name`, such as `agent-alpha-1`.
    pub fn process(&self, name: &str) -> Option<&ProcessState> {
        self.processes.iter().find(|process| process.name == name)
    }

    /// Whether the process that made the run still exists.
    pub fn harness_is_alive(&self) -> bool {
        self.harness.is_alive()
    }

    /// Neither kept nor owned by a living process: `down` may remove it without asking.
    pub fn is_abandoned(&self) -> bool {
        !self.kept && !self.harness_is_alive()
    }

    /// Takes over which nodes of `cluster` are off and which of its links are cut from `theirs`.
    pub(crate) fn follow_cluster(&mut self, cluster: &ClusterName, theirs: &Self) {
        let of = |name: &str| self.find_node(name).is_some_and(|(owner, _)| owner.name == *cluster);
        let is_its_link = |link: &CutLink| match link {
            CutLink::Node(node) => of(node),
            CutLink::Cluster(name) => name == cluster.as_str(),
        };
        let off =
            self.switched_off.iter().filter(|node| !of(node)).chain(theirs.switched_off.iter().filter(|node| of(node)));
        let off = off.cloned().collect();
        let ours = self.cut_links.iter().filter(|link| !is_its_link(link));
        let cut = ours.chain(theirs.cut_links.iter().filter(|link| is_its_link(link))).cloned().collect();
        (self.switched_off, self.cut_links) = (off, cut);
    }

    /// Reads a `run.json`.
    pub fn load(path: &Path) -> Result<Self, SystemError> {
        let act = || format!("read `{}`", path.display());
        let bytes = fs::read(path).act(act)?;
        serde_json::from_slice(&bytes).map_err(std::io::Error::from).act(act)
    }

    /// Writes it as `path`, atomically.
    pub fn store(&self, path: &Path) -> Result<(), SystemError> {
        let act = || format!("write `{}`", path.display());
        let bytes = serde_json::to_vec_pretty(self).map_err(std::io::Error::from).act(act)?;
        let temporary = path.with_extension("json.new");
        fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path)).act(act)
    }
}

/// One cluster of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterState {
    /// Its name.
    pub name: ClusterName,
    /// Its cluster ID.
    pub id: ClusterId,
    /// The cluster's segment: router, control plane and nodes.
    pub node_cidr: Ipv4Net,
    /// What the nodes' pod CIDRs are cut from.
    pub pod_cidr: Ipv4Net,
    /// What cluster IPs are allocated from.
    pub service_cidr: Ipv4Net,
    /// Address of the router between the clusters on the cluster's segment.
    pub router_ip: Ipv4Addr,
    /// Pinned namespace of the cluster's segment and control plane.
    pub netns: PathBuf,
    /// cgroup of etcd, API server and exporter.
    pub control_plane_cgroup: PathBuf,
    /// Address of etcd and API server inside the mesh.
    pub control_plane_ip: Ipv4Addr,
    /// kubeconfig for programs on the machine (`https://127.0.0.1:<port>`).
    pub kubeconfig_host: PathBuf,
    /// kubeconfig for programs inside the mesh.
    pub kubeconfig: PathBuf,
    /// URL of the Kubernetes API for programs on the machine; empty until the listener exists.
    pub api_host_url: String,
    /// URL of etcd inside the mesh.
    pub etcd_endpoint: String,
    /// etcd client configuration (Cilium's format) with full rights, as the exporter uses it.
    pub etcd_config: PathBuf,
    /// etcd's data.
    pub etcd_data_dir: PathBuf,
    /// The API server's data, which survives its restarts.
    pub api_data_dir: PathBuf,
    /// The API server's socket for misbehaving on purpose.
    pub api_admin_socket: PathBuf,
    /// Directory of keys, certificates and the API token.
    pub pki: PathBuf,
    /// Name of the authority that signs its certificates; other clusters may have the same one.
    pub authority: String,
    /// Users of its etcd with the role `remote`.
    pub remote_users: Vec<String>,
    /// Those that agents of other clusters come as: common names, and names of the files, of their certificates.
    pub remote_certificates: Vec<String>,
    /// More environment for the programs of its agents; wins over that of [`AgentSetup`].
    pub agent_env: BTreeMap<String, String>,
    /// The exporter's own folder.
    pub exporter_state_dir: PathBuf,
    /// The own folder of what copies remote clusters, if anything does.
    pub kvstoremesh_state_dir: PathBuf,
    /// Its etcd client configurations of the remote clusters, one file a cluster.
    pub kvstoremesh_dir: PathBuf,
    /// Its nodes in the order of the topology.
    pub nodes: Vec<NodeState>,
}

impl ClusterState {
    /// The node called `name`.
    pub fn node(&self, name: &str) -> Option<&NodeState> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The certificate with which agents of the cluster `reader` read its etcd: one of their own, or everybody's.
    pub(crate) fn remote_certificate(&self, reader: &ClusterName) -> &str {
        let own = etcd_users::remote(reader);
        let found = self.remote_certificates.iter().find(|name| **name == own);
        found.or(self.remote_certificates.first()).map_or("", String::as_str)
    }
}

/// One node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// Its name, unique in the mesh.
    pub name: String,
    /// Its address on the cluster's segment.
    pub ip: Ipv4Addr,
    /// Addresses of its pods.
    pub pod_cidr: Ipv4Net,
    /// Pinned namespace.
    pub netns: PathBuf,
    /// Its cgroup, where the socket load-balancing programs attach.
    pub cgroup: PathBuf,
    /// Its bpffs, which its own processes see as `/sys/fs/bpf`.
    pub bpf_root: PathBuf,
    /// Folder of its agent's pinned maps, in [`Self::bpf_root`].
    pub pins: PathBuf,
    /// `--state-dir` of its agent.
    pub agent_state_dir: PathBuf,
    /// `--state-dir` of its kubelet.
    pub kubelet_state_dir: PathBuf,
    /// etcd client configurations of the remote clusters, one file a cluster.
    pub clustermesh_dir: PathBuf,
}

/// One process that the driver started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessState {
    /// Name, also of its log: `etcd-alpha`, `agent-alpha-1`, …
    pub name: String,
    /// What it is.
    pub role: ProcessRole,
    /// Cluster that it belongs to, if it is one's.
    pub cluster: Option<ClusterName>,
    /// Node that it belongs to, if it is a node's.
    pub node: Option<String>,
    /// Who it is, or was: a process that ended on purpose keeps its entry.
    pub identity: ProcessIdentity,
    /// Its stdout and stderr.
    pub log: PathBuf,
    /// How it is started again.
    pub launch: Launch,
}

/// What a process of the mesh is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessRole {
    /// etcd of a cluster.
    Etcd,
    /// Kubernetes API and controllers of a cluster.
    ApiServer,
    /// Writes the cluster's services to its etcd.
    Exporter,
    /// Copies remote clusters into the cluster's etcd.
    KvstoreMesh,
    /// Emulated kubelet of a node.
    Kubelet,
    /// Cluster-mesh agent of a node.
    Agent,
    /// Userspace router between the clusters.
    Wan,
}

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Process ID in the PID namespace of the machine.
    pub pid: u32,
    /// Start of the process in clock ticks since boot (field 22 of `/proc/<pid>/stat`).
    pub start_ticks: u64,
}

impl ProcessIdentity {
    /// The calling process.
    pub fn current() -> Result<Self, SystemError> {
        Self::of(std::process::id())
    }

    /// The process that has the number `pid` now.
    pub fn of(pid: u32) -> Result<Self, SystemError> {
        let start_ticks = process_table::start_ticks(pid)?;
        Ok(Self { pid, start_ticks })
    }

    /// Whether exactly this process exists and is no zombie.
    pub fn is_alive(&self) -> bool {
        process_table::stat(self.pid).is_ok_and(|stat| stat.start_ticks == self.start_ticks && !stat.zombie)
    }
}
