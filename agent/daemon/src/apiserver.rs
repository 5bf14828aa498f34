//! `mesh-agent apiserver`: exports our cluster's global services to our own etcd.

use anyhow::Context as _;
use mesh_core::{ExportConfig, ExportEffect, ExportState};
use mesh_k8s::{LocalEvent, LocalWatch};
use mesh_kvstore::{Exporter, ExporterOptions, Write};
use tokio::sync::mpsc;

use crate::{
    cli::ApiserverOptions,
    defect::Planted,
    local, notify,
    runtime::{Shutdown, block_on},
};

/// Runs until a signal asks for the end. The keys stay until their leases expire.
pub(crate) fn run(options: &ApiserverOptions, planted: Planted) -> anyhow::Result<()> {
    block_on(run_async(options, planted))
}

async fn run_async(options: &ApiserverOptions, planted: Planted) -> anyhow::Result<()> {
    let mut shutdown = Shutdown::listen()?;
    let cluster = &options.cluster;
    let (name, id) = (cluster.cluster_name.clone(), cluster.cluster_id()?);
    let exporter = Exporter::spawn(ExporterOptions {
        cluster: name.clone(),
        cluster_id: id,
        limit: cluster.limit()?,
        config: options.etcd_config()?,
        lease_ttl: ExporterOptions::LEASE_TTL,
    });
    let client = mesh_k8s::client(&cluster.k8s_kubeconfig_path).await?;
    let (_watch, local) = LocalWatch::spawn(client);
    tracing::info!(cluster = %name, %id, "export starts");
    let state = ExportState::new(config(options, id, planted));
    tokio::select! {
        result = export(state, local, exporter.writes()) => result.map(|never| match never {}),
        never = tell_ready(&exporter) => match never {},
        signal = shutdown.requested() => {
            tracing::info!(signal, "export ends, the keys stay until their leases expire");
            Ok(())
        }
    }
}

#[cfg_attr(not(feature = "planted-defects"), expect(unused_variables, reason = "nothing is planted in this build"))]
fn config(options: &ApiserverOptions, cluster_id: mesh_types::ClusterId, planted: Planted) -> ExportConfig {
    ExportConfig {
        cluster_name: options.cluster.cluster_name.clone(),
        cluster_id,
        #[cfg(feature = "planted-defects")]
        defect: planted.defect,
    }
}

/// Hands every change on at once.
async fn export(
    mut state: ExportState,
    mut local: mpsc::Receiver<LocalEvent>,
    writes: mpsc::Sender<Write>,
) -> anyhow::Result<std::convert::Infallible> {
    loop {
        let event = local.recv().await.context("the watch of the Kubernetes API ended")?;
        for effect in state.step(local::event(event)) {
            let write = match effect {
                ExportEffect::Put { key, value } => Write::Put { key, value },
                ExportEffect::Delete { key } => Write::Delete { key },
                ExportEffect::Synced => Write::Synced,
            };
            writes.send(write).await.context("the writer of our own etcd ended")?;
        }
    }
}

async fn tell_ready(exporter: &Exporter) -> std::convert::Infallible {
    exporter.ready().await;
    notify::ready();
    std::future::pending().await
}
