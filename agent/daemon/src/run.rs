//! `mesh-agent run`: the agent of a node.

use anyhow::Context as _;
use mesh_core::{Config, LifecycleConfig, State};
use mesh_datapath::{BpfDatapath, BpfIpcache, Datapath as _};
use mesh_k8s::{CiliumObjects, Kind, LocalWatch};
use mesh_wire::Resource;

use crate::{
    addresses::Addresses,
    agent::{Agent, Besides, Inputs},
    cli::RunOptions,
    describer::{Describer, Describes},
    mesh_directory::MeshDirectory,
    metrics,
    registry::Registry,
    runtime::{Shutdown, block_on},
    status::StatusServer,
    trace::Trace,
};

/// What is read of remote clusters; of services and endpoint slices one, as each of them writes them.
const READ: [Resource; 5] =
    [Resource::Services, Resource::EndpointSlices, Resource::Nodes, Resource::Ip, Resource::Identities];

/// What is watched in our own cluster.
const WATCHED: [Kind; 8] = [
    Kind::Services,
    Kind::Slices,
    Kind::Namespaces,
    Kind::Nodes,
    Kind::Pods,
    Kind::CiliumNodes,
    Kind::CiliumEndpoints,
    Kind::CiliumIdentities,
];

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
    let ipcache = BpfIpcache::open(&options.datapath.bpf_root).context("failed to open the ipcache")?;
    let addresses = Addresses::new(name.clone(), id, &options.node_name, Box::new(ipcache));
    let metrics = metrics::serve(options.metrics.prometheus_serve_addr).await?;
    let (_server, status) = StatusServer::start(&options.state_dir)?;
    let (_watch, local) = LocalWatch::spawn(&client, &WATCHED, Some(&options.node_name));
    let restored = datapath.restored();
    let service_v2 = options.services.clustermesh_service_v2.unwrap_or_default();
    let config = Config {
        restored,
        service_topology: options.enable_service_topology,
        default_global_namespace: options.services.clustermesh_default_global_namespace,
        service_v2,
        ..Config::new(name.clone(), id, &options.node_name)
    };
    tracing::info!(cluster = %name, %id, node = options.node_name, restored = config.restored, "agent starts");
    let lifecycle = LifecycleConfig {
        cluster_id: id,
        limit: cluster.limit()?,
        resources: READ.into(),
        service_v2: Some(service_v2),
        cache_ttl: options.clustermesh_cache_ttl.filter(|ttl| !ttl.is_zero()),
        patience: options.patience.patience(),
    };
    let who =
        Describes { cluster: name.clone(), cluster_id: id, limit: cluster.limit()?, node: options.node_name.clone() };
    let besides = Besides {
        addresses,
        registry: Registry::new(name.clone(), &options.node_name),
        describer: Some(Describer::new(who, CiliumObjects::new(client))),
    };
    let agent = Agent::new(name, State::new(config), datapath, lifecycle, besides, trace);
    tokio::select! {
        result = agent.run(Inputs { local, directory, status, metrics }) => result.map(|never| match never {}),
        signal = shutdown.requested() => {
            tracing::info!(signal, "agent ends, the datapath stays");
            Ok(())
        }
    }
}
