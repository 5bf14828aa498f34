//! `mesh-agent run`: the agent of a node.

use anyhow::Context as _;
use mesh_core::{Config, State};
use mesh_datapath::{BpfDatapath, Datapath as _};
use mesh_k8s::LocalWatch;
use mesh_kvstore::ClusterIds;

use crate::{
    agent::{Agent, Inputs},
    cli::RunOptions,
    defect::Planted,
    mesh_directory::MeshDirectory,
    runtime::{Shutdown, block_on},
    status::StatusServer,
};

/// Runs until a signal asks for the end. The datapath stays as it is then: connections go on being balanced.
pub(crate) fn run(options: &RunOptions, planted: Planted) -> anyhow::Result<()> {
    block_on(run_async(options, planted))
}

async fn run_async(options: &RunOptions, planted: Planted) -> anyhow::Result<()> {
    let mut shutdown = Shutdown::listen()?;
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
    let config = config(options, id, datapath.restored(), planted);
    tracing::info!(cluster = %name, %id, node = options.node_name, restored = config.restored, "agent starts");
    let agent = Agent::new(State::new(config), datapath, ClusterIds::new(id, cluster.limit()?));
    tokio::select! {
        result = agent.run(Inputs { local, directory, status }) => result.map(|never| match never {}),
        signal = shutdown.requested() => {
            tracing::info!(signal, "agent ends, the datapath stays");
            Ok(())
        }
    }
}

#[cfg_attr(not(feature = "planted-defects"), expect(unused_variables, reason = "nothing is planted in this build"))]
fn config(options: &RunOptions, cluster_id: mesh_types::ClusterId, restored: bool, planted: Planted) -> Config {
    Config {
        cluster_name: options.cluster.cluster_name.clone(),
        cluster_id,
        node_name: options.node_name.clone(),
        restored,
        #[cfg(feature = "planted-defects")]
        defect: planted.defect,
    }
}
