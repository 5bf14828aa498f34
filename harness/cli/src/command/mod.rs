//! One file a command.

mod apiserver;
mod bench;
mod bisect;
mod completions;
mod conformance;
mod diff;
mod diff_agents;
mod doctor;
mod down;
mod exec;
mod fault;
mod find;
mod guest;
mod kernel;
mod kubeconfig;
mod kubelet;
mod lint;
mod list;
mod logs;
mod man;
mod matrix;
mod meshes;
mod mutants;
mod outpost;
mod replay;
mod report;
mod run;
mod runner;
mod schema;
mod status;
mod truth_table;
mod up;
mod wan;
mod watch;

use crate::{
    args::{Cli, Command},
    exit::Exit,
};

/// Runs the command that was asked for.
pub(crate) fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    // One TLS provider for the whole program; kube and our own server use the default one.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("another TLS provider was installed before ours");
    }
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Kernel(command) => kernel::run(&command),
        Command::Conformance(args) => conformance::run(&args),
        Command::Matrix(args) => matrix::run(&args),
        Command::Bisect(args) => bisect::run(&args),
        Command::Mutants(args) => mutants::run(&args),
        Command::List => list::run(),
        Command::Doctor => doctor::run(),
        Command::Logs(args) => logs::run(&args),
        Command::Up(args) => up::run(&args),
        Command::Down(args) => down::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Fault(command) => fault::run(&command),
        Command::Watch(args) => watch::run(&args),
        Command::Exec(args) => exec::run(&args),
        Command::Kubeconfig(args) => kubeconfig::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::DiffAgents(args) => diff_agents::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::TruthTable(args) => truth_table::run(&args),
        Command::Apiserver(args) => apiserver::run(args),
        Command::Kubelet(options) => kubelet::run(options),
        Command::Wan(args) => wan::run(args),
        Command::Outpost => outpost::run(),
    }
}

/// A runtime for commands that wait for more than one thing.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()
}

/// Threads of the harness's runtime: it waits more than it works, and the meshes need the cores.
const WORKERS: usize = 2;

/// Ends when the process is told to.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}
