//! The command line of every program of a mesh apart from the agent's ([`crate::agent`]). Pure.

use std::{net::SocketAddr, path::Path, time::Duration};

use mesh_types::ClusterName;
use nix::sys::signal::Signal;

use crate::{
    launch::{Launch, Listen, ReadyCheck},
    layout::{API_PORT, WAN_NAME, pod_netns_prefix},
    options::UpOptions,
    pki::{self, API_SERVER, CA, ETCD_SERVER},
    state::{ClusterState, NodeState, ProcessRole, ProcessState, RunState},
};

/// What etcd's members say to each other; there is one member, so nobody else listens. Each cluster has a namespace
/// of its own, so the port is free.
pub(crate) const ETCD_PEER_URL: &str = "http://127.0.0.1:2380";
/// The flag with the token that, with the member's name and URL, decides etcd's cluster ID.
pub(crate) const ETCD_TOKEN_FLAG: &str = "--initial-cluster-token";
/// How long a program of ours may take to say that it is ready: seconds on a loaded machine or under plain emulation.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// A process to be started: its entry in `run.json` but for who it is.
#[derive(Clone, Debug)]
pub(crate) struct ProgramSpec {
    /// Name of the process and of its log.
    pub(crate) name: String,
    /// What it is.
    pub(crate) role: ProcessRole,
    /// Whose it is, if a cluster's.
    pub(crate) cluster: Option<ClusterName>,
    /// Whose it is, if a node's.
    pub(crate) node: Option<String>,
    /// stdout and stderr.
    pub(crate) log: std::path::PathBuf,
    /// How it is started.
    pub(crate) launch: Launch,
}

impl From<&ProcessState> for ProgramSpec {
    fn from(state: &ProcessState) -> Self {
        let ProcessState { name, role, cluster, node, log, launch, identity: _ } = state.clone();
        Self { name, role, cluster, node, log, launch }
    }
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
pub(crate) fn notify_dir(run: &RunState) -> std::path::PathBuf {
    run.run_dir.join("notify")
}

/// Name of a cluster's process.
pub(crate) fn cluster_process(role: ProcessRole, cluster: &str) -> String {
    let what = match role {
        ProcessRole::Etcd => "etcd",
        ProcessRole::ApiServer => "apiserver",
        ProcessRole::KvstoreMesh => "kvstoremesh",
        _ => "exporter",
    };
    format!("{what}-{cluster}")
}

/// Name of a node's process.
pub(crate) fn node_process(role: ProcessRole, node: &str) -> String {
    format!("{}-{node}", node_folder(role))
}

/// Name of the cgroup of a node's process, below the node's.
fn node_folder(role: ProcessRole) -> &'static str {
    if role == ProcessRole::Agent { "agent" } else { "kubelet" }
}

impl Programming<'_> {
    /// Something in `netns` and `cgroup` that is ready when it says so.
    fn launch(&self, name: &str, program: &Path, netns: &Path, cgroup: &Path) -> Launch {
        Launch {
            program: program.to_owned(),
            arguments: Vec::new(),
            env: Vec::new(),
            files: Vec::new(),
            netns: netns.to_owned(),
            cgroup: cgroup.to_owned(),
            bpf_root: None,
            cgroup_root: None,
            listen: None,
            trace: None,
            status: Vec::new(),
            notify_socket: self.notify_socket(name),
            ready: ReadyCheck::Notify,
            ready_timeout: READY_TIMEOUT.mul_f64(self.options.slowness),
            stop_signal: Signal::SIGTERM as i32,
        }
    }

    pub(crate) fn of_control_plane(&self, role: ProcessRole, program: &Path, state: &ClusterState) -> ProgramSpec {
        let name = cluster_process(role, state.name.as_str());
        ProgramSpec {
            role,
            cluster: Some(state.name.clone()),
            node: None,
            log: self.run.logs_dir.join(format!("{name}.log")),
            launch: self.launch(&name, program, &state.netns, &state.control_plane_cgroup),
            name,
        }
    }

    pub(crate) fn of_node(
        &self,
        role: ProcessRole,
        program: &Path,
        cluster: &ClusterState,
        node: &NodeState,
    ) -> ProgramSpec {
        let name = node_process(role, &node.name);
        let launch = self.launch(&name, program, &node.netns, &node.cgroup.join(node_folder(role)));
        ProgramSpec {
            role,
            cluster: Some(cluster.name.clone()),
            node: Some(node.name.clone()),
            log: self.run.logs_dir.join(format!("{name}.log")),
            launch: Launch { bpf_root: Some(node.bpf_root.clone()), ..launch },
            name,
        }
    }

    /// Sockets have short paths (108 bytes), names of nodes may be long: the names get hashed into a number.
    pub(crate) fn notify_socket(&self, name: &str) -> std::path::PathBuf {
        // FNV-1a, 64 bits: some hundred names of one run do not collide by chance.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        notify_dir(self.run).join(format!("{hash:016x}"))
    }

    /// etcd with one member, which need not wait for others: short heartbeats and elections make it a leader at once.
    pub(crate) fn etcd(&self, state: &ClusterState) -> ProgramSpec {
        let mut spec = self.of_control_plane(ProcessRole::Etcd, &self.options.programs.etcd, state);
        let member = state.name.as_str();
        spec.launch.arguments = arguments([
            ("--name", member.into()),
            ("--data-dir", text(&state.etcd_data_dir)),
            ("--listen-client-urls", state.etcd_endpoint.clone()),
            ("--advertise-client-urls", state.etcd_endpoint.clone()),
            ("--listen-peer-urls", ETCD_PEER_URL.into()),
            ("--initial-advertise-peer-urls", ETCD_PEER_URL.into()),
            ("--initial-cluster", format!("{member}={ETCD_PEER_URL}")),
            (ETCD_TOKEN_FLAG, format!("{}-{member}", self.run.run)),
            ("--heartbeat-interval", "10".into()),
            ("--election-timeout", "100".into()),
            ("--cert-file", text(&pki::certificate_file(&state.pki, ETCD_SERVER))),
            ("--key-file", text(&pki::key_file(&state.pki, ETCD_SERVER))),
            ("--trusted-ca-file", text(&pki::certificate_file(&state.pki, CA))),
            // One hour, as Cilium's chart has it.
            ("--auto-compaction-retention", "1".into()),
            ("--logger", "zap".into()),
            ("--log-outputs", "stderr".into()),
        ]);
        spec.launch.arguments.push("--client-cert-auth".into());
        spec
    }

    /// The Kubernetes API, also on `listen`, which is on the machine itself.
    pub(crate) fn api_server(&self, state: &ClusterState, listen: SocketAddr) -> ProgramSpec {
        let mut spec = self.of_control_plane(ProcessRole::ApiServer, &self.options.programs.meshbed, state);
        spec.launch.arguments = vec!["apiserver".into()];
        spec.launch.arguments.extend(arguments([
            ("--cluster-name", state.name.to_string()),
            ("--service-cidr", state.service_cidr.to_string()),
            ("--pod-cidr", state.pod_cidr.to_string()),
            ("--listen", format!("{}:{API_PORT}", state.control_plane_ip)),
            ("--tls-cert", text(&pki::certificate_file(&state.pki, API_SERVER))),
            ("--tls-key", text(&pki::key_file(&state.pki, API_SERVER))),
            ("--client-ca", text(&pki::certificate_file(&state.pki, CA))),
            ("--token-file", text(&pki::token_file(&state.pki))),
            ("--data-dir", text(&state.api_data_dir)),
            ("--admin-socket", text(&state.api_admin_socket)),
            ("--node-monitor-grace-period", format!("{}ms", self.options.node_monitor_grace_period.as_millis())),
        ]));
        spec.launch.listen = Some(Listen { address: listen, flag: "--listen-fd".to_owned() });
        spec
    }

    /// What impairs links, in the router's namespace.
    pub(crate) fn wan(&self) -> ProgramSpec {
        let name = WAN_NAME.to_owned();
        let mut launch = self.launch(&name, &self.options.programs.meshbed, &self.run.wan_netns, &self.run.cgroup);
        launch.arguments = vec!["wan".into()];
        launch.arguments.extend(arguments([
            ("--config", text(&meshbed_wan::config_path(&self.run.run_dir))),
            ("--socket", text(&meshbed_wan::socket_path(&self.run.run_dir))),
            ("--seed", self.options.seed.to_string()),
        ]));
        let log = self.run.logs_dir.join(format!("{name}.log"));
        ProgramSpec { role: ProcessRole::Wan, cluster: None, node: None, log, launch, name }
    }

    /// A node's kubelet.
    pub(crate) fn kubelet(&self, cluster: &ClusterState, state: &NodeState) -> ProgramSpec {
        let mut spec = self.of_node(ProcessRole::Kubelet, &self.options.programs.meshbed, cluster, state);
        spec.launch.arguments = vec!["kubelet".into()];
        spec.launch.arguments.extend(arguments([
            ("--cluster-name", cluster.name.to_string()),
            ("--node-name", state.name.clone()),
            ("--node-ip", state.ip.to_string()),
            ("--pod-cidr", state.pod_cidr.to_string()),
            ("--kubeconfig", text(&cluster.kubeconfig)),
            ("--state-dir", text(&state.kubelet_state_dir)),
            ("--pod-cgroup", text(&state.cgroup.join("pods"))),
            ("--netns-prefix", pod_netns_prefix(&self.run.run, cluster.name.as_str(), &state.name)),
            ("--pod-program", text(&self.options.programs.meshbed_pod)),
            ("--node-lease-duration-seconds", seconds(self.options.node_lease_duration)),
            ("--slowness", format!("{:.0}", self.options.slowness.ceil())),
        ]));
        spec
    }
}

/// Whole seconds as an argument, rounded up.
fn seconds(duration: Duration) -> String {
    duration.as_millis().div_ceil(1000).to_string()
}

/// A path as an argument. Everything that is stored in `run.json` has to be text anyway.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn arguments<const N: usize>(pairs: [(&str, String); N]) -> Vec<String> {
    pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{ETCD_TOKEN_FLAG, Programming};
    use crate::testing;

    #[test]
    fn command_lines() {
        let options = testing::options("k3f9x2".parse().unwrap());
        let run = testing::planned(&options);
        let programming = Programming { run: &run, options: &options };
        let (cluster, node) = (&run.clusters[0], &run.clusters[0].nodes[1]);

        let kubelet = programming.kubelet(cluster, node);
        assert_eq!(
            testing::line(&kubelet),
            "/opt/meshbed kubelet --cluster-name alpha --node-name alpha-2 --node-ip 172.18.1.12 \
             --pod-cidr 10.1.2.0/24 --kubeconfig /run/meshbed/k3f9x2/alpha/kubeconfig \
             --state-dir /run/meshbed/k3f9x2/alpha/alpha-2/kubelet \
             --pod-cgroup /cg/meshbed/k3f9x2/alpha/alpha-2/pods \
             --netns-prefix mb-k3f9x2-alpha-alpha-2- --pod-program /opt/meshbed-pod \
             --node-lease-duration-seconds 4 --slowness 1"
        );
        assert!(kubelet.launch.env.is_empty());
        assert_eq!(kubelet.launch.cgroup, Path::new("/cg/meshbed/k3f9x2/alpha/alpha-2/kubelet"));
        assert_eq!(kubelet.log, Path::new("/run/meshbed/k3f9x2/logs/kubelet-alpha-2.log"));

        assert_eq!(
            testing::line(&programming.wan()),
            "/opt/meshbed wan --config /run/meshbed/k3f9x2/wan.json --socket /run/meshbed/k3f9x2/wan.sock --seed 0"
        );

        let mut etcd = programming.etcd(cluster);
        assert_eq!(etcd.launch.argument_mut(ETCD_TOKEN_FLAG).unwrap(), "k3f9x2-alpha");
    }

    #[test]
    fn sockets_have_short_names() {
        let options = testing::options("k3f9x2".parse().unwrap());
        let run = testing::planned(&options);
        let programming = Programming { run: &run, options: &options };
        let first = programming.notify_socket(&"a".repeat(300));
        assert!(first.as_os_str().len() < 108, "{}", first.display());
        assert_ne!(first, programming.notify_socket(&"b".repeat(300)));
    }
}
