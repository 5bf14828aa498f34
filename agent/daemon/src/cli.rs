//! Arguments. Flags and environment variables have the names that Cilium gives them, where it has such a thing.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use mesh_core::{Patience, ServiceV2};
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
    /// The mesh as the agents of several nodes see it
    #[command(subcommand)]
    Clustermesh(ClustermeshCommand),
    /// Nodes of all clusters
    #[command(subcommand)]
    Node(NodeCommand),
    /// Security identities of all clusters
    #[command(subcommand)]
    Identity(IdentityCommand),
    /// Find out why something cannot be reached
    #[command(subcommand)]
    Troubleshoot(TroubleshootCommand),
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

/// Which services are global, and how they are written and read.
#[derive(Debug, Args)]
pub(crate) struct ServiceOptions {
    /// Format of services: `prefer-legacy` writes both and reads services v1, `prefer-endpointslice` writes both and reads
    /// endpoint slices, `only-endpointslice` writes and reads those only; without it services v1 are written, and of
    /// peers is read what they write
    #[arg(long, env = "CILIUM_CLUSTERMESH_SERVICE_V2", value_name = "MODE", value_parser = service_v2)]
    pub(crate) clustermesh_service_v2: Option<ServiceV2>,
    /// Whether services of a namespace without the annotation `clustermesh.cilium.io/global` are global if they say so
    #[arg(long, env = "CILIUM_CLUSTERMESH_DEFAULT_GLOBAL_NAMESPACE", value_name = "BOOL", action = ArgAction::Set,
          default_value_t = true)]
    pub(crate) clustermesh_default_global_namespace: bool,
}

fn service_v2(text: &str) -> Result<ServiceV2, String> {
    match text {
        "prefer-legacy" => Ok(ServiceV2::PreferLegacy),
        "prefer-endpointslice" => Ok(ServiceV2::PreferEndpointSlice),
        "only-endpointslice" => Ok(ServiceV2::OnlyEndpointSlice),
        _ => Err("must be `prefer-legacy`, `prefer-endpointslice` or `only-endpointslice`".to_owned()),
    }
}

/// Where metrics are served.
#[derive(Debug, Args)]
pub(crate) struct MetricsOptions {
    /// Where metrics are served for Prometheus, such as `:9962` or `127.0.0.1:9962`; without it nowhere
    #[arg(long, env = "CILIUM_PROMETHEUS_SERVE_ADDR", value_name = "ADDRESS", value_parser = listen_address)]
    pub(crate) prometheus_serve_addr: Option<SocketAddr>,
}

/// `host:port` with an address for the host, or `:port` for all addresses, as in Go.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let whole = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    whole.parse().map_err(|_| "must be like `:9962` or `127.0.0.1:9962`".to_owned())
}

/// Options of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) metrics: MetricsOptions,
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
    #[command(flatten)]
    pub(crate) services: ServiceOptions,
    /// Prefer backends of the node's zone for services that ask for it
    #[arg(long, env = "CILIUM_ENABLE_SERVICE_TOPOLOGY")]
    pub(crate) enable_service_topology: bool,
    /// Directory for run-time files
    #[arg(long, env = "CILIUM_STATE_DIR", value_name = "DIR", default_value = STATE_DIR)]
    pub(crate) state_dir: PathBuf,
    #[command(flatten)]
    pub(crate) patience: PatienceOptions,
    #[command(flatten)]
    pub(crate) trace: TraceOptions,
}

/// When a remote cluster is given up and tried again. Cilium has no options for it; whoever tests the agent has less time.
#[derive(Args, Debug)]
pub(crate) struct PatienceOptions {
    /// How long a remote cluster's heartbeat may be missing
    #[arg(long, hide = true, env = "MESH_AGENT_HEARTBEAT_TIMEOUT", value_name = "DURATION", value_parser = humantime::parse_duration)]
    heartbeat_timeout: Option<Duration>,
    /// How long a remote cluster's configuration may be missing
    #[arg(long, hide = true, env = "MESH_AGENT_CLUSTER_CONFIG_TIMEOUT", value_name = "DURATION", value_parser = humantime::parse_duration)]
    cluster_config_timeout: Option<Duration>,
}

impl PatienceOptions {
    /// The same for the life of remote clusters.
    pub(crate) fn patience(&self) -> Patience {
        Patience {
            heartbeat: self.heartbeat_timeout.unwrap_or(Patience::HEARTBEAT),
            cluster_config: self.cluster_config_timeout.unwrap_or(Patience::CLUSTER_CONFIG),
        }
    }
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
    /// How often the heartbeat is written
    #[arg(long, hide = true, env = "MESH_AGENT_HEARTBEAT_INTERVAL", value_name = "DURATION", default_value = "60s", value_parser = period)]
    pub(crate) heartbeat_interval: Duration,
}

/// Options of `apiserver`.
#[derive(Debug, Args)]
pub(crate) struct ApiserverOptions {
    #[command(flatten)]
    pub(crate) metrics: MetricsOptions,
    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,
    #[command(flatten)]
    pub(crate) kvstore: KvstoreOptions,
    #[command(flatten)]
    pub(crate) services: ServiceOptions,
    #[command(flatten)]
    pub(crate) trace: TraceOptions,
}

/// Options of `kvstoremesh`.
#[derive(Debug, Args)]
pub(crate) struct KvstoremeshOptions {
    #[command(flatten)]
    pub(crate) metrics: MetricsOptions,
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
    /// How long the cache of a remote cluster that is removed stays for agents that have not let go of it yet
    #[arg(long, hide = true, env = "MESH_AGENT_DRAIN_GRACE_PERIOD", value_name = "DURATION", default_value = "3m", value_parser = humantime::parse_duration)]
    pub(crate) drain_grace_period: Duration,
    #[command(flatten)]
    pub(crate) patience: PatienceOptions,
}

/// A time between two rounds of something.
fn period(text: &str) -> Result<Duration, String> {
    let period = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if period.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(period) }
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
pub(crate) enum ClustermeshCommand {
    /// Show which remote clusters nodes are connected to; fails unless it is all of them
    Status(ClustermeshStatusOptions),
}

/// Options of `clustermesh status`.
#[derive(Debug, Args)]
pub(crate) struct ClustermeshStatusOptions {
    /// Wait until all nodes are connected to all clusters
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = humantime::parse_duration)]
    pub(crate) wait_duration: Duration,
    /// Format of the output
    #[arg(long, short, value_name = "FORMAT", default_value = "summary")]
    pub(crate) output: MeshOutput,
    /// Directory for run-time files, as given to `run`; once for each agent to ask
    #[arg(long, env = "CILIUM_STATE_DIR", value_name = "DIR", value_delimiter = ',', default_value = STATE_DIR)]
    pub(crate) state_dir: Vec<PathBuf>,
}

/// A format of `clustermesh status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MeshOutput {
    /// Text
    Summary,
    /// JSON
    Json,
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

#[derive(Debug, Subcommand)]
pub(crate) enum TroubleshootCommand {
    /// Remote clusters: configuration, endpoints, certificates, etcd
    Clustermesh(TroubleshootOptions),
}

/// Options of `troubleshoot clustermesh`.
#[derive(Debug, Args)]
pub(crate) struct TroubleshootOptions {
    /// Remote clusters to look at; all when none is named
    #[arg(value_name = "CLUSTER")]
    pub(crate) clusters: Vec<String>,
    /// Directory with one etcd configuration file a remote cluster, as given to `run`
    #[arg(long, env = "CILIUM_CLUSTERMESH_CONFIG", value_name = "DIR")]
    pub(crate) clustermesh_config: PathBuf,
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

    #[test]
    fn times_are_those_of_cilium_unless_told() {
        let parse_mesh = |more: &[&str]| {
            let arguments = ["mesh-agent", "kvstoremesh", "--cluster-name", "alpha", "--cluster-id", "1"];
            let rest = ["--kvstore-opt", "etcd.config=/e", "--clustermesh-config", "/c"];
            let command = parse(&[&arguments[..], &rest, more].concat());
            let Command::Kvstoremesh(options) = command else { panic!("not `kvstoremesh`: {command:?}") };
            (
                options.patience.patience(),
                options.kvstore.heartbeat_interval.as_secs(),
                options.drain_grace_period.as_secs(),
            )
        };
        assert_eq!(
            parse_mesh(&[]),
            (Patience::default(), mesh_kvstore::ExporterOptions::HEARTBEAT_INTERVAL.as_secs(), 180)
        );
        let told = parse_mesh(&[
            "--heartbeat-timeout",
            "2s",
            "--cluster-config-timeout",
            "3s",
            "--heartbeat-interval",
            "1s",
            "--drain-grace-period",
            "4s",
        ]);
        let patience = Patience { heartbeat: Duration::from_secs(2), cluster_config: Duration::from_secs(3) };
        assert_eq!(told, (patience, 1, 4));
        assert!(period("0s").is_err());
    }

    #[test_case::test_case(":9962" => Some("0.0.0.0:9962".to_owned()) ; "all addresses")]
    #[test_case::test_case("127.0.0.1:1" => Some("127.0.0.1:1".to_owned()) ; "one address")]
    #[test_case::test_case("9962" => None ; "no colon")]
    fn addresses_for_metrics(text: &str) -> Option<String> {
        listen_address(text).ok().map(|address| address.to_string())
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
