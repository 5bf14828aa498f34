//! The task that watches.

use std::{collections::BTreeSet, fmt::Debug, time::Duration};

use futures::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use k8s_openapi::api::{
    core::v1::{Namespace, Node, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource,
    runtime::{WatchStreamExt as _, utils::Backoff, watcher},
};
use mesh_core::{LocalService, LocalSlice};
use mesh_planted::{Defect, planted};
use mesh_types::{NumericIdentity, ServiceKey};
use serde::de::DeserializeOwned;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::{
    CiliumEndpoint, CiliumIdentity, CiliumNode, LocalNamespace, LocalNode, LocalPod,
    objects::{Objects, Watched},
};

/// Events that may wait for the receiver; when full, the watch waits, and the API server keeps the rest.
const EVENTS_WAITING_MAX: usize = 1024;

/// A kind of object that can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Services.
    Services,
    /// EndpointSlices.
    Slices,
    /// Namespaces.
    Namespaces,
    /// Nodes; of them the one that is asked for.
    Nodes,
    /// Pods; of them those of the node that is asked for.
    Pods,
    /// CiliumNodes.
    CiliumNodes,
    /// CiliumEndpoints.
    CiliumEndpoints,
    /// CiliumIdentities.
    CiliumIdentities,
}

impl Kind {
    /// Whether nothing can be decided before all of its objects are known. Cilium's kinds may not even exist yet.
    fn is_waited_for(self) -> bool {
        matches!(self, Self::Services | Self::Slices | Self::Namespaces | Self::Nodes)
    }

    /// In words.
    fn plural(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Slices => "endpoint slices",
            Self::Namespaces => "namespaces",
            Self::Nodes => "nodes",
            Self::Pods => "pods",
            Self::CiliumNodes => "CiliumNodes",
            Self::CiliumEndpoints => "CiliumEndpoints",
            Self::CiliumIdentities => "CiliumIdentities",
        }
    }
}

/// Something that changed in our own cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum LocalEvent {
    /// A Service was written or deleted.
    Service {
        /// Namespace and name.
        key: ServiceKey,
        /// `None`: deleted.
        service: Option<LocalService>,
        /// The object's resource version; empty for a deletion that only a new list showed.
        version: String,
    },
    /// An EndpointSlice was written or deleted.
    Slice {
        /// Namespace.
        namespace: String,
        /// Name of the slice.
        name: String,
        /// `None`: deleted.
        slice: Option<LocalSlice>,
        /// The service that it is or was for; unknown for a deletion that only a new list showed.
        service: Option<ServiceKey>,
        /// As that of a Service.
        version: String,
    },
    /// A Namespace was written or deleted.
    Namespace {
        /// Its name.
        name: String,
        /// `None`: deleted.
        namespace: Option<LocalNamespace>,
    },
    /// A Node was written or deleted.
    Node {
        /// Its name.
        name: String,
        /// `None`: deleted.
        node: Option<LocalNode>,
    },
    /// A Pod was written or deleted.
    Pod {
        /// Namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// `None`: deleted.
        pod: Option<LocalPod>,
    },
    /// A CiliumNode was written or deleted.
    CiliumNode {
        /// Its name.
        name: String,
        /// `None`: deleted.
        node: Option<Box<CiliumNode>>,
    },
    /// A CiliumEndpoint was written or deleted.
    CiliumEndpoint {
        /// Namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// `None`: deleted.
        endpoint: Option<Box<CiliumEndpoint>>,
    },
    /// A CiliumIdentity was written or deleted. Those whose name is no number are not told.
    CiliumIdentity {
        /// Its number.
        number: NumericIdentity,
        /// `None`: deleted.
        identity: Option<Box<CiliumIdentity>>,
    },
    /// The first list of a kind was told. Comes once for each kind that is watched.
    Listed(Kind),
    /// The first lists of Services, EndpointSlices, Namespaces and Nodes were told, as far as they are watched. Comes once.
    Synced,
}

impl LocalEvent {
    /// The service that it is about and the resource version, as far as they are known.
    pub fn about(&self) -> Option<(&ServiceKey, &str)> {
        match self {
            Self::Service { key, version, .. } => Some((key, version)),
            Self::Slice { service, version, .. } => service.as_ref().map(|service| (service, version.as_str())),
            _ => None,
        }
    }
}

/// A running watch on objects of all namespaces. Dropping it ends its task.
#[derive(Debug)]
pub struct LocalWatch(JoinHandle<()>);

impl LocalWatch {
    /// Starts the task. Of Nodes and Pods only those of `node` are watched; none for any. It tries for ever, until dropped
    /// or until the receiver is gone.
    pub fn spawn(client: &Client, kinds: &[Kind], node: Option<&str>) -> (Self, mpsc::Receiver<LocalEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        let streams: Vec<_> = kinds.iter().map(|kind| (*kind, told(client.clone(), *kind, node))).collect();
        (Self(tokio::spawn(watch(streams, events))), receiver)
    }
}

impl Drop for LocalWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Events of a kind, and whether all of its objects were told at least once.
type Told = (Vec<LocalEvent>, bool);

async fn watch(streams: Vec<(Kind, BoxStream<'static, Told>)>, events: mpsc::Sender<LocalEvent>) {
    let mut waited_for: BTreeSet<Kind> =
        streams.iter().map(|(kind, _)| *kind).filter(|kind| kind.is_waited_for()).collect();
    let mut unlisted: BTreeSet<Kind> = streams.iter().map(|(kind, _)| *kind).collect();
    let streams = streams.into_iter().map(|(kind, told)| told.map(move |told| (kind, told)).boxed());
    let mut all = stream::select_all(streams);
    // No stream ever ends: errors are items.
    while let Some((kind, (mut told, listed))) = all.next().await {
        if listed && unlisted.remove(&kind) {
            told.push(LocalEvent::Listed(kind));
            if waited_for.remove(&kind) && waited_for.is_empty() {
                told.push(LocalEvent::Synced);
            }
        }
        for event in told {
            if events.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// What is told of a kind.
fn told(client: Client, kind: Kind, node: Option<&str>) -> BoxStream<'static, Told> {
    let of_node = |field: &str| node.map_or(String::new(), |node| format!("{field}={node}"));
    match kind {
        Kind::Services => of::<Service>(client, kind, String::new()),
        Kind::Slices => of::<EndpointSlice>(client, kind, String::new()),
        Kind::Namespaces => of::<Namespace>(client, kind, String::new()),
        Kind::Nodes => of::<Node>(client, kind, of_node("metadata.name")),
        Kind::Pods => of::<Pod>(client, kind, of_node("spec.nodeName")),
        Kind::CiliumNodes => of::<CiliumNode>(client, kind, String::new()),
        Kind::CiliumEndpoints => of::<CiliumEndpoint>(client, kind, String::new()),
        Kind::CiliumIdentities => of::<CiliumIdentity>(client, kind, String::new()),
    }
}

fn of<K>(client: Client, kind: Kind, fields: String) -> BoxStream<'static, Told>
where
    K: Resource<DynamicType = ()> + Watched + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut known = Objects::default();
    let events = objects(Api::<K>::all(client), fields);
    events.map(move |event| (take(&mut known, event, kind), known.is_listed())).boxed()
}

/// Lists and watches for ever.
///
/// kube's watcher lists anew when a running watch ends with `410 Gone`, but when the API server refuses to begin one in
/// that way it asks for the same resource version again and again. Then another watcher takes its place.
fn objects<K>(api: Api<K>, fields: String) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let config =
        if fields.is_empty() { watcher::Config::default() } else { watcher::Config::default().fields(&fields) };
    let start = move || watcher(api.clone(), config.clone()).backoff(Retry::default()).boxed();
    stream::unfold((start(), start), async |(mut objects, start)| {
        let event = objects.next().await?;
        if let Err(error) = &event
            && is_gone(error)
        {
            if planted(Defect::Api410Ignored) {
                return std::future::pending().await;
            }
            if matches!(error, watcher::Error::WatchStartFailed(_)) {
                sleep_until(Instant::now() + Retry::FIRST).await;
                objects = start();
            }
        }
        Some((event, (objects, start)))
    })
}

/// Whether the API server said `410 Gone`: the resource version to go on from is too old.
fn is_gone(error: &watcher::Error) -> bool {
    const GONE: u16 = 410;
    match error {
        watcher::Error::WatchError(status) => status.code == GONE,
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == GONE,
        _ => false,
    }
}

/// Whether the API server said `404 Not Found`: it has no such kind.
fn is_missing(error: &watcher::Error) -> bool {
    const NOT_FOUND: u16 = 404;
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) => status.code == NOT_FOUND,
        _ => false,
    }
}

fn take<K: Watched>(
    objects: &mut Objects,
    event: Result<watcher::Event<K>, watcher::Error>,
    kind: Kind,
) -> Vec<LocalEvent> {
    match event {
        Ok(event) => objects.take(event),
        // Somebody is about to define it, or nobody ever will.
        Err(error) if !objects.is_listed() && is_missing(&error) => {
            tracing::debug!(kind = kind.plural(), "the Kubernetes API knows no such kind yet");
            Vec::new()
        }
        Err(error) => {
            tracing::warn!(%error, what = kind.plural(), "Watch of the Kubernetes API failed, trying again");
            Vec::new()
        }
    }
}

/// How long to wait before the next attempt after a failure: an API server that restarts is back soon, and few
/// clients wait for it.
#[derive(Debug, Default)]
struct Retry {
    failures: u32,
}

impl Retry {
    const FIRST: Duration = Duration::from_millis(50);
    const LAST: Duration = Duration::from_secs(2);
}

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = Self::FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(Self::LAST);
        self.failures = self.failures.saturating_add(1);
        Some(wait)
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_slow_down_and_start_anew() {
        let mut retry = Retry::default();
        let waits: Vec<u128> = retry.by_ref().take(7).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 2000]);
        retry.reset();
        assert_eq!(retry.next(), Some(Retry::FIRST));
    }
}
