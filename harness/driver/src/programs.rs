//! The command line of every program of a mesh. Pure.

use std::{
    ffi::OsString,
    net::TcpListener,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use mesh_types::ClusterName;
use meshbed_scenario::{Cluster, Node};

use crate::{
    layout::{API_PORT, pod_netns_prefix},
    options::UpOptions,
    pki::{self, API_SERVER, CA, ETCD_SERVER},
    state::{ClusterState, NodeState, ProcessRole, RunState},
};

/// What etcd's members say to each other; there is one member, so nobody else listens. Each cluster has a namespace
/// of its own, so the port is free.
const ETCD_PEER_URL: &str = "http://127.0.0.1:2380";

/// How to start one process.
#[derive(Clone, Debug)]
pub(crate) struct ProgramSpec {
    /// Name of the process and of its log.
    pub(crate) name: String,
    /// What it is.
    pub(crate) role: ProcessRole,
    /// Whose it is.
    pub(crate) cluster: ClusterName,
    /// Whose it is, if a node's.
    pub(crate) node: Option<String>,
    /// The program.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// Additions to its environment.
    pub(crate) env: Vec<(String, String)>,
    /// Pinned network namespace.
    pub(crate) netns: PathBuf,
    /// cgroup.
    pub(crate) cgroup: PathBuf,
    /// The bpffs that it sees as `/sys/fs/bpf`.
    pub(crate) bpf_root: Option<PathBuf>,
    /// A listener that it inherits.
    pub(crate) listener: Option<Arc<TcpListener>>,
    /// stdout and stderr.
    pub(crate) log: PathBuf,
    /// Where it says that it is ready.
    pub(crate) notify_socket: PathBuf,
}

/// Makes the specifications of one run's processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Programming<'run> {
    /// The run.
    pub(crate) run: &'run RunState,
    /// Programs and environment.
    pub(crate) options: &'run UpOptions,
}

/// Directory of the notification sockets.
pub(crate) fn notify_dir(run: &RunState) -> PathBuf {
    run.run_dir.join("notify")
}

impl Programming<'_> {
    fn of_control_plane(&self, role: ProcessRole, program: &Path, state: &ClusterState) -> ProgramSpec {
        let what = match role {
            ProcessRole::Etcd => "etcd",
            ProcessRole::ApiServer => "apiserver",
            _ => "exporter",
        };
        let name = format!("{what}-{}", state.name);
        ProgramSpec {
            role,
            cluster: state.name.clone(),
            node: None,
            program: program.to_owned(),
            arguments: Vec::new(),
            env: Vec::new(),
            netns: state.netns.clone(),
            cgroup: state.control_plane_cgroup.clone(),
            bpf_root: None,
            listener: None,
            log: self.run.logs_dir.join(format!("{name}.log")),
            notify_socket: self.notify_socket(&name),
            name,
        }
    }

    fn of_node(&self, role: ProcessRole, program: &Path, cluster: &ClusterState, node: &NodeState) -> ProgramSpec {
        let what = if role == ProcessRole::Agent { "agent" } else { "kubelet" };
        let name = format!("{what}-{}", node.name);
        ProgramSpec {
            role,
            cluster: cluster.name.clone(),
            node: Some(node.name.clone()),
            program: program.to_owned(),
            arguments: Vec::new(),
            env: Vec::new(),
            netns: node.netns.clone(),
            cgroup: node.cgroup.join(what),
            bpf_root: Some(node.bpf_root.clone()),
            listener: None,
            log: self.run.logs_dir.join(format!("{name}.log")),
            notify_socket: self.notify_socket(&name),
            name,
        }
    }

    /// Sockets have short paths (108 bytes), names of nodes may be long: the names get hashed into a number.
    fn notify_socket(&self, name: &str) -> PathBuf {
        // FNV-1a, 64 bits: some hundred names of one run do not collide by chance.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        notify_dir(self.run).join(format!("{hash:016x}"))
    }

    /// etcd with one member, which need not wait for others: short heartbeats and elections make it a leader at once.
    pub(crate) fn etcd(&self, state: &ClusterState) -> ProgramSpec {
        let mut spec = self.of_control_plane(ProcessRole::Etcd, &self.options.programs.etcd, state);
        let directory = state.pki.with_file_name("etcd");
        let member = state.name.as_str();
        spec.arguments = arguments([
            ("--name", member.into()),
            ("--data-dir", directory.into()),
            ("--listen-client-urls", state.etcd_endpoint.as_str().into()),
            ("--advertise-client-urls", state.etcd_endpoint.as_str().into()),
            ("--listen-peer-urls", ETCD_PEER_URL.into()),
            ("--initial-advertise-peer-urls", ETCD_PEER_URL.into()),
            ("--initial-cluster", format!("{member}={ETCD_PEER_URL}").into()),
            ("--initial-cluster-token", format!("{}-{member}", self.run.run).into()),
            ("--heartbeat-interval", "10".into()),
            ("--election-timeout", "100".into()),
            ("--cert-file", pki::certificate_file(&state.pki, ETCD_SERVER).into()),
            ("--key-file", pki::key_file(&state.pki, ETCD_SERVER).into()),
            ("--trusted-ca-file", pki::certificate_file(&state.pki, CA).into()),
            // One hour, as Cilium's chart has it.
            ("--auto-compaction-retention", "1".into()),
            ("--logger", "zap".into()),
            ("--log-outputs", "stderr".into()),
        ]);
        spec.arguments.push("--client-cert-auth".into());
        spec
    }

    /// The Kubernetes API, also on `listener`, which is bound on the machine itself.
    pub(crate) fn api_server(&self, cluster: &Cluster, state: &ClusterState, listener: TcpListener) -> ProgramSpec {
        let mut spec = self.of_control_plane(ProcessRole::ApiServer, &self.options.programs.meshbed, state);
        spec.arguments = vec!["apiserver".into()];
        spec.arguments.extend(arguments([
            ("--cluster-name", state.name.as_str().into()),
            ("--service-cidr", cluster.service_cidr().to_string().into()),
            ("--pod-cidr", cluster.pod_cidr().to_string().into()),
            ("--listen", format!("{}:{API_PORT}", state.control_plane_ip).into()),
            ("--listen-fd", listener.as_raw_fd().to_string().into()),
            ("--tls-cert", pki::certificate_file(&state.pki, API_SERVER).into()),
            ("--tls-key", pki::key_file(&state.pki, API_SERVER).into()),
            ("--client-ca", pki::certificate_file(&state.pki, CA).into()),
            ("--token-file", pki::token_file(&state.pki).into()),
        ]));
        spec.listener = Some(Arc::new(listener));
        spec
    }

    /// The exporter.
    pub(crate) fn exporter(&self, state: &ClusterState) -> ProgramSpec {
        let mut spec = self.of_control_plane(ProcessRole::Exporter, &self.options.programs.mesh_agent, state);
        let mut etcd_config = OsString::from("etcd.config=");
        etcd_config.push(&state.etcd_config);
        spec.arguments = vec!["apiserver".into()];
        spec.arguments.extend(arguments([
            ("--cluster-name", state.name.as_str().into()),
            ("--cluster-id", state.id.to_string().into()),
            ("--k8s-kubeconfig-path", state.kubeconfig.clone().into()),
            ("--kvstore-opt", etcd_config),
        ]));
        spec.env = self.options.env.clone();
        spec
    }

    /// A node's kubelet.
    pub(crate) fn kubelet(&self, cluster: &ClusterState, node: &Node, state: &NodeState) -> ProgramSpec {
        let mut spec = self.of_node(ProcessRole::Kubelet, &self.options.programs.meshbed, cluster, state);
        let prefix = pod_netns_prefix(&self.run.run, cluster.name.as_str(), &state.name);
        spec.arguments = vec!["kubelet".into()];
        spec.arguments.extend(arguments([
            ("--cluster-name", cluster.name.as_str().into()),
            ("--node-name", state.name.as_str().into()),
            ("--node-ip", node.address().to_string().into()),
            ("--pod-cidr", node.pod_cidr().to_string().into()),
            ("--kubeconfig", cluster.kubeconfig.clone().into()),
            ("--state-dir", state.kubelet_state_dir.clone().into()),
            ("--pod-cgroup", state.cgroup.join("pods").into()),
            ("--netns-prefix", prefix.into()),
            ("--pod-program", self.options.programs.meshbed_pod.clone().into()),
        ]));
        spec
    }

    /// A node's agent.
    pub(crate) fn agent(&self, cluster: &ClusterState, state: &NodeState) -> ProgramSpec {
        let mut spec = self.of_node(ProcessRole::Agent, &self.options.programs.mesh_agent, cluster, state);
        spec.arguments = vec!["run".into()];
        spec.arguments.extend(arguments([
            ("--cluster-name", cluster.name.as_str().into()),
            ("--cluster-id", cluster.id.to_string().into()),
            ("--node-name", state.name.as_str().into()),
            ("--k8s-kubeconfig-path", cluster.kubeconfig.clone().into()),
            ("--clustermesh-config", state.clustermesh_dir.clone().into()),
            ("--bpf-root", "/sys/fs/bpf".into()),
            ("--cgroup-root", state.cgroup.clone().into()),
            ("--state-dir", state.agent_state_dir.clone().into()),
        ]));
        spec.env = self.options.env.clone();
        spec
    }
}

fn arguments<const N: usize>(pairs: [(&str, OsString); N]) -> Vec<OsString> {
    pairs.into_iter().flat_map(|(flag, value)| [OsString::from(flag), value]).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{ProgramSpec, Programming};
    use crate::{Programs, UpOptions, layout, state::ProcessIdentity, testing};

    fn line(spec: &ProgramSpec) -> String {
        let arguments: Vec<_> = spec.arguments.iter().map(|argument| argument.to_str().unwrap()).collect();
        format!("{} {}", spec.program.display(), arguments.join(" "))
    }

    #[test]
    fn command_lines_of_a_node() {
        let topology = testing::two_clusters();
        let harness = ProcessIdentity { pid: 1, start_ticks: 1 };
        let run = layout::plan(&topology, &"k3f9x2".parse().unwrap(), harness, 0, Path::new("/cg"));
        let mut options = UpOptions::new(run.run.clone(), Programs::next_to(Path::new("/opt/meshbed")));
        options.env.push(("MESH_AGENT_DEFECT".into(), "stale".into()));
        let programming = Programming { run: &run, options: &options };
        let (cluster, node) = (&run.clusters[0], &run.clusters[0].nodes[1]);

        let agent = programming.agent(cluster, node);
        assert_eq!(
            line(&agent),
            "/opt/mesh-agent run --cluster-name alpha --cluster-id 1 --node-name alpha-2 \
             --k8s-kubeconfig-path /run/meshbed/k3f9x2/alpha/kubeconfig \
             --clustermesh-config /run/meshbed/k3f9x2/alpha/alpha-2/clustermesh --bpf-root /sys/fs/bpf \
             --cgroup-root /cg/meshbed/k3f9x2/alpha/alpha-2 --state-dir /run/meshbed/k3f9x2/alpha/alpha-2/agent"
        );
        assert_eq!(agent.env, options.env);
        assert_eq!(agent.cgroup, Path::new("/cg/meshbed/k3f9x2/alpha/alpha-2/agent"));
        assert_eq!(agent.log, Path::new("/run/meshbed/k3f9x2/logs/agent-alpha-2.log"));

        let kubelet = programming.kubelet(cluster, &topology.clusters()[0].nodes()[1], node);
        assert_eq!(
            line(&kubelet),
            "/opt/meshbed kubelet --cluster-name alpha --node-name alpha-2 --node-ip 172.18.1.12 \
             --pod-cidr 10.1.2.0/24 --kubeconfig /run/meshbed/k3f9x2/alpha/kubeconfig \
             --state-dir /run/meshbed/k3f9x2/alpha/alpha-2/kubelet \
             --pod-cgroup /cg/meshbed/k3f9x2/alpha/alpha-2/pods \
             --netns-prefix mb-k3f9x2-alpha-alpha-2- --pod-program /opt/meshbed-pod"
        );
        assert!(kubelet.env.is_empty());
    }

    #[test]
    fn sockets_have_short_names() {
        let topology = testing::two_clusters();
        let harness = ProcessIdentity { pid: 1, start_ticks: 1 };
        let run = layout::plan(&topology, &"k3f9x2".parse().unwrap(), harness, 0, Path::new("/cg"));
        let options = UpOptions::new(run.run.clone(), Programs::next_to(Path::new("/opt/meshbed")));
        let programming = Programming { run: &run, options: &options };
        let first = programming.notify_socket(&"a".repeat(300));
        assert!(first.as_os_str().len() < 108, "{}", first.display());
        assert_ne!(first, programming.notify_socket(&"b".repeat(300)));
    }
}
