//! One kind of object of a remote cluster: list, report, watch, report.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use mesh_core::Input;
use mesh_planted::{Defect, planted};
use mesh_wire::{ClusterConfig, Resource, prefix};
use tokio::sync::{mpsc, watch};

use super::{Reading, RemoteStatus, Source, known::Known, lock};
use crate::{
    SessionError,
    store::{Change, KeyRange, Kvstore, Listing, Watch as _},
};

/// Where events go, and what was reported: all that outlives a connection.
pub(crate) struct Reporter<R: Reading> {
    reading: R,
    events: mpsc::Sender<R::Event>,
    status: watch::Sender<RemoteStatus>,
    reported: Mutex<Reported>,
}

#[derive(Default)]
struct Reported {
    /// Under which names and ID.
    source: Option<Arc<Source>>,
    known: BTreeMap<Resource, Known>,
    malformed: u64,
    /// [`Defect::WatchStuckAfterCompaction`]: the etcd and the last revision that was seen of it.
    resume: BTreeMap<Resource, (Option<u64>, i64)>,
}

/// What the receiver got with an event.
#[derive(Clone, Copy)]
enum Got<'a> {
    Put(&'a str),
    Gone(&'a str),
    Nothing,
}

impl<R: Reading> Reporter<R> {
    /// Nothing was reported yet.
    pub(crate) fn new(reading: R, events: mpsc::Sender<R::Event>, status: watch::Sender<RemoteStatus>) -> Self {
        Self { reading, events, status, reported: Mutex::default() }
    }

    /// Waits until nobody takes events any more.
    pub(crate) async fn closed(&self) {
        self.events.closed().await;
    }

    /// Reports a configuration that was accepted.
    pub(crate) async fn config(&self, config: &ClusterConfig) {
        if let Some(event) = self.reading.config(config) {
            // When nobody takes events any more, the reader ends by itself.
            drop(self.events.send(event).await);
        }
    }

    /// Takes back everything that was reported, or all of some kinds.
    pub(crate) async fn drain(&self, kinds: Option<&[Resource]>) {
        let Some(source) = lock(&self.reported).source.clone() else { return };
        for resource in Resource::ALL.into_iter().filter(|resource| kinds.is_none_or(|kinds| kinds.contains(resource)))
        {
            let all = lock(&self.reported).known.get(&resource).map(Known::all).unwrap_or_default();
            for tail in all {
                let Some(event) = self.reading.gone(&source, resource, &tail, 0) else { continue };
                if self.send(resource, Got::Gone(&tail), event).await.is_err() {
                    // Nobody is there to be told; the reader ends.
                    return;
                }
            }
            self.count(resource);
        }
    }

    /// Lists and watches objects until something goes wrong, which is returned.
    pub(crate) async fn follow<S: Kvstore>(
        self: Arc<Self>,
        store: S,
        source: Arc<Source>,
        resource: Resource,
        told: mpsc::Sender<Input>,
    ) -> SessionError {
        lock(&self.reported).source = Some(Arc::clone(&source));
        let follower = Follower { reporter: &self, act: act(resource), store, source: &source, resource };
        match follower.run(&told).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    /// Hands an event on; waits while the receiver is busy.
    async fn send(&self, resource: Resource, got: Got<'_>, event: R::Event) -> Result<(), SessionError> {
        let place = self.events.reserve().await.map_err(|_| SessionError::ReceiverGone)?;
        // Nothing can interrupt between these two.
        {
            let mut reported = lock(&self.reported);
            let known = reported.known.entry(resource).or_default();
            match got {
                Got::Put(tail) => known.insert(tail),
                Got::Gone(tail) => known.remove(tail),
                Got::Nothing => {}
            }
        }
        place.send(event);
        Ok(())
    }

    /// Tells the status how many there are.
    fn count(&self, resource: Resource) {
        let (count, malformed) = {
            let reported = lock(&self.reported);
            (reported.known.get(&resource).map_or(0, Known::len), reported.malformed)
        };
        self.status.send_if_modified(|status| status.count(resource, count as u64, malformed));
    }

    fn refuse(&self, key: &[u8], reason: &str) {
        lock(&self.reported).malformed += 1;
        tracing::warn!(key = %String::from_utf8_lossy(key), reason, "Unable to unmarshal value");
    }
}

/// One kind of object on one connection.
struct Follower<'a, R: Reading, S> {
    reporter: &'a Reporter<R>,
    act: &'static str,
    store: S,
    source: &'a Source,
    resource: Resource,
}

impl<R: Reading, S: Kvstore> Follower<'_, R, S> {
    async fn run(&self, told: &mpsc::Sender<Input>) -> Result<std::convert::Infallible, SessionError> {
        let prefix = prefix(self.resource, self.source.layout, &self.source.cluster);
        let mut first = true;
        loop {
            let revision = match self.resumed() {
                Some(revision) => revision,
                None => match self.store.list(self.act, KeyRange::Prefix(&prefix)).await {
                    // Pages after the first may be too old by the time that they are asked for.
                    Err(SessionError::Compacted { .. }) => continue,
                    other => self.listed(&prefix, other?).await?,
                },
            };
            self.seen(revision);
            if std::mem::take(&mut first) {
                let event = self.reporter.reading.listed(self.source, self.resource);
                self.reporter.send(self.resource, Got::Nothing, event).await?;
                // Whoever listens ends with us.
                drop(told.send(Input::Listed(self.resource)).await);
            }
            match self.watch(&prefix, revision).await {
                Err(SessionError::Compacted { .. }) if planted(Defect::WatchStuckAfterCompaction) => {
                    std::future::pending().await
                }
                Err(error @ SessionError::Compacted { .. }) => tracing::warn!(%error, "listing again"),
                other => return other,
            }
        }
    }

    /// Reports a whole listing: what is there, then the end of whatever is not. Returns its revision.
    async fn listed(&self, prefix: &str, listing: Listing) -> Result<i64, SessionError> {
        let mut there = BTreeSet::new();
        for entry in listing.entries {
            let Some(tail) = self.tail(prefix, &entry.key) else { continue };
            match self.reporter.reading.put(self.source, self.resource, tail, entry.value, entry.revision) {
                Ok(event) => {
                    self.reporter.send(self.resource, Got::Put(tail), event).await?;
                    there.insert(tail.into());
                }
                Err(reason) => self.reporter.refuse(&entry.key, &reason),
            }
        }
        let stale = lock(&self.reporter.reported).known.get(&self.resource).map(|known| known.stale(&there));
        for tail in stale.into_iter().flatten() {
            self.gone(&tail, listing.revision).await?;
        }
        self.reporter.count(self.resource);
        Ok(listing.revision)
    }

    async fn watch(&self, prefix: &str, revision: i64) -> Result<std::convert::Infallible, SessionError> {
        let mut watch = self.store.watch(self.act, KeyRange::Prefix(prefix), revision).await?;
        loop {
            let change = watch.next().await?;
            let revision = change.revision();
            self.changed(prefix, change).await?;
            self.seen(revision);
        }
    }

    async fn changed(&self, prefix: &str, change: Change) -> Result<(), SessionError> {
        let key = change.key().to_vec();
        let Some(tail) = self.tail(prefix, &key) else { return Ok(()) };
        match change {
            Change::Put { value, revision, .. } => {
                match self.reporter.reading.put(self.source, self.resource, tail, value, revision) {
                    Ok(event) => self.reporter.send(self.resource, Got::Put(tail), event).await?,
                    Err(reason) => self.reporter.refuse(&key, &reason),
                }
            }
            Change::Delete { .. } if planted(Defect::RemoteDeletionIgnored) => {}
            Change::Delete { revision, .. } => {
                let known = lock(&self.reporter.reported).known.get(&self.resource).is_some_and(|k| k.contains(tail));
                if known {
                    self.gone(tail, revision).await?;
                }
            }
        }
        self.reporter.count(self.resource);
        Ok(())
    }

    async fn gone(&self, tail: &str, revision: i64) -> Result<(), SessionError> {
        match self.reporter.reading.gone(self.source, self.resource, tail, revision) {
            Some(event) => self.reporter.send(self.resource, Got::Gone(tail), event).await,
            None => Ok(()),
        }
    }

    /// What follows the prefix in a key.
    fn tail<'k>(&self, prefix: &str, key: &'k [u8]) -> Option<&'k str> {
        let tail = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(prefix));
        if tail.is_none() {
            self.reporter.refuse(key, "key is no text under the prefix");
        }
        tail
    }

    fn seen(&self, revision: i64) {
        if planted(Defect::WatchStuckAfterCompaction) {
            lock(&self.reporter.reported).resume.insert(self.resource, (self.store.cluster_id(), revision));
        }
    }

    fn resumed(&self) -> Option<i64> {
        let (of, revision) = lock(&self.reporter.reported).resume.get(&self.resource).copied()?;
        (of == self.store.cluster_id()).then_some(revision)
    }
}

/// What is being done, for errors.
fn act(resource: Resource) -> &'static str {
    match resource {
        Resource::Nodes => "nodes",
        Resource::Services => "services",
        Resource::EndpointSlices => "endpoint slices",
        Resource::Ip => "endpoints",
        Resource::Identities => "identities",
        Resource::ServiceExports => "service exports",
    }
}
