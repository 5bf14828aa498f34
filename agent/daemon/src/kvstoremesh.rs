//! `mesh-agent kvstoremesh`: copies what remote clusters say into our own etcd, below `cilium/cache`, so that the agents of
//! our cluster read from there and each remote etcd has one reader instead of one a node.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use mesh_core::LifecycleConfig;
use mesh_kvstore::{
    ClusterIds, Copied, CopyEvent, EtcdConnector, Exporter, ExporterOptions, RemoteCluster, RemoteOptions, Scope, Write,
};
use mesh_types::ClusterName;
use mesh_wire::{ClusterConfig, Key, Layout, Resource};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_stream::{StreamExt as _, StreamMap, wrappers::ReceiverStream};

use crate::{
    cli::KvstoremeshOptions,
    mesh_directory::{FileChange, MeshDirectory},
    metrics::{self, MetricsRequest, Subsystem},
    notify,
    runtime::{Shutdown, block_on},
};

/// Runs until a signal asks for the end. The keys stay until their leases expire.
pub(crate) fn run(options: &KvstoremeshOptions) -> anyhow::Result<()> {
    block_on(run_async(options))
}

async fn run_async(options: &KvstoremeshOptions) -> anyhow::Result<()> {
    let mut shutdown = Shutdown::listen()?;
    let cluster = &options.cluster;
    let (name, id) = (cluster.cluster_name.clone(), cluster.cluster_id()?);
    let directory = MeshDirectory::open(&options.clustermesh_config, &name)?;
    let exporter_options = ExporterOptions {
        lease_ttl: options.kvstore.kvstore_lease_ttl,
        heartbeat_interval: options.kvstore.heartbeat_interval,
        on_written: None,
        scopes: Vec::new(),
        keys: Vec::new(),
    };
    let exporter = Exporter::spawn(exporter_options, EtcdConnector::new(options.kvstore.etcd_config()?));
    let lifecycle = LifecycleConfig {
        cluster_id: id,
        limit: cluster.limit()?,
        resources: Resource::ALL.into(),
        service_v2: None,
        cache_ttl: None,
        patience: options.patience.patience(),
    };
    tracing::info!(cluster = %name, %id, "KVStoreMesh starts");
    let metrics = metrics::serve(options.metrics.prometheus_serve_addr).await?;
    let mesh = KvstoreMesh {
        name,
        metrics,
        writes: exporter.writes(),
        lifecycle,
        ids: ClusterIds::new(),
        clusters: BTreeMap::new(),
        events: StreamMap::new(),
        leaving: BTreeMap::new(),
        drains: (!options.disable_drain_on_disconnection).then_some(options.drain_grace_period),
        waited_for: None,
    };
    tokio::select! {
        result = mesh.run(directory, options) => result.map(|never| match never {}),
        signal = shutdown.requested() => {
            tracing::info!(signal, "KVStoreMesh ends, the keys stay until their leases expire");
            Ok(())
        }
    }
}

/// What the task owns.
struct KvstoreMesh {
    /// Our own cluster.
    name: ClusterName,
    /// Questions for metrics.
    metrics: mpsc::Receiver<MetricsRequest>,
    writes: mpsc::Sender<Write>,
    lifecycle: LifecycleConfig,
    ids: ClusterIds,
    clusters: BTreeMap<ClusterName, RemoteCluster>,
    events: StreamMap<ClusterName, ReceiverStream<CopyEvent>>,
    /// Clusters whose cache is emptied at some time.
    leaving: BTreeMap<ClusterName, Instant>,
    /// How long the cache of a cluster that was removed stays after its configuration is gone, so that agents can let go
    /// in their own time; it stays for ever if none.
    drains: Option<Duration>,
    /// Clusters that were there at the start and are not copied yet; `None` once whoever waits was told.
    waited_for: Option<BTreeSet<ClusterName>>,
}

impl KvstoreMesh {
    async fn run(
        mut self,
        mut directory: MeshDirectory,
        options: &KvstoremeshOptions,
    ) -> anyhow::Result<std::convert::Infallible> {
        self.scan(&mut directory).await?;
        self.waited_for = Some(self.clusters.keys().cloned().collect());
        let begun = Instant::now();
        let patience = options.per_cluster_ready_timeout.min(options.global_ready_timeout);
        loop {
            self.tell_ready();
            let leaves = self.leaving.values().min().copied();
            tokio::select! {
                Some((cluster, event)) = self.events.next() => self.copy(cluster, event).await?,
                touched = directory.touched() => {
                    touched.context("failed to watch the directory of remote clusters")?;
                    if let Err(error) = self.scan(&mut directory).await {
                        tracing::warn!(error = format!("{error:#}"), "remote clusters stay as they are");
                    }
                }
                Some(request) = self.metrics.recv() => self.tell_metrics(request),
                () = until(leaves) => self.empty_caches().await?,
                () = sleep_until(begun + patience), if self.waited_for.is_some() => {
                    tracing::warn!(after = ?patience, missing = ?self.waited_for, "ready without some remote clusters");
                    self.waited_for = Some(BTreeSet::new());
                }
            }
        }
    }

    fn tell_metrics(&self, request: MetricsRequest) {
        let remotes: Vec<_> = self.clusters.values().map(RemoteCluster::status).collect();
        match metrics::remote_clusters(Subsystem::Kvstoremesh, &self.name, &remotes) {
            // Whoever asked may have gone away.
            Ok(text) => drop(request.send(text)),
            Err(error) => tracing::error!(error = format!("{error:#}"), "metrics cannot be told"),
        }
    }

    /// Agents are held back until all that there was at the start is copied.
    fn tell_ready(&mut self) {
        if let Some(missing) = &mut self.waited_for {
            missing.retain(|cluster| self.clusters.get(cluster).is_some_and(|remote| !remote.status().ready));
            if missing.is_empty() {
                self.waited_for = None;
                tracing::info!("remote clusters are copied");
                notify::ready();
            }
        }
    }

    /// Follows the directory of remote clusters.
    async fn scan(&mut self, directory: &mut MeshDirectory) -> anyhow::Result<()> {
        for change in directory.scan()? {
            match change {
                FileChange::Added { cluster, path } => self.add(cluster, path),
                FileChange::Changed { cluster } => {
                    if let Some(remote) = self.clusters.get(&cluster) {
                        remote.reconnect();
                    }
                }
                FileChange::Removed { cluster } => self.remove(cluster).await?,
            }
        }
        Ok(())
    }

    fn add(&mut self, cluster: ClusterName, config: PathBuf) {
        tracing::info!(%cluster, "remote cluster added");
        // What is in its cache is brought up to date instead of being thrown away.
        self.leaving.remove(&cluster);
        let (ids, lifecycle) = (self.ids.clone(), self.lifecycle.clone());
        let options = RemoteOptions { cluster: cluster.clone(), ids, lifecycle };
        let (remote, events) = RemoteCluster::spawn(options, EtcdConnector::new(config), Copied);
        self.clusters.insert(cluster.clone(), remote);
        self.events.insert(cluster, ReceiverStream::new(events));
    }

    /// First agents must see that there is no such cluster any more; the data goes when they had time for it.
    async fn remove(&mut self, cluster: ClusterName) -> anyhow::Result<()> {
        tracing::info!(%cluster, "remote cluster removed");
        self.clusters.remove(&cluster);
        self.events.remove(&cluster);
        let Some(grace) = self.drains else { return Ok(()) };
        self.write(Write::Delete { key: Key::ClusterConfig(cluster.clone()).to_string() }).await?;
        self.leaving.insert(cluster, Instant::now() + grace);
        Ok(())
    }

    async fn empty_caches(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        let due: Vec<ClusterName> =
            self.leaving.iter().filter(|(_, at)| **at <= now).map(|(cluster, _)| cluster.clone()).collect();
        for cluster in due {
            tracing::info!(%cluster, "cache of a removed cluster is emptied");
            for resource in Resource::ALL {
                self.write(Write::Close(Scope::of(resource, Layout::Cache, &cluster))).await?;
            }
            self.leaving.remove(&cluster);
        }
        Ok(())
    }

    /// Hands on what a cluster says.
    async fn copy(&mut self, cluster: ClusterName, event: CopyEvent) -> anyhow::Result<()> {
        match event {
            CopyEvent::Config(config) => self.announce(&cluster, *config).await,
            CopyEvent::Object { resource, tail, value } => {
                let key = format!("{}{tail}", Scope::of(resource, Layout::Cache, &cluster).prefix);
                self.write(match value {
                    Some(value) => Write::Put { key, value },
                    None => Write::Delete { key },
                })
                .await
            }
            CopyEvent::Synced(resource) => {
                self.write(Write::Complete(Scope::of(resource, Layout::Cache, &cluster))).await
            }
        }
    }

    /// The cluster's configuration as agents shall see it, and the kinds that will be copied.
    async fn announce(&self, cluster: &ClusterName, mut config: ClusterConfig) -> anyhow::Result<()> {
        config.capabilities.cached = true;
        config.capabilities.synced_canaries = true;
        for resource in Resource::ALL {
            self.write(Write::Open(Scope::of(resource, Layout::Cache, cluster))).await?;
        }
        let key = Key::ClusterConfig(cluster.clone()).to_string();
        self.write(Write::Put { key, value: config.encode() }).await
    }

    async fn write(&self, write: Write) -> anyhow::Result<()> {
        self.writes.send(write).await.context("the writer of our own etcd ended")
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
