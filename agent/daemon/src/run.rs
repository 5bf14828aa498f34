//! `mesh-agent run`: the agent of a node.

use anyhow::Context as _;
use mesh_core::{Config, LifecycleConfig, ServiceV2, State};
use mesh_datapath::{BpfDatapath, Datapath as _};
use mesh_k8s::LocalWatch;
use mesh_wire::Resource;

use crate::{
    agent::{Agent, Inputs},
    cli::RunOptions,
    mesh_directory::MeshDirectory,
    runtime::{Shutdown, block_on},
    status::StatusServer,
    trace::Trace,
};

/// Runs until a signal asks for the end. The datapath stays as it is then: connections go on being balanced.
pub(crate) fn run(options: &RunOptions) -> anyhow::Result<()> {
    block_on(run_async(options))
}

async fn run_async(options: &RunOptions) -> anyhow::Result<()> {
    let mut shutdown = Shutdown::listen()?;
    let (trace, _trace_writer) = Trace::open(options.trace.trace_file.as_deref())?;
    let cluster = &options.cluster;
    let (name, id) = (cluster.cluster_name.clone(), cluster.cluster_id()?);
    let directory = match &options.clustermesh_config {
        Some(path) => Some(MeshDirectory::open(path, &name)?),
        None => None,
    };
    let client = mesh_k8s::client(&cluster.k8s_kubeconfig_path).await?;
    let datapath = BpfDatapath::open(&options.datapath.options()).context("failed to open the datapath")?;
    let (_server, status) = StatusServer::start(&options.state_dir)?;
    let (_watch, local) = LocalWatch::spawn(client);
    let restored = datapath.restored();
    let config = Config { restored, ..Config::new(name.clone(), id, &options.node_name) };
    tracing::info!(cluster = %name, %id, node = options.node_name, restored = config.restored, "agent starts");
    let lifecycle = LifecycleConfig {
        cluster_id: id,
        limit: cluster.limit()?,
        resources: [Resource::Services].into(),
        service_v2: Some(ServiceV2::default()),
        cache_ttl: options.clustermesh_cache_ttl.filter(|ttl| !ttl.is_zero()),
    };
    let agent = Agent::new(name, State::new(config), datapath, lifecycle, trace);
    tokio::select! {
        result = agent.run(Inputs { local, directory, status }) => result.map(|never| match never {}),
        signal = shutdown.requested() => {
            tracing::info!(signal, "agent ends, the datapath stays");
            Ok(())
        }
    }
}
