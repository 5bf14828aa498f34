//! The programs that run in the mesh's pods, in one binary. It starts quickly and knows nothing of Kubernetes.

mod clock;
mod datagrams;
mod identity;
mod json_mock;
mod memory;
mod pause;
mod probe;
mod readiness;
mod report;
mod schedule;
mod serve;
mod signals;
mod web;

use clap::Parser;

/// Programs that run in the mesh's pods.
#[derive(Debug, Parser)]
#[command(name = "meshbed-pod", version)]
enum Command {
    /// Serve the files below a folder, as nginx's image does.
    Web(web::Options),
    /// Serve a small JSON document, as the client image of Cilium's examples does.
    JsonMock(json_mock::Options),
    /// Do nothing until told to end.
    Pause,
    /// Send requests at a fixed rate and tell what became of each one.
    Probe(probe::Options),
}

fn main() -> anyhow::Result<()> {
    let command = Command::parse();
    if let Err(error) = memory::keep() {
        warn(&error);
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        match command {
            Command::Web(options) => web::run(options).await,
            Command::JsonMock(options) => json_mock::run(options).await,
            Command::Pause => pause::run().await,
            Command::Probe(options) => probe::run(options).await,
        }
    })
}

#[expect(clippy::print_stderr, reason = "these programs have no other log")]
fn warn(error: &std::io::Error) {
    eprintln!("meshbed-pod: memory is not locked: {error}");
}
