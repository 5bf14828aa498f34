//! The one task that owns what the agent knows and what is in the maps.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant as Clock},
};

use anyhow::Context as _;
use mesh_core::{Effect, Event, LifecycleConfig, RemoteSlice, State};
use mesh_datapath::{Datapath, DatapathError};
use mesh_k8s::LocalEvent;
use mesh_kvstore::{ClusterIds, Decoded, EtcdConnector, RemoteCluster, RemoteEvent, RemoteObject, RemoteOptions};
use mesh_planted::{Defect, planted};
use mesh_types::{ClusterId, ClusterName, FrontendAddress, ServiceKey};
use mesh_wire::Resource;
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};
use tokio_stream::{StreamExt as _, StreamMap, wrappers::ReceiverStream};

use crate::{
    addresses::Addresses,
    describer::Describer,
    local,
    mesh_directory::{FileChange, MeshDirectory},
    metrics::{self, MetricsRequest, Subsystem},
    notify,
    registry::Registry,
    status::{AgentStatus, Health, Question},
    trace::{Stage, Trace},
};

/// How long restored map entries wait for remote clusters before they are judged without them; Cilium's
/// `--clustermesh-sync-timeout`.
const INIT_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a map write that failed is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Where events come from.
pub(crate) struct Inputs {
    /// Our own cluster's API.
    pub(crate) local: mpsc::Receiver<LocalEvent>,
    /// The directory of remote clusters, if the node is in a mesh.
    pub(crate) directory: Option<MeshDirectory>,
    /// Questions.
    pub(crate) status: mpsc::Receiver<Question>,
    /// Questions for metrics.
    pub(crate) metrics: mpsc::Receiver<MetricsRequest>,
}

/// What an agent keeps besides the load balancer.
pub(crate) struct Besides {
    /// Who is behind each address.
    pub(crate) addresses: Addresses,
    /// What there is to list.
    pub(crate) registry: Registry,
    /// Who tells others of our node; `None` when nobody does.
    pub(crate) describer: Option<Describer>,
}

/// What the task owns.
pub(crate) struct Agent<D> {
    /// Our own cluster.
    name: ClusterName,
    state: State,
    datapath: D,
    ids: ClusterIds,
    lifecycle: LifecycleConfig,
    addresses: Addresses,
    registry: Registry,
    describer: Option<Describer>,
    clusters: BTreeMap<ClusterName, RemoteCluster>,
    /// Each cluster's events, taken away with the cluster, so that none comes after its removal.
    remote: StreamMap<ClusterName, ReceiverStream<RemoteEvent>>,
    /// Effects that failed, by frontend.
    failed: BTreeMap<FrontendAddress, Effect>,
    /// A prune that failed.
    failed_prune: Option<Effect>,
    last_error: Option<String>,
    trace: Trace,
}

/// Whose change an event is: the cluster, the service, and its version there.
type Origin<'a> = Option<(&'a ClusterName, &'a ServiceKey, String)>;

impl<D: Datapath> Agent<D> {
    /// An agent that knows nothing yet.
    pub(crate) fn new(
        name: ClusterName,
        state: State,
        datapath: D,
        lifecycle: LifecycleConfig,
        besides: Besides,
        trace: Trace,
    ) -> Self {
        let Besides { addresses, registry, describer } = besides;
        Self {
            name,
            state,
            datapath,
            ids: ClusterIds::new(),
            lifecycle,
            addresses,
            registry,
            describer,
            clusters: BTreeMap::new(),
            remote: StreamMap::new(),
            failed: BTreeMap::new(),
            failed_prune: None,
            last_error: None,
            trace,
        }
    }

    /// Works for ever; ends only with an error.
    pub(crate) async fn run(mut self, mut inputs: Inputs) -> anyhow::Result<std::convert::Infallible> {
        // Before anything else: the core must know which clusters to wait for.
        self.scan(inputs.directory.as_mut())?;
        self.addresses.prune(false);
        let mut init_timeout = Some(Instant::now() + INIT_TIMEOUT);
        let mut retry = retry_interval();
        loop {
            tokio::select! {
                biased;
                event = inputs.local.recv() => {
                    let event = event.context("the watch of the Kubernetes API ended")?;
                    let synced = event == LocalEvent::Synced;
                    self.local_event(event);
                    if synced {
                        tracing::info!("local services are known, the agent is ready");
                        notify::ready();
                    }
                }
                never = described(self.describer.as_mut()) => match never {},
                Some((cluster, event)) = self.remote.next() => self.remote_event(cluster, event),
                touched = touched(inputs.directory.as_ref()) => {
                    touched.context("failed to watch the directory of remote clusters")?;
                    if let Err(error) = self.scan(inputs.directory.as_mut()) {
                        tracing::warn!(error = format!("{error:#}"), "remote clusters stay as they are");
                    }
                }
                question = inputs.status.recv() => self.answer(question.context("the status server ended")?),
                Some(request) = inputs.metrics.recv() => self.tell_metrics(request),
                () = until(init_timeout) => {
                    init_timeout = None;
                    if self.state.waiting() {
                        tracing::warn!(after = ?INIT_TIMEOUT, "going on without remote clusters that are not ready");
                    }
                    self.step(Event::InitTimeout, None);
                    self.addresses.prune(true);
                }
                _ = retry.tick(), if self.has_failed() => self.retry(),
            }
        }
    }

    fn local_event(&mut self, event: LocalEvent) {
        let about = event.about().filter(|_| self.trace.is_on());
        let about = about.map(|(service, version)| (self.name.clone(), service.clone(), version.to_owned()));
        if let Some((cluster, service, version)) = &about {
            self.trace.record(Stage::Kubernetes, cluster, service, version.as_str());
        }
        let origin = about.as_ref().map(|(cluster, service, version)| (cluster, service, version.clone()));
        if let Some(describer) = &mut self.describer {
            describer.take(&event);
        }
        self.addresses.local(&event);
        self.register(&event);
        for event in local::events(event) {
            self.step(event, origin.clone());
        }
    }

    /// What is to be listed of our own cluster.
    fn register(&mut self, event: &LocalEvent) {
        match event {
            LocalEvent::CiliumNode { name, node } => {
                let node = node.as_ref().map(|node| node.exported(&self.name, self.lifecycle.cluster_id));
                self.registry.node(None, name, node.as_ref());
            }
            LocalEvent::CiliumIdentity { number, identity } => {
                let labels = identity.as_ref().map(|identity| identity.identity_labels());
                self.registry.identity(None, *number, labels.as_ref());
            }
            _ => {}
        }
    }

    fn remote_event(&mut self, cluster: ClusterName, event: RemoteEvent) {
        match event {
            RemoteEvent::Exports(exports) => self.step(Event::RemoteExports { cluster, exports }, None),
            RemoteEvent::Object { cluster_id, object, revision } => {
                self.remote_object(cluster, cluster_id, object, revision);
            }
            RemoteEvent::Synced(Resource::Services | Resource::EndpointSlices) => {
                self.step(Event::RemoteSynced { cluster }, None);
            }
            RemoteEvent::Synced(resource) => {
                self.addresses.told(&cluster, resource);
                self.addresses.prune(false);
            }
        }
    }

    fn remote_object(&mut self, cluster: ClusterName, cluster_id: ClusterId, object: RemoteObject, revision: i64) {
        match object {
            RemoteObject::Service(key, service) => {
                let about = self.trace.is_on().then(|| (cluster.clone(), key.clone()));
                if let Some((cluster, service)) = &about {
                    self.trace.record(Stage::EtcdWatch, cluster, service, revision);
                }
                let origin = about.as_ref().map(|(cluster, service)| (cluster, service, revision.to_string()));
                let service = service.map(|service| *service);
                self.step(Event::RemoteService { cluster, cluster_id, key, service }, origin);
            }
            RemoteObject::EndpointSlice(key, slice) => {
                let slice = slice.map(|slice| RemoteSlice::from(&*slice));
                let (namespace, name) = (key.namespace, key.name);
                self.step(Event::RemoteSlice { cluster, cluster_id, namespace, name, slice }, None);
            }
            RemoteObject::Node(name, node) => {
                self.registry.node(Some(cluster.clone()), &name, node.as_deref());
                self.addresses.node(cluster, &name, node.as_deref());
            }
            RemoteObject::Ip(prefix, entry) => self.addresses.endpoint(cluster, prefix, entry.as_deref()),
            // Not for policies, which are not ours.
            RemoteObject::Identity(identity, labels) => {
                self.registry.identity(Some(cluster), identity, labels.as_deref());
            }
        }
    }

    /// Follows the directory of remote clusters.
    fn scan(&mut self, directory: Option<&mut MeshDirectory>) -> anyhow::Result<()> {
        let Some(directory) = directory else { return Ok(()) };
        for change in directory.scan()? {
            match change {
                FileChange::Added { cluster, path } => self.add(cluster, path),
                FileChange::Changed { cluster } => {
                    if let Some(remote) = self.clusters.get(&cluster) {
                        remote.reconnect();
                    }
                }
                FileChange::Removed { .. } if planted(Defect::ConfigRemovalIgnored) => {}
                FileChange::Removed { cluster } => {
                    tracing::info!(%cluster, "remote cluster removed");
                    self.clusters.remove(&cluster);
                    self.remote.remove(&cluster);
                    self.addresses.remove(&cluster);
                    self.registry.remove_cluster(&cluster);
                    self.step(Event::RemoteRemoved { cluster }, None);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, cluster: ClusterName, config: PathBuf) {
        tracing::info!(%cluster, "remote cluster added");
        self.addresses.add(cluster.clone());
        self.step(Event::RemoteAdded { cluster: cluster.clone() }, None);
        let (ids, lifecycle) = (self.ids.clone(), self.lifecycle.clone());
        let options = RemoteOptions { cluster: cluster.clone(), ids, lifecycle };
        let (remote, events) =
            RemoteCluster::spawn(options, EtcdConnector::new(config), Decoded { limit: self.lifecycle.limit });
        self.clusters.insert(cluster.clone(), remote);
        self.remote.insert(cluster, ReceiverStream::new(events));
    }

    /// An event's whole way: into the core, and what comes out of it into the maps.
    fn step(&mut self, event: Event, origin: Origin<'_>) {
        let effects = self.state.step(event);
        let written = self.trace.is_on().then(|| services(&effects));
        for effect in effects {
            self.apply(effect);
        }
        let Some(written) = written else { return };
        match origin {
            Some((cluster, service, version)) if !written.is_empty() => {
                self.trace.record(Stage::Map, cluster, service, version);
            }
            Some(_) => {}
            // Nobody's change in particular: the first effects after a start, or a cluster that was removed.
            None => {
                for service in written.into_iter().flatten() {
                    self.trace.record(Stage::Map, &self.name, &service, String::new());
                }
            }
        }
    }

    fn apply(&mut self, effect: Effect) {
        let before = Clock::now();
        let result = match &effect {
            Effect::Upsert(frontend) => self.datapath.upsert(frontend),
            Effect::Delete(address) => self.datapath.delete(address),
            Effect::Prune(keep) => self.datapath.prune(keep),
        };
        match result {
            Ok(changed) => {
                let (frontend, backends) = describe(&effect);
                tracing::debug!(
                    frontend,
                    backends,
                    written = changed.written,
                    removed = changed.removed,
                    took = ?before.elapsed(),
                    "maps written"
                );
                self.succeeded(&effect);
            }
            Err(error) => self.keep(effect, &error),
        }
    }

    fn succeeded(&mut self, effect: &Effect) {
        match effect {
            Effect::Upsert(frontend) => drop(self.failed.remove(&frontend.address)),
            Effect::Delete(address) => drop(self.failed.remove(address)),
            Effect::Prune(_) => self.failed_prune = None,
        }
        if self.failed.is_empty() && self.failed_prune.is_none() {
            self.last_error = None;
        }
    }

    /// Keeps an effect that failed for another try. A later one for the same frontend takes its place.
    fn keep(&mut self, effect: Effect, error: &DatapathError) {
        let text = format!("{:#}", ErrorChain(error));
        tracing::error!(effect = describe(&effect).0, error = text, "Failed to write maps, trying again");
        self.last_error = Some(text);
        match &effect {
            Effect::Upsert(frontend) => {
                self.failed.insert(frontend.address, effect);
            }
            Effect::Delete(address) => {
                self.failed.insert(*address, effect);
            }
            Effect::Prune(_) => self.failed_prune = Some(effect),
        }
    }

    fn has_failed(&self) -> bool {
        !self.failed.is_empty() || self.failed_prune.is_some() || self.addresses.has_failed()
    }

    fn retry(&mut self) {
        self.addresses.retry();
        let failed = std::mem::take(&mut self.failed);
        for effect in failed.into_values().chain(self.failed_prune.take()) {
            self.apply(effect);
        }
    }

    /// Whoever asked may have gone away.
    fn answer(&self, question: Question) {
        match question {
            Question::Health(reply) => drop(reply.send(self.status())),
            Question::Nodes(reply) => drop(reply.send(self.registry.nodes())),
            Question::Identities(reply) => drop(reply.send(self.registry.identities())),
        }
    }

    fn tell_metrics(&self, request: MetricsRequest) {
        let remotes: Vec<_> = self.clusters.values().map(RemoteCluster::status).collect();
        let agent = Subsystem::Agent { node: self.registry.node_name(), global_services: self.state.global_services() };
        match metrics::remote_clusters(agent, &self.name, &remotes) {
            // Whoever asked may have gone away.
            Ok(text) => drop(request.send(text)),
            Err(error) => tracing::error!(error = format!("{error:#}"), "metrics cannot be told"),
        }
    }

    fn status(&self) -> AgentStatus {
        let clusters = self.clusters.values().map(RemoteCluster::status).collect();
        let health = match &self.last_error {
            Some(error) => Health::Failure(error.clone()),
            None => Health::Ok,
        };
        AgentStatus::new(health, self.state.global_services(), clusters)
    }
}

/// The services whose frontends are written; nothing for one that is taken out, whose service is not said.
fn services(effects: &[Effect]) -> BTreeSet<Option<ServiceKey>> {
    let service = |effect: &Effect| match effect {
        Effect::Upsert(frontend) => Some(frontend.service.clone()),
        Effect::Delete(_) | Effect::Prune(_) => None,
    };
    effects.iter().map(service).collect()
}

/// What an effect is about, and how many backends it has.
fn describe(effect: &Effect) -> (String, usize) {
    match effect {
        Effect::Upsert(frontend) => (frontend.address.to_string(), frontend.backends.len()),
        Effect::Delete(address) => (address.to_string(), 0),
        Effect::Prune(_) => ("all stale ones".to_owned(), 0),
    }
}

/// An error and its causes in one line.
struct ErrorChain<'a>(&'a DatapathError);

impl std::fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = std::error::Error::source(self.0);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

async fn described(describer: Option<&mut Describer>) -> std::convert::Infallible {
    if let Some(describer) = describer {
        describer.work().await;
    }
    std::future::pending().await
}

async fn touched(directory: Option<&MeshDirectory>) -> std::io::Result<()> {
    match directory {
        Some(directory) => directory.touched().await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn retry_interval() -> Interval {
    let mut retry = interval(RETRY_INTERVAL);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    retry
}

#[cfg(test)]
mod tests;
