//! `mesh-agent apiserver`: exports our cluster's global services to our own etcd.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context as _;
use mesh_core::{Event, ExportConfig, ExportEffect, ExportObjects, ExportState, ServiceV2};
use mesh_k8s::{CiliumObjects, Kind, LocalEvent, LocalWatch};
use mesh_kvstore::{EtcdConnector, Exporter, ExporterOptions, OnWritten, Scope, Write};
use mesh_types::{ClusterId, ClusterName};
use mesh_wire::{ClusterConfig, EndpointSlice, EndpointSliceKey, Key, Layout, Resource};
use tokio::sync::mpsc;

use crate::{
    cli::ApiserverOptions,
    local,
    metrics::{self, ExporterMetrics, MetricsRequest},
    notify,
    runtime::{Shutdown, block_on},
    trace::{Stage, Trace},
};

/// What is watched.
const WATCHED: [Kind; 6] =
    [Kind::Services, Kind::Slices, Kind::Namespaces, Kind::CiliumNodes, Kind::CiliumEndpoints, Kind::CiliumIdentities];
/// How long to wait before Cilium's kinds are defined anew, when that failed.
const DEFINE_AGAIN: Duration = Duration::from_secs(1);

/// Runs until a signal asks for the end. The keys stay until their leases expire.
pub(crate) fn run(options: &ApiserverOptions) -> anyhow::Result<()> {
    block_on(run_async(options))
}

async fn run_async(options: &ApiserverOptions) -> anyhow::Result<()> {
    let mut shutdown = Shutdown::listen()?;
    let (trace, _trace_writer) = Trace::open(options.trace.trace_file.as_deref())?;
    let cluster = &options.cluster;
    let (name, id) = (cluster.cluster_name.clone(), cluster.cluster_id()?);
    let formats = options.services.clustermesh_service_v2.map(ServiceV2::writes).unwrap_or_default();
    let mut config = ClusterConfig::exported(id, cluster.limit()?);
    config.capabilities.endpoint_slices_export_mode = formats.capability();
    let mut exported = vec![Resource::Nodes, Resource::Ip, Resource::Identities];
    exported.extend(formats.has_services().then_some(Resource::Services));
    exported.extend(formats.has_endpoint_slices().then_some(Resource::EndpointSlices));
    let requests = metrics::serve(options.metrics.prometheus_serve_addr).await?;
    let told = ExporterMetrics::new(name.clone(), exported.iter().map(|resource| resource.path().to_owned()));
    let exporter_options = ExporterOptions {
        lease_ttl: options.kvstore.kvstore_lease_ttl,
        heartbeat_interval: options.kvstore.heartbeat_interval,
        on_written: Some(on_written(trace.clone(), told.clone())),
        ..ExporterOptions::for_cluster(&name, &config, &exported)
    };
    let exporter = Exporter::spawn(exporter_options, EtcdConnector::new(options.kvstore.etcd_config()?));
    let client = mesh_k8s::client(&cluster.k8s_kubeconfig_path).await?;
    let (_watch, local) = LocalWatch::spawn(&client, &WATCHED, None);
    tracing::info!(cluster = %name, %id, ?formats, "export starts");
    let export_config = ExportConfig {
        formats,
        default_global_namespace: options.services.clustermesh_default_global_namespace,
        ..ExportConfig::new(name.clone(), id)
    };
    let export = Export {
        cluster: name.clone(),
        cluster_id: id,
        state: ExportState::new(export_config),
        objects: ExportObjects::new(name, options.services.clustermesh_default_global_namespace),
        listed: BTreeSet::new(),
        trace,
    };
    tokio::select! {
        result = export.run(local, exporter.writes()) => result.map(|never| match never {}),
        never = define(CiliumObjects::new(client)) => match never {},
        never = tell_ready(&exporter, &told) => match never {},
        never = tell_metrics(&told, requests) => match never {},
        signal = shutdown.requested() => {
            tracing::info!(signal, "export ends, the keys stay until their leases expire");
            Ok(())
        }
    }
}

/// Sees to it that Cilium's kinds are defined: readers wait for the objects of them, even if there are none.
async fn define(objects: CiliumObjects) -> std::convert::Infallible {
    let mut again = tokio::time::interval(DEFINE_AGAIN);
    loop {
        again.tick().await;
        match objects.define().await {
            Ok(()) => return std::future::pending().await,
            Err(error) => tracing::warn!(%error, again = ?DEFINE_AGAIN, "Failed to define Cilium's kinds"),
        }
    }
}

/// What the task owns.
struct Export {
    cluster: ClusterName,
    cluster_id: ClusterId,
    state: ExportState,
    objects: ExportObjects,
    /// Kinds of which all objects were seen.
    listed: BTreeSet<Kind>,
    trace: Trace,
}

impl Export {
    /// Hands every change on at once.
    async fn run(
        mut self,
        mut local: mpsc::Receiver<LocalEvent>,
        writes: mpsc::Sender<Write>,
    ) -> anyhow::Result<std::convert::Infallible> {
        loop {
            let event = local.recv().await.context("the watch of the Kubernetes API ended")?;
            if let Some((service, version)) = event.about() {
                self.trace.record(Stage::Kubernetes, &self.cluster, service, version);
            }
            for write in self.take(event) {
                writes.send(write).await.context("the writer of our own etcd ended")?;
            }
        }
    }

    fn take(&mut self, event: LocalEvent) -> Vec<Write> {
        let effects = match event {
            LocalEvent::CiliumNode { name, node } => {
                let node = node.map(|node| node.exported(&self.cluster, self.cluster_id));
                self.objects.node(&name, node.as_ref()).into_iter().collect()
            }
            LocalEvent::CiliumIdentity { number, identity } => {
                let labels = identity.map(|identity| identity.identity_labels());
                self.objects.identity(number, labels).into_iter().collect()
            }
            LocalEvent::CiliumEndpoint { namespace, name, endpoint } => {
                let entries = endpoint.map(|endpoint| endpoint.exported()).unwrap_or_default();
                self.objects.endpoint(&namespace, &name, entries)
            }
            LocalEvent::Listed(kind) => return self.take_listed(kind),
            LocalEvent::Namespace { name, namespace } => {
                let annotations = namespace.map(|namespace| namespace.annotations);
                let mut effects = self.objects.namespace(&name, annotations.as_ref());
                effects.extend(self.state.step(Event::Namespace { name, annotations }));
                effects
            }
            other => local::events(other).into_iter().flat_map(|event| self.state.step(event)).collect(),
        };
        effects.into_iter().flat_map(|effect| self.writes(effect)).collect()
    }

    /// All objects of a kind were seen.
    fn take_listed(&mut self, kind: Kind) -> Vec<Write> {
        self.listed.insert(kind);
        let effects = if kind == Kind::Namespaces { self.objects.namespaces_listed() } else { Vec::new() };
        let mut writes: Vec<Write> = effects.into_iter().flat_map(|effect| self.writes(effect)).collect();
        let complete = NEEDED
            .iter()
            .filter(|(_, kinds)| kinds.contains(&kind) && kinds.iter().all(|needed| self.listed.contains(needed)));
        writes.extend(complete.map(|(resource, _)| self.complete(*resource)));
        writes
    }

    fn writes(&self, effect: ExportEffect) -> Vec<Write> {
        let slice_key = |namespace: &str, name: &str| {
            let key = EndpointSliceKey::new(namespace, name);
            Key::endpoint_slice(Layout::State, &self.cluster, &key).to_string()
        };
        match effect {
            ExportEffect::Put { key, value } => vec![Write::Put { key, value }],
            ExportEffect::Delete { key } => vec![Write::Delete { key }],
            ExportEffect::PutSlice(exported) => {
                let slice = EndpointSlice::from(&exported);
                let key = slice_key(&exported.slice.namespace, &exported.slice.name);
                vec![Write::Put { key, value: slice.encode() }]
            }
            ExportEffect::DeleteSlice { namespace, name } => vec![Write::Delete { key: slice_key(&namespace, &name) }],
            // Only those that are announced at all have a scope.
            ExportEffect::Synced => {
                [Resource::Services, Resource::EndpointSlices].map(|resource| self.complete(resource)).into()
            }
        }
    }

    fn complete(&self, resource: Resource) -> Write {
        Write::Complete(Scope::of(resource, Layout::State, &self.cluster))
    }
}

/// What is all written when the first lists of these kinds were seen; `mesh-core` says it of services.
const NEEDED: [(Resource, &[Kind]); 3] = [
    (Resource::Nodes, &[Kind::CiliumNodes]),
    (Resource::Ip, &[Kind::CiliumEndpoints, Kind::Namespaces]),
    (Resource::Identities, &[Kind::CiliumIdentities, Kind::Namespaces]),
];

/// Records the puts of services, and of canaries.
fn on_written(trace: Trace, told: ExporterMetrics) -> OnWritten {
    OnWritten::new(move |key, revision| match key.parse() {
        Ok(Key::Service { cluster, key, .. }) => trace.record(Stage::EtcdPut, &cluster, &key, revision),
        Ok(key) => told.written(&key),
        Err(_) => {}
    })
}

async fn tell_ready(exporter: &Exporter, told: &ExporterMetrics) -> std::convert::Infallible {
    exporter.ready().await;
    told.ready();
    notify::ready();
    std::future::pending().await
}

async fn tell_metrics(
    told: &ExporterMetrics,
    mut requests: mpsc::Receiver<MetricsRequest>,
) -> std::convert::Infallible {
    while let Some(request) = requests.recv().await {
        match told.text() {
            // Whoever asked may have gone away.
            Ok(text) => drop(request.send(text)),
            Err(error) => tracing::error!(error = format!("{error:#}"), "metrics cannot be told"),
        }
    }
    std::future::pending().await
}
