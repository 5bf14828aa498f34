//! The writer: one task that keeps our cluster's keys in our own etcd as they should be.
//!
//! It works from what is wanted, not from what happened: whatever breaks, the next connection looks at what the etcd
//! holds and makes the difference good.

mod keys;
mod leases;
mod session;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use jiff::{Timestamp, Unit};
use mesh_planted::{Defect, planted};
use mesh_types::{ClusterId, ClusterName, MaxConnectedClusters};
use mesh_wire::{ClusterConfig, Key, Layout, Resource};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::{backoff::Backoff, config::ConfigFile};
use keys::Keys;
use leases::Leases;

/// Writes that may wait for the task; it takes them at once, so this only covers a burst.
const WRITES_WAITING_MAX: usize = 1024;
/// The kinds of objects that get a canary. A reader waits for each of them, also for those that we export none of.
const CANARIES: [Resource; 4] = [Resource::Services, Resource::Nodes, Resource::Ip, Resource::Identities];

/// A wish about one key.
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
    /// All keys that are wanted at the start were named: stale ones can be deleted and canaries written.
    Synced,
}

/// Settings of the writer.
#[derive(Clone, Debug)]
pub struct ExporterOptions {
    /// Our cluster's name.
    pub cluster: ClusterName,
    /// Our cluster's ID.
    pub cluster_id: ClusterId,
    /// Size of the mesh.
    pub limit: MaxConnectedClusters,
    /// Our etcd's client configuration file, read anew at each connection.
    pub config: PathBuf,
    /// How long our keys outlive us.
    pub lease_ttl: Duration,
    /// Who wants to know of each key that was written.
    pub on_written: Option<OnWritten>,
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
    pub fn spawn(options: ExporterOptions) -> Self {
        let (writes, receiver) = mpsc::channel(WRITES_WAITING_MAX);
        let (ready_sender, ready) = watch::channel(false);
        let writer = Writer::new(options, receiver, ready_sender);
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
struct Writer {
    options: ExporterOptions,
    file: ConfigFile,
    writes: mpsc::Receiver<Write>,
    ready: watch::Sender<bool>,
    keys: Keys,
    leases: Leases,
    /// Value of our cluster configuration.
    config: Vec<u8>,
    /// [`Write::Synced`] came.
    synced: bool,
    backoff: Backoff,
}

impl Writer {
    fn new(options: ExporterOptions, writes: mpsc::Receiver<Write>, ready: watch::Sender<bool>) -> Self {
        let mut keys = Keys::default();
        let config = ClusterConfig::exported(options.cluster_id, options.limit).encode();
        keys.put(Key::ClusterConfig(options.cluster.clone()).to_string(), config.clone());
        let leases = Leases::new(options.lease_ttl);
        let file = ConfigFile::new(options.config.clone());
        Self { options, file, writes, ready, keys, leases, config, synced: false, backoff: Backoff::new() }
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
            Write::Synced => self.synced = true,
        }
    }

    fn canaries(&self) -> impl Iterator<Item = String> {
        CANARIES.map(|resource| Key::synced(Layout::State, &self.options.cluster, resource).to_string()).into_iter()
    }
}

/// The time now as heartbeats and canaries carry it: RFC 3339, whole seconds, UTC.
fn now() -> Vec<u8> {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now).to_string().into_bytes()
}
