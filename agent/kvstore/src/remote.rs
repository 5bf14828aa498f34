//! The reader: one task a remote cluster, which keeps a connection to its etcd and reports its services.

mod ids;
mod services;
mod session;
mod status;

use std::{path::PathBuf, sync::Arc};

use jiff::Timestamp;
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

use crate::{SessionError, backoff::Backoff};
use ids::Reservation;
use services::Services;

/// Events that may wait for the receiver: a burst of a whole listing page a few times over. When full, the reader
/// waits, and etcd keeps the rest.
const EVENTS_WAITING_MAX: usize = 1024;

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
            options,
            events,
            status: status_sender,
            services: Services::default(),
            reservation: None,
            backoff: Backoff::new(),
        };
        let task = tokio::spawn(reader.run(Arc::clone(&reconnect)).instrument(span));
        (Self { task, status, reconnect }, receiver)
    }

    /// Breaks the connection, if there is one, and makes a new one with what the configuration file says now.
    pub fn reconnect(&self) {
        self.reconnect.notify_one();
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
}

impl Reader {
    async fn run(mut self, reconnect: Arc<Notify>) {
        loop {
            let error = tokio::select! {
                error = self.session() => error,
                () = reconnect.notified() => {
                    tracing::info!("Configuration of remote cluster changed, connecting anew");
                    self.backoff.reset();
                    self.status.send_modify(RemoteStatus::disconnect);
                    continue;
                }
            };
            if !error.is_retryable() {
                return;
            }
            let wait = self.failed(&error);
            tokio::select! {
                () = sleep_until(Instant::now() + wait) => {}
                () = reconnect.notified() => self.backoff.reset(),
            }
        }
    }

    /// Notes a failure and returns the wait before the next attempt.
    fn failed(&mut self, error: &SessionError) -> std::time::Duration {
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
