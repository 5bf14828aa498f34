//! The task that watches.

use std::{fmt::Debug, pin::pin, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api, Client, Resource,
    runtime::{WatchStreamExt as _, utils::Backoff, watcher},
};
use mesh_core::{LocalService, LocalSlice};
use mesh_planted::{Defect, planted};
use mesh_types::ServiceKey;
use serde::de::DeserializeOwned;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::objects::{Objects, Watched};

/// Events that may wait for the receiver; when full, the watch waits, and the API server keeps the rest.
const EVENTS_WAITING_MAX: usize = 1024;

/// Something that changed in our own cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The first lists of both kinds were told. Comes once.
    Synced,
}

impl LocalEvent {
    /// The service that it is about and the resource version, as far as they are known.
    pub fn about(&self) -> Option<(&ServiceKey, &str)> {
        match self {
            Self::Service { key, version, .. } => Some((key, version)),
            Self::Slice { service, version, .. } => service.as_ref().map(|service| (service, version.as_str())),
            Self::Synced => None,
        }
    }
}

/// A running watch on Services and EndpointSlices of all namespaces. Dropping it ends its task.
#[derive(Debug)]
pub struct LocalWatch(JoinHandle<()>);

impl LocalWatch {
    /// Starts the task. It tries for ever, until dropped or until the receiver is gone.
    pub fn spawn(client: Client) -> (Self, mpsc::Receiver<LocalEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        (Self(tokio::spawn(watch(client, events))), receiver)
    }
}

impl Drop for LocalWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn watch(client: Client, events: mpsc::Sender<LocalEvent>) {
    let services = objects(Api::<Service>::all(client.clone()));
    let slices = objects(Api::<EndpointSlice>::all(client));
    let (mut services, mut slices) = (pin!(services), pin!(slices));
    let (mut known_services, mut known_slices) = (Objects::default(), Objects::default());
    let mut synced = false;
    loop {
        let mut told = tokio::select! {
            Some(event) = services.next() => take(&mut known_services, event, "services"),
            Some(event) = slices.next() => take(&mut known_slices, event, "endpoint slices"),
            // Neither stream ever ends: errors are items.
            else => return,
        };
        if !synced && known_services.is_listed() && known_slices.is_listed() {
            synced = true;
            told.push(LocalEvent::Synced);
        }
        for event in told {
            if events.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// Lists and watches for ever.
///
/// kube's watcher lists anew when a running watch ends with `410 Gone`, but when the API server refuses to begin one in
/// that way it asks for the same resource version again and again. Then another watcher takes its place.
fn objects<K>(api: Api<K>) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let start = move || watcher(api.clone(), watcher::Config::default()).backoff(Retry::default()).boxed();
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

fn take<K: Watched>(
    objects: &mut Objects,
    event: Result<watcher::Event<K>, watcher::Error>,
    what: &'static str,
) -> Vec<LocalEvent> {
    match event {
        Ok(event) => objects.take(event),
        Err(error) => {
            tracing::warn!(%error, what, "Watch of the Kubernetes API failed, trying again");
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
