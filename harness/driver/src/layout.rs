//! Where everything of a run is: directories, namespaces and cgroups by name. Pure.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use meshbed_scenario::{Ca, Cluster, Node, Topology};

use crate::{
    RunId, UpOptions, etcd_users,
    state::{AgentSetup, ClusterState, NodeState, ProcessIdentity, RunState},
};

/// Parent of all run directories.
pub(crate) const RUNS_ROOT: &str = "/run/meshbed";
/// Where `ip netns` looks for named namespaces.
pub(crate) const NETNS_ROOT: &str = "/run/netns";
/// Name of the directory in the cgroup v2 hierarchy that holds the cgroups of all runs.
pub(crate) const CGROUP_NAME: &str = "meshbed";
/// First part of the names of our namespaces.
const NETNS_PREFIX: &str = "mb-";
/// Last part of the name of the router's namespace, so no cluster can have it.
pub(crate) const WAN_NAME: &str = "wan";
/// Directory of a run directory where cgroup v2 is mounted on machines that have it nowhere.
const PRIVATE_CGROUP_MOUNT: &str = "cgroup2";

/// Port of etcd in a cluster.
pub(crate) const ETCD_PORT: u16 = 2379;
/// Port of the Kubernetes API in a cluster.
pub(crate) const API_PORT: u16 = 6443;

/// The run directory of `run`.
pub fn run_dir(run: &RunId) -> PathBuf {
    Path::new(RUNS_ROOT).join(run.as_str())
}

/// The `run.json` of `run`.
pub fn run_json(run: &RunId) -> PathBuf {
    run_dir(run).join("run.json")
}

/// The topology of `run`, as it was read.
pub fn topology_yaml(run: &RunId) -> PathBuf {
    run_dir(run).join("topology.yaml")
}

/// Where cgroup v2 gets mounted for `run` if the machine has no mount of it.
pub(crate) fn private_cgroup_mount(run: &RunId) -> PathBuf {
    run_dir(run).join(PRIVATE_CGROUP_MOUNT)
}

/// What the names of all namespaces of `run` begin with.
pub(crate) fn netns_prefix(run: &RunId) -> String {
    format!("{NETNS_PREFIX}{run}-")
}

/// The run that a namespace called `name` belongs to, if it is one of ours.
pub(crate) fn run_of_netns(name: &str) -> Option<RunId> {
    let (run, _) = name.strip_prefix(NETNS_PREFIX)?.split_once('-')?;
    run.parse().ok()
}

/// What the names of the namespaces of the pods of `node` begin with.
pub fn pod_netns_prefix(run: &RunId, cluster: &str, node: &str) -> String {
    format!("{}{cluster}-{node}-", netns_prefix(run))
}

/// Digits of a pod's UID in the name of its namespace.
const POD_NETNS_DIGITS: usize = 8;

/// Whether `path` is the namespace of a pod of `node`. Another node's name may begin with this one's.
pub(crate) fn is_pod_netns(run: &RunId, cluster: &str, node: &NodeState, path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let digits = name.strip_prefix(&pod_netns_prefix(run, cluster, &node.name)).unwrap_or_default();
    digits.len() == POD_NETNS_DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn netns(run: &RunId, name: &str) -> PathBuf {
    Path::new(NETNS_ROOT).join(format!("{}{name}", netns_prefix(run)))
}

/// The state of a run that is about to be made: all names and addresses, no processes.
pub(crate) fn plan(
    topology: &Topology,
    options: &UpOptions,
    harness: ProcessIdentity,
    started_unix_ms: u64,
    cgroup_root: &Path,
) -> RunState {
    let run = &options.run;
    let run_dir = run_dir(run);
    let cgroup = cgroup_root.join(CGROUP_NAME).join(run.as_str());
    let plan_cluster = |cluster| plan_cluster(topology, options, cluster, &run_dir, &cgroup);
    let clusters = topology.clusters().iter().map(plan_cluster).collect();
    RunState {
        run: run.clone(),
        topology: topology.name().to_owned(),
        harness,
        started_unix_ms,
        kept: false,
        ready: false,
        logs_dir: run_dir.join("logs"),
        run_dir,
        cgroup,
        wan_netns: netns(run, WAN_NAME),
        agents: AgentSetup::from(topology.agents()),
        clusters,
        processes: Vec::new(),
        switched_off: BTreeSet::new(),
        cut_links: BTreeSet::new(),
    }
}

fn plan_cluster(
    topology: &Topology,
    options: &UpOptions,
    cluster: &Cluster,
    run_dir: &Path,
    run_cgroup: &Path,
) -> ClusterState {
    let run = &options.run;
    let name = cluster.name().as_str();
    let dir = run_dir.join(name);
    let cgroup = run_cgroup.join(name);
    let control_plane_ip = cluster.control_plane_address();
    let pins = options.agent_of(cluster.name()).pins();
    ClusterState {
        name: cluster.name().clone(),
        id: cluster.id(),
        node_cidr: cluster.node_cidr(),
        pod_cidr: cluster.pod_cidr(),
        service_cidr: cluster.service_cidr(),
        router_ip: cluster.router_address(),
        netns: netns(run, name),
        control_plane_cgroup: cgroup.join("control-plane"),
        control_plane_ip,
        kubeconfig_host: dir.join("kubeconfig.host"),
        kubeconfig: dir.join("kubeconfig"),
        api_host_url: String::new(),
        etcd_endpoint: format!("https://{control_plane_ip}:{ETCD_PORT}"),
        etcd_config: dir.join("etcd-config.yaml"),
        etcd_data_dir: dir.join("etcd"),
        api_data_dir: dir.join("apiserver"),
        api_admin_socket: dir.join("apiserver.sock"),
        pki: dir.join("pki"),
        authority: match topology.tls().ca {
            Ca::Mesh => format!("meshbed {}", topology.name()),
            Ca::Cluster => format!("meshbed {name} {}", cluster.id()),
        },
        remote_users: etcd_users::remote_users(topology, cluster),
        remote_certificates: etcd_users::remote_certificates(topology, cluster),
        agent_env: cluster.env().clone(),
        exporter_state_dir: dir.join("exporter"),
        kvstoremesh_state_dir: dir.join("kvstoremesh"),
        kvstoremesh_dir: dir.join("kvstoremesh-config"),
        nodes: cluster.nodes().iter().map(|node| plan_node(run, name, node, &dir, &cgroup, pins)).collect(),
    }
}

fn plan_node(
    run: &RunId,
    cluster: &str,
    node: &Node,
    cluster_dir: &Path,
    cluster_cgroup: &Path,
    pins: &Path,
) -> NodeState {
    let dir = cluster_dir.join(node.name());
    NodeState {
        name: node.name().to_owned(),
        ip: node.address(),
        pod_cidr: node.pod_cidr(),
        netns: netns(run, &format!("{cluster}-{}", node.name())),
        cgroup: cluster_cgroup.join(node.name()),
        pins: dir.join("bpf").join(pins),
        bpf_root: dir.join("bpf"),
        agent_state_dir: dir.join("agent"),
        kubelet_state_dir: dir.join("kubelet"),
        clustermesh_dir: dir.join("clustermesh"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{is_pod_netns, plan, pod_netns_prefix, run_of_netns};
    use crate::{RunId, state::ProcessIdentity, testing};

    #[test]
    fn names_and_addresses() {
        let run: RunId = "k3f9x2".parse().unwrap();
        let harness = ProcessIdentity { pid: 1, start_ticks: 2 };
        let options = testing::options(run);
        let state = plan(&testing::two_clusters(), &options, harness, 3, Path::new("/sys/fs/cgroup"));
        assert_eq!(state.wan_netns, Path::new("/run/netns/mb-k3f9x2-wan"));
        let beta = state.cluster("beta").unwrap();
        assert_eq!(beta.netns, Path::new("/run/netns/mb-k3f9x2-beta"));
        assert_eq!(beta.etcd_endpoint, "https://172.18.2.2:2379");
        assert_eq!(beta.control_plane_cgroup, Path::new("/sys/fs/cgroup/meshbed/k3f9x2/beta/control-plane"));
        let node = state.node("beta", "beta-2").unwrap();
        assert_eq!(node.netns, Path::new("/run/netns/mb-k3f9x2-beta-beta-2"));
        assert_eq!(node.cgroup, Path::new("/sys/fs/cgroup/meshbed/k3f9x2/beta/beta-2"));
        assert_eq!(node.bpf_root, Path::new("/run/meshbed/k3f9x2/beta/beta-2/bpf"));
        assert_eq!((node.ip.to_string(), node.pod_cidr.to_string()), ("172.18.2.12".into(), "10.2.2.0/24".into()));
        assert_eq!(state.node("alpha", "beta-2"), None);
    }

    #[test]
    fn namespaces_tell_their_run() {
        let run: RunId = "k3f9x2".parse().unwrap();
        let pod = format!("{}0a1b2c3d", pod_netns_prefix(&run, "alpha", "alpha-1"));
        assert_eq!(pod, "mb-k3f9x2-alpha-alpha-1-0a1b2c3d");
        let state = testing::planned(&testing::options(run.clone()));
        let is_of = |node: usize, name: &str| {
            is_pod_netns(&run, "alpha", &state.clusters[0].nodes[node], Path::new("/run/netns").join(name).as_path())
        };
        assert!(is_of(0, &pod) && !is_of(1, &pod));
        assert!(!is_of(0, "mb-k3f9x2-alpha-alpha-1-2") && !is_of(0, "mb-k3f9x2-alpha-alpha-1"), "nodes");
        assert_eq!(run_of_netns(&pod), Some(run));
        assert_eq!(run_of_netns("mb-someone-else"), None);
        assert_eq!(run_of_netns("k3f9x2"), None);
    }
}
