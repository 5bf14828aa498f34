//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{ArgAction, Args, Parser, Subcommand};
use ipnet::Ipv4Net;

/// Builds meshes of Kubernetes clusters on this machine, runs scenarios on them and says exactly what happened.
#[derive(Debug, Parser)]
#[command(name = "meshbed", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 pass, 1 an expectation failed, 2 usage or file error, 3 the environment cannot \
run this, 4 the run is invalid, 5 timed out, 130 interrupted.";

/// Flags of every command.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// More diagnostic logs on stderr; repeat for more. `RUST_LOG` says it in detail.
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a scenario: a file, or the name of one in `scenarios/`.
    Run(RunArgs),
    /// Bring a topology up and leave it running.
    Up(UpArgs),
    /// Take meshes down: a run, or all that were kept or abandoned.
    Down(DownArgs),
    /// Show the meshes on this machine.
    Status(StatusArgs),
    /// Run a command in a pod, e.g. `meshbed exec x-wing -- curl -s rebel-base`.
    Exec(ExecArgs),
    /// Print the kubeconfig of a cluster, e.g. `kubectl --kubeconfig <(meshbed kubeconfig alpha) get pods`.
    Kubeconfig(KubeconfigArgs),
    /// Make the reports of a run again from its record.
    Report(ReportArgs),
    /// Check scenario and topology files and print all findings.
    Lint(LintArgs),
    /// Measure: mesh-up time and propagation of a removed endpoint, beside etcd's own put-to-watch.
    Bench(BenchArgs),
    /// The embedded Kubernetes API server of one cluster; meshes start it themselves.
    #[command(hide = true)]
    Apiserver(ApiserverArgs),
    /// The emulated kubelet of one node; meshes start it themselves.
    #[command(hide = true)]
    Kubelet(meshbed_node::kubelet::Options),
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Scenario file, or the name of one in `scenarios/`.
    pub(crate) scenario: String,
    /// Leave the mesh up afterwards, for `status`, `exec` and `kubectl`.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Folder below which the run's reports get their own folder.
    #[arg(long, value_name = "DIR", default_value = "reports/runs")]
    pub(crate) reports: PathBuf,
    /// Also print object changes, faults and map changes as they happen.
    #[arg(long)]
    pub(crate) events: bool,
    /// The mesh agent to test instead of the one next to this program.
    #[arg(long, value_name = "FILE")]
    pub(crate) agent: Option<PathBuf>,
    /// More environment for the agents under test; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) agent_env: Vec<(String, String)>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[derive(Args, Debug)]
pub(crate) struct UpArgs {
    /// Topology file, or the name of one in `fixtures/topologies/`.
    #[arg(default_value = "two-clusters")]
    pub(crate) topology: String,
}

#[derive(Args, Debug)]
pub(crate) struct DownArgs {
    /// The run; without it, every run that was kept or whose harness is gone.
    pub(crate) run: Option<String>,
    /// Also runs that are in progress.
    #[arg(long, conflicts_with = "run")]
    pub(crate) all: bool,
}

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// The run; without it, all of them.
    pub(crate) run: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ExecArgs {
    /// Pod: its name, the start of it, or `cluster/name`; the first pod that fits is taken.
    pub(crate) pod: String,
    /// The run, when there are several.
    #[arg(long)]
    pub(crate) run: Option<String>,
    /// Command and arguments.
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct KubeconfigArgs {
    /// The cluster.
    pub(crate) cluster: String,
    /// The run, when there are several.
    #[arg(long)]
    pub(crate) run: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ReportArgs {
    /// Folder of the run, such as `reports/runs/20261122-101530-failover-k3f7x2`.
    pub(crate) folder: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct LintArgs {
    /// Scenario or topology files, or names of scenarios.
    #[arg(required = true)]
    pub(crate) files: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// How often an endpoint is removed and put back.
    #[arg(long, default_value_t = 300)]
    pub(crate) repeat: u32,
    /// How many meshes are brought up for the mesh-up time.
    #[arg(long, default_value_t = 3)]
    pub(crate) meshes: u32,
}

#[derive(Args, Debug)]
pub(crate) struct ApiserverArgs {
    /// Name of the cluster.
    #[arg(long)]
    pub(crate) cluster_name: String,
    /// Addresses for services.
    #[arg(long)]
    pub(crate) service_cidr: Ipv4Net,
    /// Addresses for pods.
    #[arg(long)]
    pub(crate) pod_cidr: Ipv4Net,
    /// Where to listen.
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// An inherited listener that is served as well.
    #[arg(long)]
    pub(crate) listen_fd: Option<i32>,
    /// Server certificate chain, PEM.
    #[arg(long)]
    pub(crate) tls_cert: PathBuf,
    /// Its key, PEM.
    #[arg(long)]
    pub(crate) tls_key: PathBuf,
    /// Authority of client certificates, PEM.
    #[arg(long)]
    pub(crate) client_ca: PathBuf,
    /// File with the bearer token.
    #[arg(long)]
    pub(crate) token_file: PathBuf,
}
