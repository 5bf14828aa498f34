//! `meshbed-static-agent`: a deliberately stupid agent for the testbed. It attaches a datapath, looks at its own cluster once,
//! writes its maps once, and never looks again: no watch, no other cluster, no exporter.
//!
//! It exists to show that whoever judges agents needs to know nothing about them, and that this one is found to be wrong.

mod frontends;
mod snapshot;

use std::{env, os::unix::net::UnixDatagram, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use mesh_datapath::{BpfDatapath, Datapath as _, Options};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, timeout},
};
use tracing_subscriber::EnvFilter;

use crate::snapshot::Snapshot;

/// Time between two looks before there is a service at all.
const LOOKING_INTERVAL: Duration = Duration::from_millis(200);
/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info,kube=warn,tower=warn,hyper=warn,rustls=warn";

/// Balances the services of its own cluster as they once were.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Kubeconfig file of this cluster
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// Mount point of bpffs
    #[arg(long, value_name = "DIR")]
    bpf_root: PathBuf,
    /// The cgroup v2 whose processes are served
    #[arg(long, value_name = "DIR")]
    cgroup_root: PathBuf,
    /// How long to wait after the first service was seen, so that its pods are up
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    settle: humantime::Duration,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    // Fails only when it is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    Builder::new_current_thread().enable_all().build()?.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut end = signal(SignalKind::terminate())?;
    let client = mesh_k8s::client(&arguments.kubeconfig).await?;
    let options = Options { bpf_root: arguments.bpf_root, cgroup_root: arguments.cgroup_root };
    let mut datapath = BpfDatapath::open(&options).context("failed to open the datapath")?;
    // Ready before there is anything to balance: a mesh comes up before its services do.
    tell_ready()?;
    let work = async {
        let snapshot = look_once(&client, arguments.settle.into()).await?;
        for frontend in frontends::of(&snapshot) {
            datapath.upsert(&frontend).with_context(|| format!("failed to write {}", frontend.address))?;
            tracing::info!(frontend = %frontend.address, backends = frontend.backends.len(), "written, for ever");
        }
        std::future::pending::<anyhow::Result<()>>().await
    };
    tokio::select! {
        result = work => result,
        _ = end.recv() => Ok(()),
    }
}

/// Waits for the first service that is not Kubernetes' own, lets its pods come up, and looks.
async fn look_once(client: &kube::Client, settle: Duration) -> anyhow::Result<Snapshot> {
    let mut looks = interval(LOOKING_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if Snapshot::take(client).await?.has_services() {
            break;
        }
    }
    // Nothing ends this early: it is stupid on purpose.
    drop(timeout(settle, std::future::pending::<()>()).await);
    Snapshot::take(client).await
}

/// `READY=1`, if somebody wants to know (`sd_notify(3)`).
fn tell_ready() -> anyhow::Result<()> {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let told = UnixDatagram::unbound().and_then(|sender| sender.send_to(b"READY=1", &socket));
    told.map(drop).with_context(|| format!("failed to tell readiness to `{}`", PathBuf::from(socket).display()))
}
