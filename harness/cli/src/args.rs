//! The command line.

mod guest;

use std::{net::SocketAddr, path::PathBuf};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use ipnet::Ipv4Net;
use meshbed_engine::ViewerProbe;

pub(crate) use guest::{
    BisectArgs, Environment, GuestArgs, GuestSize, KernelCommand, KernelConfigArgs, KernelFetchArgs, KernelsArgs,
    MatrixArgs,
};

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
    /// Run scenarios: a file, a folder, or the name of one or the other in `scenarios/`.
    Run(RunArgs),
    /// Kernels for guests: list them, fetch them, show their configuration.
    #[command(subcommand)]
    Kernel(KernelCommand),
    /// Run the conformance suite and write its report.
    Conformance(ConformanceArgs),
    /// Run the conformance suite on many kernels, each in a guest, and write what they say together.
    Matrix(MatrixArgs),
    /// Find since which kernel a scenario does not pass any more, each try in a guest.
    Bisect(BisectArgs),
    /// Run conformance cases against agents that are wrong on purpose: each must be noticed.
    Mutants(MutantsArgs),
    /// Show scenarios, conformance cases, topologies and agents.
    List,
    /// Show what this machine can run, what is missing, and how to get it.
    Doctor,
    /// Show the log of a process of a mesh, e.g. `meshbed logs agent-alpha-1`; without a name, which there are.
    Logs(LogsArgs),
    /// Bring a topology up and leave it running.
    Up(UpArgs),
    /// Take meshes down: a run, or all that were kept or abandoned.
    Down(DownArgs),
    /// Show the meshes on this machine.
    Status(StatusArgs),
    /// Break something in a mesh that was kept, and heal it again.
    #[command(subcommand)]
    Fault(FaultCommand),
    /// Watch a mesh live: nodes, services, who answers, wrong map entries, faults. `q` ends it.
    Watch(WatchArgs),
    /// Run a command in a pod, e.g. `meshbed exec x-wing -- curl -s rebel-base`.
    Exec(ExecArgs),
    /// Print the kubeconfig of a cluster, e.g. `kubectl --kubeconfig <(meshbed kubeconfig alpha) get pods`.
    Kubeconfig(KubeconfigArgs),
    /// Make the reports of a run again from its record; of several runs, what they say together.
    Report(ReportArgs),
    /// Compare what happened in two runs; exit code 1 when it differs. Times are shown and do not count.
    Diff(DiffArgs),
    /// Run a scenario once with each of several agents, and compare their answers, maps and times.
    DiffAgents(DiffAgentsArgs),
    /// Run again what a run did: the same scenario, agent and seed.
    Replay(ReplayArgs),
    /// Check files of all kinds, or whole folders of them, and print all findings.
    Lint(LintArgs),
    /// Print the JSON Schema of a kind of file, for editors.
    Schema(SchemaArgs),
    /// Print what completes commands and flags in a shell: `source <(meshbed completions bash)`.
    Completions(CompletionsArgs),
    /// Write the man pages.
    Man(ManArgs),
    /// Measure: mesh-up time, propagation, failover, growth with the size of the mesh.
    Bench(BenchArgs),
    /// Try every cell of the truth table of global services on a real mesh, and write what was found as a table.
    TruthTable(TruthTableArgs),
    /// The embedded Kubernetes API server of one cluster; meshes start it themselves.
    #[command(hide = true)]
    Apiserver(ApiserverArgs),
    /// The emulated kubelet of one node; meshes start it themselves.
    #[command(hide = true)]
    Kubelet(meshbed_node::kubelet::Options),
    /// What impairs the links between clusters; meshes start it themselves.
    #[command(hide = true)]
    Wan(WanArgs),
    /// Do on this machine what the one that leads a mesh asks for.
    #[command(hide = true)]
    Outpost,
}

/// The agent under test.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct AgentArgs {
    /// Description of the agent under test: a file of `kind: Agent`, or the name of one in `fixtures/agents/`.
    #[arg(long, value_name = "FILE")]
    pub(crate) agent: Option<String>,
    /// Another agent in one cluster, for a mesh of different ones; may be repeated.
    #[arg(long, value_name = "CLUSTER=FILE", value_parser = name_and_value)]
    pub(crate) agent_in: Vec<(String, String)>,
    /// Folder with the agent's programs; otherwise they are looked for next to this program and in `PATH`.
    #[arg(long, value_name = "DIR")]
    pub(crate) agent_bin_dir: Option<PathBuf>,
    /// More environment for the agents under test; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) agent_env: Vec<(String, String)>,
}

/// Folder below which runs get their own folders.
const RUNS: &str = "reports/runs";

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Scenario file, the name of one below `scenarios/`, or a folder of scenarios, which are run one after the other.
    pub(crate) scenario: String,
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
    #[command(flatten)]
    pub(crate) guest: GuestArgs,
    /// Print what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Another value for a parameter of the scenario; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) set: Vec<(String, String)>,
    /// Every random choice comes from it; one is drawn and printed when it is not given.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Run it so many times, each on a fresh mesh, and print percentiles over all of them.
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) repeat: u32,
    /// Stop repeating at the first run that does not pass.
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Leave the mesh up afterwards, for `status`, `exec` and `kubectl`.
    #[arg(long)]
    pub(crate) keep: bool,
    /// When it does not pass, leave the mesh up and open a shell there.
    #[arg(long, short = 'p')]
    pub(crate) pause_on_fail: bool,
    /// Exit with 0 instead of 1 when an expectation failed.
    #[arg(long)]
    pub(crate) exit_zero_on_failure: bool,
    /// Also write the JUnit report to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) junit_file: Option<PathBuf>,
    /// Folder below which the run's reports get their own folder.
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(crate) reports: PathBuf,
    /// Also print object changes, faults and map changes as they happen.
    #[arg(long)]
    pub(crate) events: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ConformanceArgs {
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
    #[command(flatten)]
    pub(crate) guest: GuestArgs,
    /// Only cases of these profiles.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) profile: Vec<String>,
    /// Only these cases.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Run each case so many times; it is conformant when all of them pass.
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) repeat: u32,
    /// How many cases run at the same time, each on a mesh of its own.
    #[arg(long, short, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: u16,
    /// Run a case on the mesh of the case before it when that passed and left nothing behind. One that does not pass there is
    /// run again on a mesh of its own, and that counts. For machines on which bringing a mesh up takes long.
    #[arg(long)]
    pub(crate) share_meshes: bool,
    /// Only every n-th case, beginning with the i-th, for machines that share the work.
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub(crate) shard: Option<(usize, usize)>,
    /// File with IDs of cases whose failure does not count, one a line; `#` begins a comment.
    #[arg(long, value_name = "FILE")]
    pub(crate) quarantine: Option<PathBuf>,
    /// Every random choice comes from it; one is drawn and printed when it is not given.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Folder with the cases.
    #[arg(long, value_name = "DIR", default_value = "scenarios/conformance")]
    pub(crate) cases: PathBuf,
    /// Folder for the conformance report.
    #[arg(long, value_name = "DIR", default_value = "reports/conformance")]
    pub(crate) output: PathBuf,
    /// Folder below which the runs of the cases get their own folders.
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(crate) reports: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct MutantsArgs {
    /// Only these defects.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Which cases must notice which defect.
    #[arg(long, value_name = "FILE", default_value = "scenarios/conformance/mutants.txt")]
    pub(crate) table: PathBuf,
    /// How many run at the same time.
    #[arg(long, short, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: u16,
    /// Folder with the program `mesh-agent-planted`; next to this program when it is not given.
    #[arg(long, value_name = "DIR")]
    pub(crate) agent_bin_dir: Option<PathBuf>,
    /// Folder with the cases.
    #[arg(long, value_name = "DIR", default_value = "scenarios/conformance")]
    pub(crate) cases: PathBuf,
    /// File for the table.
    #[arg(long, value_name = "FILE", default_value = "reports/mutants.md")]
    pub(crate) output: PathBuf,
    /// Folder below which the runs get their own folders.
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(crate) reports: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    /// The process, or the start of its name.
    pub(crate) process: Option<String>,
    /// The run, when there are several.
    #[arg(long)]
    pub(crate) run: Option<String>,
}

/// `2/5`: the second of five parts.
fn shard(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
    match parts {
        Some((part, of)) if part >= 1 && part <= of => Ok((part, of)),
        _ => Err("expected I/N with 1 <= I <= N".to_owned()),
    }
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
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
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

/// What is done with faults.
#[derive(Debug, Subcommand)]
pub(crate) enum FaultCommand {
    /// Inject a fault and wait for what shows that it took effect; exit code 4 when nothing does.
    Inject(InjectArgs),
    /// Show the faults that were injected and not healed yet.
    List {
        /// The run, when there are several.
        #[arg(long)]
        run: Option<String>,
    },
    /// Undo a fault and show that all is as before.
    Heal(HealArgs),
    /// Inject a fault and hold it until it is healed; `inject` starts it itself.
    #[command(hide = true)]
    Hold(HoldArgs),
}

#[derive(Args, Debug)]
pub(crate) struct InjectArgs {
    /// The fault as in scenarios, e.g. 'podKill: {clusters: [alpha], deployment: rebel-base}'.
    pub(crate) fault: String,
    /// Its name; otherwise one made of its kind.
    #[arg(long = "as", value_name = "NAME", value_parser = name)]
    pub(crate) name: Option<String>,
    /// The run, when there are several.
    #[arg(long)]
    pub(crate) run: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct HealArgs {
    /// The fault.
    pub(crate) name: String,
    /// The run, when there are several.
    #[arg(long)]
    pub(crate) run: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct HoldArgs {
    /// The run.
    #[arg(long)]
    pub(crate) run: String,
    /// Its name.
    #[arg(long)]
    pub(crate) name: String,
    /// The fault.
    #[arg(long)]
    pub(crate) fault: String,
}

/// A name, which becomes part of a file's name.
fn name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edges = text.starts_with('-') || text.ends_with('-');
    if text.is_empty() || text.len() > NAME_MAX || edges || !text.chars().all(allowed) {
        return Err(format!("expected at most {NAME_MAX} lower-case letters, digits and `-` inside"));
    }
    Ok(text.to_owned())
}

/// Characters of a name.
const NAME_MAX: usize = 63;

#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    /// The run, when there are several.
    pub(crate) run: Option<String>,
    /// Who asks whom meanwhile, e.g. `deployment/x-wing=rebel-base:80`, which is the default where there are x-wings.
    #[arg(long, value_name = "DEPLOYMENT=SERVICE:PORT", conflicts_with = "no_probe")]
    pub(crate) probe: Option<ViewerProbe>,
    /// Nobody asks.
    #[arg(long)]
    pub(crate) no_probe: bool,
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
    /// Runs: folders such as `reports/runs/20261122-101530-failover-k3f7x2`, or their IDs.
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<String>,
    /// Print this report to stdout and write nothing: yaml, normalised, junit, markdown, github, terminal, html, maps.
    #[arg(long, value_name = "NAME")]
    pub(crate) format: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// One run: its folder or its ID.
    #[arg(value_name = "RUN")]
    pub(crate) left: String,
    /// The other run.
    #[arg(value_name = "RUN")]
    pub(crate) right: String,
}

#[derive(Args, Debug)]
pub(crate) struct DiffAgentsArgs {
    /// Scenario file, or the name of one in `scenarios/` or `scenarios/conformance/`.
    pub(crate) scenario: String,
    /// Descriptions of agents: files of `kind: Agent`, or names of those in `fixtures/agents/`; at least two.
    #[arg(long, value_name = "FILE", value_delimiter = ',', required = true)]
    pub(crate) agents: Vec<String>,
    /// Folder with the agents' programs; otherwise they are looked for next to this program and in `PATH`.
    #[arg(long, value_name = "DIR")]
    pub(crate) agent_bin_dir: Option<PathBuf>,
    /// Every random choice comes from it; one is drawn and printed when it is not given.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Also write the comparison to this file; `.md` and `.yaml` say how.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Folder below which the runs get their own folders.
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(crate) reports: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// The run: its folder or its ID.
    pub(crate) run: String,
    /// More flags for it, such as `--keep`.
    #[arg(last = true)]
    pub(crate) more: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// Folder for the pages, one a command.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct LintArgs {
    /// Files of scenarios, steps, topologies or agents, folders, or names of scenarios.
    #[arg(required = true)]
    pub(crate) files: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct SchemaArgs {
    /// The kind of file.
    #[arg(default_value = "scenario")]
    pub(crate) kind: SchemaKind,
}

/// Kinds of files that have a schema.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SchemaKind {
    /// `kind: Scenario`.
    Scenario,
    /// `kind: Steps`, which scenarios include.
    Steps,
    /// `kind: Topology`.
    Topology,
    /// `kind: Agent`.
    Agent,
    /// `kind: Kernels`.
    Kernels,
}

#[derive(Args, Debug)]
pub(crate) struct TruthTableArgs {
    /// Only rows whose name contains this.
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// File for the table.
    #[arg(long, value_name = "FILE", default_value = "reports/truth-table-run.md")]
    pub(crate) output: PathBuf,
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) what: Option<Bench>,
    #[command(flatten)]
    pub(crate) propagation: PropagationArgs,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Mesh-up time and propagation of a removed endpoint; the same as without a subcommand.
    Propagation(PropagationArgs),
    /// How time and memory of bringing a mesh up grow with its size.
    Up(BenchUpArgs),
    /// How soon a killed backend is noticed and replaced, and what is lost, over many kills.
    Failover(BenchFailoverArgs),
    /// How soon one agent has read a mesh of many synthetic clusters, what it takes, and how it keeps up with changes.
    Scale(BenchScaleArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct PropagationArgs {
    /// How often an endpoint is removed and put back.
    #[arg(long, default_value_t = 300)]
    pub(crate) repeat: u32,
    /// How many meshes are brought up for the mesh-up time.
    #[arg(long, default_value_t = 3)]
    pub(crate) meshes: u32,
}

#[derive(Args, Debug)]
pub(crate) struct BenchUpArgs {
    /// Numbers of clusters, of two nodes each.
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', default_values_t = [2, 4, 8, 16],
          value_parser = clap::value_parser!(u32).range(1..=i64::from(meshbed_engine::bench::CLUSTERS_MAX)))]
    pub(crate) clusters: Vec<u32>,
}

#[derive(Args, Debug)]
pub(crate) struct BenchFailoverArgs {
    /// How often a backend is killed.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) repeat: u32,
}

#[derive(Args, Debug)]
pub(crate) struct BenchScaleArgs {
    /// How much there is: clusters, and of each cluster nodes, endpoints and services.
    #[arg(long, value_name = "CLUSTERSxNODESxENDPOINTSxSERVICES", value_delimiter = ',',
          default_values = ["100x50x200x10", "250x100x1000x20"])]
    pub(crate) size: Vec<meshbed_engine::bench::Dimensions>,
    /// Changes a second, after everything is there.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// For how many seconds.
    #[arg(long, default_value_t = 30)]
    pub(crate) seconds: u64,
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
    /// Folder that the cluster is kept in over restarts; without it nothing outlives the process.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Unix socket on which misbehaviour is ordered.
    #[arg(long, value_name = "PATH")]
    pub(crate) admin_socket: Option<PathBuf>,
    /// How long a node may go without renewing its lease before it counts as unreachable.
    #[arg(long, value_name = "DURATION", default_value = "40s")]
    pub(crate) node_monitor_grace_period: humantime::Duration,
}

#[derive(Args, Debug)]
pub(crate) struct WanArgs {
    /// File with clusters and links.
    #[arg(long)]
    pub(crate) config: PathBuf,
    /// Control socket to make.
    #[arg(long)]
    pub(crate) socket: PathBuf,
    /// Where all random decisions come from.
    #[arg(long)]
    pub(crate) seed: u64,
}

impl AgentArgs {
    /// The arguments as they were given, for a command that does the same again.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut push = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
        if let Some(agent) = &self.agent {
            push("--agent", agent.clone());
        }
        for (cluster, agent) in &self.agent_in {
            push("--agent-in", format!("{cluster}={agent}"));
        }
        if let Some(folder) = &self.agent_bin_dir {
            push("--agent-bin-dir", folder.display().to_string());
        }
        for (name, value) in &self.agent_env {
            push("--agent-env", format!("{name}={value}"));
        }
        words
    }
}
