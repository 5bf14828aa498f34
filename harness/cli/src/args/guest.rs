//! Arguments of guests: their kernels, their size, and the matrix of many.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{AgentArgs, RUNS, name_and_value};

/// Where a mesh is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Environment {
    /// On this machine, in namespaces; needs root.
    Netns,
    /// The same in a guest of QEMU with a kernel of its own; needs no root.
    Vm,
}

/// The guests that a mesh is made in, if any.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct GuestArgs {
    /// Where the mesh is made. When it is not given: on this machine, unless a kernel is asked for, here or by the topology.
    #[arg(long, value_enum, value_name = "NAME")]
    pub(crate) env: Option<Environment>,
    /// Make the mesh in a guest with this kernel: one of the file of kernels, such as `5.10`. `--env vm` without it takes the
    /// newest that is here.
    #[arg(long, value_name = "NAME")]
    pub(crate) kernel: Option<String>,
    /// Another kernel for one cluster, for a mesh of different ones; may be repeated. It wins over what the topology says. Each kernel
    /// is a guest, with all clusters that are on it, and the guests are joined.
    #[arg(long, value_name = "CLUSTER=NAME", value_parser = name_and_value)]
    pub(crate) kernel_in: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) file: KernelsArgs,
    #[command(flatten)]
    pub(crate) size: GuestSize,
}

/// Kernels for guests.
#[derive(Subcommand, Debug)]
pub(crate) enum KernelCommand {
    /// Show the kernels of the file, and which are here.
    List(KernelsArgs),
    /// Fetch kernels: those that are named, or all of the file.
    Fetch(KernelFetchArgs),
    /// Print the configuration that a kernel was built with.
    Config(KernelConfigArgs),
}

/// What a guest gets of this machine.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct GuestSize {
    /// Memory of a guest in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 3072, value_parser = clap::value_parser!(u32).range(512..=65_536))]
    pub(crate) guest_memory: u32,
    /// Processors of a guest.
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) guest_cpus: u16,
}

/// Which kernels there are.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct KernelsArgs {
    /// The file of kernels; `fixtures/kernels.yaml` is built in.
    #[arg(long, value_name = "FILE")]
    pub(crate) kernels_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct KernelFetchArgs {
    /// Their names.
    pub(crate) names: Vec<String>,
    /// Fetch again what is here: the newest of its source.
    #[arg(long)]
    pub(crate) anew: bool,
    #[command(flatten)]
    pub(crate) file: KernelsArgs,
}

#[derive(Args, Debug)]
pub(crate) struct KernelConfigArgs {
    /// Its name.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) file: KernelsArgs,
}

#[derive(Args, Debug)]
pub(crate) struct MatrixArgs {
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
    /// Run nothing: make one matrix of these `matrix.yaml`, such as those of machines that shared the kernels.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) merge: Vec<PathBuf>,
    /// The kernels: names of the file of kernels, or `all`.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "all")]
    pub(crate) kernels: Vec<String>,
    /// Only cases of these profiles.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "core")]
    pub(crate) profile: Vec<String>,
    /// Only these cases.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Give each case a mesh of its own. Otherwise one that a case left empty is used by the next: in an emulated guest bringing
    /// a mesh up is most of what a case costs.
    #[arg(long)]
    pub(crate) own_meshes: bool,
    /// How many guests run at the same time; as many as processors and memory allow when it is not given.
    #[arg(long, short, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: Option<u16>,
    /// Every random choice comes from it; one is drawn and printed when it is not given.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) file: KernelsArgs,
    #[command(flatten)]
    pub(crate) size: GuestSize,
    /// Folder with the cases.
    #[arg(long, value_name = "DIR", default_value = "scenarios/conformance")]
    pub(crate) cases: PathBuf,
    /// Folder for `matrix.yaml`, `matrix.md` and `matrix.html`.
    #[arg(long, value_name = "DIR", default_value = "reports/conformance")]
    pub(crate) output: PathBuf,
    /// Folder below which guests and runs get their own folders.
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(crate) reports: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct BisectArgs {
    /// Scenario file, or the name of one below `scenarios/`.
    pub(crate) scenario: String,
    /// A kernel on which it passes: one of the file of kernels, such as `5.10`.
    #[arg(long, value_name = "NAME")]
    pub(crate) good: String,
    /// A kernel on which it does not; it may be older or newer.
    #[arg(long, value_name = "NAME")]
    pub(crate) bad: String,
    #[command(flatten)]
    pub(crate) agent: AgentArgs,
    /// Another value for a parameter of the scenario; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) set: Vec<(String, String)>,
    /// Every random choice comes from it; one is drawn and printed when it is not given.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) file: KernelsArgs,
    #[command(flatten)]
    pub(crate) size: GuestSize,
    /// Folder below which guests and runs get their own folders.
    #[arg(long, value_name = "DIR", default_value = RUNS)]
    pub(crate) reports: PathBuf,
}
