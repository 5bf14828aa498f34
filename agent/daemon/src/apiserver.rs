//! `mesh-agent apiserver`: exports our cluster's global services to our own etcd.

use anyhow::Context as _;
use mesh_core::{ExportConfig, ExportEffect, ExportState};
use mesh_k8s::{LocalEvent, LocalWatch};
use mesh_kvstore::{EtcdConnector, Exporter, ExporterOptions, OnWritten, Scope, Write};
use mesh_types::ClusterName;
use mesh_wire::{ClusterConfig, Key, Layout, Resource};
use tokio::sync::mpsc;

use crate::{
    cli::ApiserverOptions,
    local, notify,
    runtime::{Shutdown, block_on},
    trace::{Stage, Trace},
};

/// The kinds of objects that are announced. A reader waits for each of them, also for those that we export none of.
const EXPORTED: [Resource; 4] = [Resource::Services, Resource::Nodes, Resource::Ip, Resource::Identities];

/// Runs until a signal asks for the end. The keys stay until their leases expire.
pub(crate) fn run(options: &ApiserverOptions) -> anyhow::Result<()> {
    block_on(run_async(options))
}

async fn run_async(options: &ApiserverOptions) -> anyhow::Result<()> {
    let mut shutdown = Shutdown::listen()?;
    let (trace, _trace_writer) = Trace::open(options.trace.trace_file.as_deref())?;
    let cluster = &options.cluster;
    let (name, id) = (cluster.cluster_name.clone(), cluster.cluster_id()?);
    let config = ClusterConfig::exported(id, cluster.limit()?);
    let exporter_options = ExporterOptions {
        lease_ttl: options.kvstore.kvstore_lease_ttl,
        heartbeat_interval: options.kvstore.heartbeat_interval,
        on_written: trace.is_on().then(|| on_written(trace.clone())),
        ..ExporterOptions::for_cluster(&name, &config, &EXPORTED)
    };
    let exporter = Exporter::spawn(exporter_options, EtcdConnector::new(options.kvstore.etcd_config()?));
    let client = mesh_k8s::client(&cluster.k8s_kubeconfig_path).await?;
    let (_watch, local) = LocalWatch::spawn(client);
    tracing::info!(cluster = %name, %id, "export starts");
    let state = ExportState::new(ExportConfig::new(name.clone(), id));
    tokio::select! {
        result = export(name.clone(), state, local, exporter.writes(), trace) => result.map(|never| match never {}),
        never = tell_ready(&exporter) => match never {},
        signal = shutdown.requested() => {
            tracing::info!(signal, "export ends, the keys stay until their leases expire");
            Ok(())
        }
    }
}

/// Hands every change on at once.
async fn export(
    cluster: ClusterName,
    mut state: ExportState,
    mut local: mpsc::Receiver<LocalEvent>,
    writes: mpsc::Sender<Write>,
    trace: Trace,
) -> anyhow::Result<std::convert::Infallible> {
    loop {
        let event = local.recv().await.context("the watch of the Kubernetes API ended")?;
        if let Some((service, version)) = event.about() {
            trace.record(Stage::Kubernetes, &cluster, service, version);
        }
        for effect in state.step(local::event(event)) {
            let wishes = match effect {
                ExportEffect::Put { key, value } => vec![Write::Put { key, value }],
                ExportEffect::Delete { key } => vec![Write::Delete { key }],
                ExportEffect::Synced => {
                    let scope = |resource| Scope::of(resource, Layout::State, &cluster);
                    EXPORTED.map(|resource| Write::Complete(scope(resource))).into()
                }
                // Not among the formats that are asked for.
                ExportEffect::PutSlice(_) | ExportEffect::DeleteSlice { .. } => continue,
            };
            for write in wishes {
                writes.send(write).await.context("the writer of our own etcd ended")?;
            }
        }
    }
}

/// Records the puts of services.
fn on_written(trace: Trace) -> OnWritten {
    OnWritten::new(move |key, revision| {
        if let Ok(Key::Service { cluster, key, .. }) = key.parse() {
            trace.record(Stage::EtcdPut, &cluster, &key, revision);
        }
    })
}

async fn tell_ready(exporter: &Exporter) -> std::convert::Infallible {
    exporter.ready().await;
    notify::ready();
    std::future::pending().await
}
