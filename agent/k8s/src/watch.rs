//! The task that watches.

use std::{pin::pin, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt as _, utils::Backoff, watcher},
};
use mesh_core::{LocalService, LocalSlice};
use mesh_types::ServiceKey;
use tokio::{sync::mpsc, task::JoinHandle};

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
    },
    /// An EndpointSlice was written or deleted.
    Slice {
        /// Namespace.
        namespace: String,
        /// Name of the slice.
        name: String,
        /// `None`: deleted.
        slice: Option<LocalSlice>,
    },
    /// The first lists of both kinds were told. Comes once.
    Synced,
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
    let config = watcher::Config::default;
    let services = watcher(Api::<Service>::all(client.clone()), config()).backoff(Retry::default());
    let slices = watcher(Api::<EndpointSlice>::all(client), config()).backoff(Retry::default());
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
    const LAST: Duration = Duration::from_secs(5);
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
        let waits: Vec<u128> = retry.by_ref().take(8).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 3200, 5000]);
        retry.reset();
        assert_eq!(retry.next(), Some(Retry::FIRST));
    }
}
