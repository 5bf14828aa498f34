//! Arguments. Flags and environment variables have the names that Cilium gives them, where it has such a thing.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use mesh_types::{ClusterId, ClusterName, MaxConnectedClusters};

/// Where the socket and other run-time files of an agent are.
const STATE_DIR: &str = "/var/run/mesh-agent";
/// etcd's own limit for leases.
const LEASE_TTL_MAX: Duration = Duration::from_secs(9_000_000_000);
/// Where bpffs is mounted.
const BPF_ROOT: &str = "/sys/fs/bpf";

/// Cluster mesh agent: global services across Kubernetes clusters, in eBPF.
#[derive(Debug, Parser)]
#[command(name = "mesh-agent", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the agent of a node
    Run(RunOptions),
    /// Export this cluster's global services to its etcd
    Apiserver(ApiserverOptions),
    /// Copy what remote clusters export into this cluster's etcd, for its agents
    Kvstoremesh(KvstoremeshOptions),
    /// Look into the BPF maps
    #[command(subcommand)]
    Bpf(BpfCommand),
    /// Show which remote clusters are ready
    Status(StatusOptions),
    /// Nodes of all clusters
    #[command(subcommand)]
    Node(NodeCommand),
    /// Security identities of all clusters
    #[command(subcommand)]
    Identity(IdentityCommand),
    /// Detach the programs and remove all pinned maps and links
    Cleanup(DatapathOptions),
}

/// Who we are.
#[derive(Debug, Args)]
pub(crate) struct IdentityOptions {
    /// Name of this cluster
    #[arg(long, env = "CILIUM_CLUSTER_NAME", value_name = "NAME")]
    pub(crate) cluster_name: ClusterName,
    /// ID of this cluster, unique in the mesh
    #[arg(long, env = "CILIUM_CLUSTER_ID", value_name = "ID")]
    cluster_id: u16,
    /// Size of the mesh: 255 or 511
    #[arg(long, env = "CILIUM_MAX_CONNECTED_CLUSTERS", value_name = "NUMBER", default_value = "255")]
    max_connected_clusters: u16,
}

impl IdentityOptions {
    /// Size of the mesh.
    pub(crate) fn limit(&self) -> anyhow::Result<MaxConnectedClusters> {
        match self.max_connected_clusters {
            255 => Ok(MaxConnectedClusters::N255),
            511 => Ok(MaxConnectedClusters::N511),
            other => bail!("`--max-connected-clusters` is {other}, must be 255 or 511"),
        }
    }

    /// ID of this cluster.
    pub(crate) fn cluster_id(&self) -> anyhow::Result<ClusterId> {
        let id = ClusterId::new(self.cluster_id, self.limit()?).context("invalid `--cluster-id`")?;
        if self.cluster_name.as_str() == "default" {
            bail!("cannot use default cluster name (default) with option cluster-id");
        }
        Ok(id)
    }
}

/// Who we are, and our own Kubernetes.
#[derive(Debug, Args)]
pub(crate) struct ClusterOptions {
    #[command(flatten)]
    pub(crate) identity: IdentityOptions,
    /// Kubeconfig file of this cluster
    #[arg(long, env = "CILIUM_K8S_KUBECONFIG_PATH", value_name = "FILE")]
    pub(crate) k8s_kubeconfig_path: PathBuf,
}

impl std::ops::Deref for ClusterOptions {
    type Target = IdentityOptions;

    fn deref(&self) -> &IdentityOptions {
        &self.identity
    }
}

/// Where the datapath is.
#[derive(Debug, Args)]
pub(crate) struct DatapathOptions {
    /// Mount point of bpffs
    #[arg(long, env = "CILIUM_BPF_ROOT", value_name = "DIR", default_value = BPF_ROOT)]
    pub(crate) bpf_root: PathBuf,
    /// The cgroup v2 whose processes are served
    #[arg(long, env = "CILIUM_CGROUP_ROOT", value_name = "DIR")]
    pub(crate) cgroup_root: PathBuf,
}

impl DatapathOptions {
    /// The same for the datapath.
    pub(crate) fn options(&self) -> mesh_datapath::Options {
        mesh_datapath::Options { bpf_root: self.bpf_root.clone(), cgroup_root: self.cgroup_root.clone() }
    }
}

/// How to watch the program at work.
#[derive(Debug, Args)]
pub(crate) struct TraceOptions {
    /// File to which a JSON line is appended for each step of each change on its way
    #[arg(long, env = "MESH_AGENT_TRACE", value_name = "FILE")]
    pub(crate) trace_file: Option<PathBuf>,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,
    #[command(flatten)]
    pub(crate) datapath: DatapathOptions,
    /// Name of this node
    #[arg(long, env = "K8S_NODE_NAME", value_name = "NAME")]
    pub(crate) node_name: String,
    /// Directory with one etcd configuration file a remote cluster, named as the cluster; without it there is no mesh
    #[arg(long, env = "CILIUM_CLUSTERMESH_CONFIG", value_name = "DIR")]
    pub(crate) clustermesh_config: Option<PathBuf>,
    /// How long a remote cluster may not be ready before its services are dropped, such as `10m`; 0 for ever
    #[arg(long, env = "CILIUM_CLUSTERMESH_CACHE_TTL", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) clustermesh_cache_ttl: Option<Duration>,
    /// Directory for run-time files
    #[arg(long, env = "CILIUM_STATE_DIR", value_name = "DIR", default_value = STATE_DIR)]
    pub(crate) state_dir: PathBuf,
    #[command(flatten)]
    pub(crate) trace: TraceOptions,
}

/// Where our own cluster's etcd is, and how to write to it.
#[derive(Debug, Args)]
pub(crate) struct KvstoreOptions {
    /// Where this cluster's etcd is: `etcd.config=FILE`, a client configuration file
    #[arg(long, env = "CILIUM_KVSTORE_OPT", value_name = "KEY=VALUE", value_delimiter = ',', required = true)]
    kvstore_opt: Vec<String>,
    /// How long this process's keys outlive it, such as `15m`
    #[arg(long, env = "CILIUM_KVSTORE_LEASE_TTL", value_name = "DURATION", default_value = "15m", value_parser = lease_ttl)]
    pub(crate) kvstore_lease_ttl: Duration,
}

/// Options of `apiserver`.
#[derive(Debug, Args)]
pub(crate) struct ApiserverOptions {
    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,
    #[command(flatten)]
    pub(crate) kvstore: KvstoreOptions,
    #[command(flatten)]
    pub(crate) trace: TraceOptions,
}

/// Options of `kvstoremesh`.
#[derive(Debug, Args)]
pub(crate) struct KvstoremeshOptions {
    #[command(flatten)]
    pub(crate) cluster: IdentityOptions,
    #[command(flatten)]
    pub(crate) kvstore: KvstoreOptions,
    /// Directory with one etcd configuration file a remote cluster, named as the cluster
    #[arg(long, env = "CILIUM_CLUSTERMESH_CONFIG", value_name = "DIR")]
    pub(crate) clustermesh_config: PathBuf,
    /// How long agents are held back until a remote cluster is copied
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = humantime::parse_duration)]
    pub(crate) per_cluster_ready_timeout: Duration,
    /// How long agents are held back until all remote clusters are copied
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    pub(crate) global_ready_timeout: Duration,
    /// Keep the cache of a remote cluster that is removed
    #[arg(long, hide = true)]
    pub(crate) disable_drain_on_disconnection: bool,
}

/// A time to live that an etcd grants: whole seconds, one to nine billion.
fn lease_ttl(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if ttl.as_secs() == 0 || ttl.subsec_nanos() != 0 || ttl > LEASE_TTL_MAX {
        return Err(format!("must be whole seconds from 1 s to {} s", LEASE_TTL_MAX.as_secs()));
    }
    Ok(ttl)
}

impl KvstoreOptions {
    /// The etcd client configuration file.
    pub(crate) fn etcd_config(&self) -> anyhow::Result<PathBuf> {
        let mut file = None;
        for option in &self.kvstore_opt {
            match option.split_once('=') {
                Some(("etcd.config", path)) if !path.is_empty() => file = Some(PathBuf::from(path)),
                Some((key, _)) => tracing::warn!(key, "option of `--kvstore-opt` is not known and has no effect"),
                None => bail!("`--kvstore-opt {option}` is not of the form `KEY=VALUE`"),
            }
        }
        file.context("`--kvstore-opt` lacks `etcd.config=FILE`")
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum BpfCommand {
    /// The load balancer
    #[command(subcommand)]
    Lb(LbCommand),
    /// Addresses and the security identities behind them
    #[command(subcommand)]
    Ipcache(IpcacheCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum LbCommand {
    /// List frontends and their backends
    #[command(visible_alias = "ls")]
    List(LbListOptions),
}

/// Options of `bpf lb list`.
#[derive(Debug, Args)]
pub(crate) struct LbListOptions {
    /// List frontend entries only
    #[arg(long, group = "view")]
    pub(crate) frontends: bool,
    /// List backend entries only
    #[arg(long, group = "view")]
    pub(crate) backends: bool,
    /// List reverse NAT entries
    #[arg(long, group = "view")]
    pub(crate) revnat: bool,
    /// Format of the output
    #[arg(long, short, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
    /// Mount point of bpffs
    #[arg(long, env = "CILIUM_BPF_ROOT", value_name = "DIR", default_value = BPF_ROOT)]
    pub(crate) bpf_root: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IpcacheCommand {
    /// List prefixes of addresses, their identities and nodes
    #[command(visible_alias = "ls")]
    List(IpcacheListOptions),
}

/// Options of `bpf ipcache list`.
#[derive(Debug, Args)]
pub(crate) struct IpcacheListOptions {
    /// Format of the output
    #[arg(long, short, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
    /// Mount point of bpffs
    #[arg(long, env = "CILIUM_BPF_ROOT", value_name = "DIR", default_value = BPF_ROOT)]
    pub(crate) bpf_root: PathBuf,
}

/// Options of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusOptions {
    /// Show each remote cluster
    #[arg(long, visible_alias = "all-clusters")]
    pub(crate) verbose: bool,
    /// Format of the output
    #[arg(long, short, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
    /// Directory for run-time files, as given to `run`
    #[arg(long, env = "CILIUM_STATE_DIR", value_name = "DIR", default_value = STATE_DIR)]
    pub(crate) state_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List nodes, their addresses and those of their pods
    #[command(visible_alias = "ls")]
    List(ListOptions),
}

#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// List identities and their labels
    #[command(visible_alias = "ls")]
    List(ListOptions),
}

/// Options of commands that list what a running agent knows.
#[derive(Debug, Args)]
pub(crate) struct ListOptions {
    /// Format of the output
    #[arg(long, short, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
    /// Directory for run-time files, as given to `run`
    #[arg(long, env = "CILIUM_STATE_DIR", value_name = "DIR", default_value = STATE_DIR)]
    pub(crate) state_dir: PathBuf,
}

/// A format other than text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// JSON
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(arguments: &[&str]) -> Command {
        Cli::try_parse_from(arguments).expect("valid arguments").command
    }

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_takes_cilium_flags() {
        let command = parse(&[
            "mesh-agent",
            "run",
            "--cluster-name",
            "alpha",
            "--cluster-id",
            "1",
            "--node-name",
            "alpha-1",
            "--k8s-kubeconfig-path",
            "/k",
            "--clustermesh-config",
            "/c",
            "--bpf-root",
            "/b",
            "--cgroup-root",
            "/g",
            "--state-dir",
            "/s",
        ]);
        let Command::Run(options) = command else { panic!("not `run`: {command:?}") };
        assert_eq!(options.cluster.cluster_name.as_str(), "alpha");
        assert_eq!(options.cluster.cluster_id().map(ClusterId::get).ok(), Some(1));
        assert_eq!(options.clustermesh_config, Some("/c".into()));
    }

    #[test]
    fn apiserver_finds_the_etcd_configuration() {
        let command = parse(&[
            "mesh-agent",
            "apiserver",
            "--cluster-name",
            "alpha",
            "--cluster-id",
            "0",
            "--k8s-kubeconfig-path",
            "/k",
            "--kvstore-opt",
            "etcd.qps=100,etcd.config=/e",
        ]);
        let Command::Apiserver(options) = command else { panic!("not `apiserver`: {command:?}") };
        assert_eq!(options.kvstore.etcd_config().ok(), Some("/e".into()));
        assert_eq!(options.kvstore.kvstore_lease_ttl, mesh_kvstore::ExporterOptions::LEASE_TTL);
        let error = options.cluster.cluster_id().expect_err("0 is reserved");
        assert_eq!(format!("{error:#}"), "invalid `--cluster-id`: ClusterID 0 is reserved");
    }

    #[test_case::test_case("1s" => Ok(1) ; "shortest")]
    #[test_case::test_case("2m 5s" => Ok(125) ; "two units")]
    #[test_case::test_case("0s" => Err("must be whole seconds from 1 s to 9000000000 s".to_owned()) ; "none at all")]
    #[test_case::test_case("1500ms" => Err("must be whole seconds from 1 s to 9000000000 s".to_owned()) ; "a fraction")]
    fn lease_times(text: &str) -> Result<u64, String> {
        lease_ttl(text).map(|ttl| ttl.as_secs())
    }

    #[test]
    fn the_ipcache_is_listed_under_both_names() {
        for name in ["list", "ls"] {
            let command = parse(&["mesh-agent", "bpf", "ipcache", name, "-o", "json", "--bpf-root", "/b"]);
            let Command::Bpf(BpfCommand::Ipcache(IpcacheCommand::List(options))) = command else {
                panic!("not `bpf ipcache list`: {command:?}")
            };
            assert_eq!((options.output, options.bpf_root), (Some(Output::Json), "/b".into()));
        }
    }

    #[test]
    fn only_one_view_at_a_time() {
        assert!(Cli::try_parse_from(["mesh-agent", "bpf", "lb", "list", "--frontends", "--revnat"]).is_err());
    }
}
