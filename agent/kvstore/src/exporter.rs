//! The writer: one task that keeps our keys in our own kvstore as they should be.
//!
//! It works from what is wanted, not from what happened: whatever breaks, the next connection looks at what the kvstore
//! holds and makes the difference good. What belongs together is a [`Scope`]: its canary is written when everything in it
//! is, and never before.

mod keys;
mod leases;
mod scope;
mod session;

use std::{fmt, sync::Arc, time::Duration};

use jiff::{Timestamp, Unit};
use mesh_planted::{Defect, planted};
use mesh_types::ClusterName;
use mesh_wire::{ClusterConfig, Key, Layout, Resource, prefix};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};

pub use scope::Scope;

use crate::{backoff::Backoff, store::Connect};
use keys::Keys;
use leases::Leases;
use scope::Scopes;

/// Writes that may wait for the task; it takes them at once, so this only covers a burst.
const WRITES_WAITING_MAX: usize = 1024;

/// A wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// The key shall have this value.
    Put {
        /// The whole key.
        key: String,
        /// The value.
        value: Vec<u8>,
    },
    /// The key shall be gone.
    Delete {
        /// The whole key.
        key: String,
    },
    /// From now on these keys are ours.
    Open(Scope),
    /// All keys of the scope that are wanted at the start were named: stale ones can be deleted and the canary written.
    Complete(Scope),
    /// The scope is given up: its canary and all its keys that are wanted shall be gone.
    Close(Scope),
}

/// Settings of the writer.
#[derive(Clone, Debug)]
pub struct ExporterOptions {
    /// How long our keys outlive us.
    pub lease_ttl: Duration,
    /// How often the heartbeat is written; not zero.
    pub heartbeat_interval: Duration,
    /// Who wants to know of each key that was written.
    pub on_written: Option<OnWritten>,
    /// Scopes that are open from the start; [`Exporter::ready`] waits for them.
    pub scopes: Vec<Scope>,
    /// Keys that are wanted from the start.
    pub keys: Vec<(String, Vec<u8>)>,
}

impl Scope {
    /// One kind of object of a cluster.
    pub fn of(resource: Resource, layout: Layout, cluster: &ClusterName) -> Self {
        let canary = Key::synced(layout, cluster, resource).to_string();
        Self { prefix: prefix(resource, layout, cluster), canary }
    }
}

/// Called with each key that was put, as soon as the etcd has answered, and the revision that it has now. Must be quick:
/// the writer waits for it.
#[derive(Clone)]
pub struct OnWritten(Arc<Told>);

/// Takes a key and its revision.
type Told = dyn Fn(&str, i64) + Send + Sync;

impl OnWritten {
    /// Calls `function`.
    pub fn new(function: impl Fn(&str, i64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(function))
    }
}

impl fmt::Debug for OnWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnWritten")
    }
}

impl ExporterOptions {
    /// Cilium's time to live of leases.
    pub const LEASE_TTL: Duration = Duration::from_secs(15 * 60);
    /// Cilium's time between two heartbeats.
    pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(60);

    /// For a cluster that exports these kinds of objects to its own kvstore.
    pub fn for_cluster(cluster: &ClusterName, config: &ClusterConfig, resources: &[Resource]) -> Self {
        Self {
            lease_ttl: Self::LEASE_TTL,
            heartbeat_interval: Self::HEARTBEAT_INTERVAL,
            on_written: None,
            scopes: resources.iter().map(|resource| Scope::of(*resource, Layout::State, cluster)).collect(),
            keys: vec![(Key::ClusterConfig(cluster.clone()).to_string(), config.encode())],
        }
    }
}

/// The writer. Dropping it ends its task at once; the keys stay until their leases expire.
#[derive(Debug)]
pub struct Exporter {
    task: JoinHandle<()>,
    writes: mpsc::Sender<Write>,
    ready: watch::Receiver<bool>,
}

impl Exporter {
    /// Starts the task. It tries for ever, until dropped.
    pub fn spawn<C: Connect>(options: ExporterOptions, connector: C) -> Self {
        let (writes, receiver) = mpsc::channel(WRITES_WAITING_MAX);
        let (ready_sender, ready) = watch::channel(false);
        let writer = Writer::new(options, connector, receiver, ready_sender);
        Self { task: tokio::spawn(writer.run()), writes, ready }
    }

    /// Where wishes go, in order.
    pub fn writes(&self) -> mpsc::Sender<Write> {
        self.writes.clone()
    }

    /// Waits until everything wanted at the start, canaries included, is written.
    pub async fn ready(&self) {
        let mut ready = self.ready.clone();
        // The sender lives in the task, which lives as long as `self`.
        if ready.wait_for(|ready| *ready).await.is_err() {
            std::future::pending().await
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the task owns.
struct Writer<C> {
    connector: C,
    on_written: Option<OnWritten>,
    heartbeat_interval: Duration,
    writes: mpsc::Receiver<Write>,
    ready: watch::Sender<bool>,
    keys: Keys,
    leases: Leases,
    scopes: Scopes,
    backoff: Backoff,
}

impl<C: Connect> Writer<C> {
    fn new(options: ExporterOptions, connector: C, writes: mpsc::Receiver<Write>, ready: watch::Sender<bool>) -> Self {
        let (mut keys, mut scopes) = (Keys::default(), Scopes::default());
        options.keys.into_iter().for_each(|(key, value)| keys.put(key, value));
        options.scopes.into_iter().for_each(|scope| scopes.add(scope));
        let leases = Leases::new(options.lease_ttl);
        let (on_written, heartbeat_interval) = (options.on_written, options.heartbeat_interval);
        let backoff = Backoff::new();
        Self { connector, on_written, heartbeat_interval, writes, ready, keys, leases, scopes, backoff }
    }

    async fn run(mut self) {
        loop {
            let error = self.session().await;
            if !error.is_retryable() {
                return;
            }
            let wait = self.backoff.next();
            tracing::warn!(%error, retry_in = ?wait, "Connection to our own etcd failed");
            if !self.wait(wait).await {
                return;
            }
        }
    }

    /// Takes wishes for a while; `false` when nobody will have any more.
    async fn wait(&mut self, duration: Duration) -> bool {
        let sleep = sleep_until(Instant::now() + duration);
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                () = &mut sleep => return true,
                write = self.writes.recv() => match write {
                    Some(write) => self.take(write),
                    None => return false,
                },
            }
        }
    }

    fn take(&mut self, write: Write) {
        match write {
            Write::Put { key, value } => self.keys.put(key, value),
            Write::Delete { .. } if planted(Defect::ExporterNeverDeletes) => {}
            Write::Delete { key } => self.keys.delete(key),
            Write::Open(scope) => self.scopes.add(scope),
            Write::Complete(scope) => self.scopes.complete(&scope),
            Write::Close(scope) => {
                self.scopes.remove(&scope);
                self.keys.delete(scope.canary);
                for key in self.keys.wanted(&scope.prefix) {
                    self.keys.delete(key);
                }
            }
        }
    }
}

/// The time now as heartbeats and canaries carry it: RFC 3339, whole seconds, UTC.
fn now() -> Vec<u8> {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now).to_string().into_bytes()
}
