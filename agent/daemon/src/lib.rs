//! The program `mesh-agent`: wires the mesh's parts together and decides nothing itself.
//!
//! | subcommand | what |
//! |---|---|
//! | `run` | one a node: Kubernetes and remote clusters -> `mesh-core` -> pinned BPF maps |
//! | `apiserver` | one a cluster: Kubernetes -> `mesh-core` -> the cluster's own etcd |
//! | `bpf lb list`, `bpf ipcache list` | what is in the maps, as `cilium-dbg` prints it |
//! | `status` | which remote clusters are ready |
//! | `clustermesh status` | which remote clusters several nodes are connected to |
//! | `node list`, `identity list` | nodes and security identities of all clusters |
//! | `troubleshoot clustermesh` | why a remote cluster cannot be reached |
//! | `cleanup` | detaches the programs and removes all pins |
//!
//! Standard output is data, standard error is the log (`RUST_LOG`).

mod addresses;
mod agent;
mod apiserver;
mod bpf;
mod cleanup;
mod cli;
#[cfg(feature = "planted-defects")]
mod defect;
mod describer;
mod kvstoremesh;
mod local;
mod logging;
mod mesh_directory;
mod metrics;
mod notify;
mod registry;
mod run;
mod runtime;
mod status;
mod table;
mod trace;
mod troubleshoot;

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;

use cli::{Cli, ClustermeshCommand, Command, IdentityCommand, NodeCommand, TroubleshootCommand};
#[cfg(feature = "planted-defects")]
pub use defect::main_with_planted_defect;

/// The program, with the arguments and the environment of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start();
    let result = match cli.command {
        Command::Run(options) => run::run(&options).map(|()| String::new()),
        Command::Apiserver(options) => apiserver::run(&options).map(|()| String::new()),
        Command::Kvstoremesh(options) => kvstoremesh::run(&options).map(|()| String::new()),
        Command::Bpf(command) => bpf::list(&command),
        Command::Status(options) => status::print(&options),
        Command::Clustermesh(ClustermeshCommand::Status(options)) => match status::clustermesh(&options) {
            Ok((text, true)) => Ok(text),
            Ok((text, false)) => print(&text).and(Err(anyhow::anyhow!("not all nodes are connected to all clusters"))),
            Err(error) => Err(error),
        },
        Command::Node(NodeCommand::List(options)) => status::nodes(&options),
        Command::Identity(IdentityCommand::List(options)) => status::identities(&options),
        Command::Troubleshoot(TroubleshootCommand::Clustermesh(options)) => troubleshoot::run(&options),
        Command::Cleanup(options) => cleanup::run(&options).map(|()| String::new()),
    };
    match result.and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

#[expect(clippy::print_stderr, reason = "the last words of a program go to its stderr, whatever `RUST_LOG` says")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
