//! The reader: one task a remote cluster, which keeps a connection to its etcd and reports its services.

mod ids;
mod services;
mod session;
mod status;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use mesh_planted::{Defect, planted};
use mesh_types::{ClusterId, ClusterName, ServiceKey};
use mesh_wire::ClusterService;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tracing::Instrument as _;

pub use ids::ClusterIds;
pub use status::{RemoteConfigStatus, RemoteStatus, RemoteSynced};

use crate::{EtcdConfig, SessionError, backoff::Backoff, config::ConfigFile, error::chain};
use ids::Reservation;
use services::Services;

/// Events that may wait for the receiver: a burst of a whole listing page a few times over. When full, the reader
/// waits, and etcd keeps the rest.
const EVENTS_WAITING_MAX: usize = 1024;
/// When [`Defect::DeadClusterForgotten`] forgets: seconds spent waiting between attempts to connect.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(2);

/// What a remote cluster says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteEvent {
    /// A service was written or deleted.
    Service {
        /// The remote cluster's ID.
        cluster_id: ClusterId,
        /// Which service.
        key: ServiceKey,
        /// Its value now; `None` when it is gone.
        service: Option<Box<ClusterService>>,
        /// The etcd's revision that made it so; that of the listing for what a listing lacks, 0 when no etcd said it.
        revision: i64,
    },
    /// All services of the remote cluster were reported. Comes once for each connection.
    Synced,
}

/// Settings of a reader.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// Name of the remote cluster.
    pub cluster: ClusterName,
    /// Its etcd client configuration file, read anew at each connection.
    pub config: PathBuf,
    /// The cluster IDs in use, shared by all readers.
    pub ids: ClusterIds,
}

/// A reader. Dropping it ends its task at once; nothing more is reported then, and what was reported stays.
#[derive(Debug)]
pub struct RemoteCluster {
    task: JoinHandle<()>,
    status: watch::Receiver<RemoteStatus>,
    reconnect: Arc<Notify>,
}

impl RemoteCluster {
    /// Starts the reader's task. It tries for ever, until dropped or until the receiver is gone.
    pub fn spawn(options: RemoteOptions) -> (Self, mpsc::Receiver<RemoteEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        let (status_sender, status) = watch::channel(RemoteStatus::new(options.cluster.clone()));
        let reconnect = Arc::new(Notify::new());
        let span = tracing::info_span!("remote", cluster = %options.cluster);
        let reader = Reader {
            config: ConfigFile::new(options.config.clone()),
            options,
            events,
            status: status_sender,
            services: Services::default(),
            reservation: None,
            backoff: Backoff::new(),
            resume: None,
        };
        let task = tokio::spawn(reader.run(Arc::clone(&reconnect)).instrument(span));
        (Self { task, status, reconnect }, receiver)
    }

    /// Breaks the connection, if there is one, and makes a new one with what the configuration file says now.
    ///
    /// A file that cannot be used changes nothing: the connection stays, and so does the configuration that was read
    /// last, until there is a better one.
    pub fn reconnect(&self) {
        if !planted(Defect::ConfigChangeIgnored) {
            self.reconnect.notify_one();
        }
    }

    /// The state now.
    pub fn status(&self) -> RemoteStatus {
        self.status.borrow().clone()
    }

    /// The state and its changes.
    pub fn watch_status(&self) -> watch::Receiver<RemoteStatus> {
        self.status.clone()
    }
}

impl Drop for RemoteCluster {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the task owns: everything that outlives a connection.
struct Reader {
    options: RemoteOptions,
    events: mpsc::Sender<RemoteEvent>,
    status: watch::Sender<RemoteStatus>,
    services: Services,
    reservation: Option<Reservation>,
    backoff: Backoff,
    config: ConfigFile,
    /// [`Defect::WatchStuckAfterCompaction`]: the etcd and the last revision that was seen of it.
    resume: Option<(u64, i64)>,
}

impl Reader {
    async fn run(mut self, reconnect: Arc<Notify>) {
        let file = self.options.config.clone();
        loop {
            let error = tokio::select! {
                error = self.session() => error,
                () = usable_change(&reconnect, &file) => {
                    tracing::info!("Configuration of remote cluster changed, connecting anew");
                    self.backoff.reset();
                    self.status.send_modify(RemoteStatus::disconnect);
                    continue;
                }
            };
            if !error.is_retryable() {
                return;
            }
            if planted(Defect::RemoteRemovedTooEarly)
                || (planted(Defect::DeadClusterForgotten) && self.backoff.waited() >= FORGOTTEN_AFTER)
            {
                self.forget().await;
            }
            let wait = self.failed(&error);
            tokio::select! {
                () = sleep_until(Instant::now() + wait) => {}
                () = usable_change(&reconnect, &file) => self.backoff.reset(),
            }
        }
    }

    /// A defect: takes back everything that the cluster said.
    async fn forget(&mut self) {
        if let Some(id) = self.reservation.as_ref().map(Reservation::id) {
            let events = self.services.drain(id);
            // The next report notices that nobody receives any more.
            drop(self.report(events).await);
        }
    }

    /// Notes a failure and returns the wait before the next attempt.
    fn failed(&mut self, error: &SessionError) -> Duration {
        let wait = self.backoff.next();
        tracing::warn!(%error, retry_in = ?wait, "Connection to remote cluster failed");
        self.status.send_modify(|status| {
            status.disconnect();
            status.status = format!("Err: {error}");
            status.num_failures += 1;
            status.last_failure = Some(Timestamp::now());
        });
        wait
    }

    /// Reports events in order; waits while the receiver is busy.
    async fn report(&mut self, events: impl IntoIterator<Item = RemoteEvent>) -> Result<(), SessionError> {
        for event in events {
            let place = self.events.reserve().await.map_err(|_| SessionError::ReceiverGone)?;
            // Nothing can interrupt between these two.
            self.services.reported(&event);
            place.send(event);
        }
        let counts = (self.services.count(), self.services.malformed());
        self.status.send_if_modified(|status| {
            let changed = (status.num_shared_services, status.num_malformed_values) != counts;
            (status.num_shared_services, status.num_malformed_values) = counts;
            changed
        });
        Ok(())
    }
}

/// Waits until the configuration `file` is another one that can be used.
async fn usable_change(reconnect: &Notify, file: &Path) {
    loop {
        reconnect.notified().await;
        match EtcdConfig::read(file) {
            Ok(_) => return,
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(error, "Configuration of remote cluster cannot be used, everything stays as it is");
            }
        }
    }
}
