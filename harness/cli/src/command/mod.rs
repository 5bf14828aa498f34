//! One file a command.

mod apiserver;
mod bench;
mod down;
mod exec;
mod find;
mod kubeconfig;
mod kubelet;
mod lint;
mod report;
mod run;
mod status;
mod up;

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
        Command::Run(args) => run::run(args),
        Command::Up(args) => up::run(&args),
        Command::Down(args) => down::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Exec(args) => exec::run(&args),
        Command::Kubeconfig(args) => kubeconfig::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Apiserver(args) => apiserver::run(args),
        Command::Kubelet(options) => kubelet::run(options),
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
