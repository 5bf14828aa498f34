//! The reader: one task a remote cluster, which keeps a connection to its kvstore and reports what is in it.
//!
//! [`mesh_core::Lifecycle`] decides, the task does: it performs [`Action`]s on a [`Session`] and tells what came of them.

mod copied;
mod decoded;
mod follow;
mod ids;
mod known;
mod session;
mod status;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use mesh_core::{Action, Input, Lifecycle, LifecycleConfig};
use mesh_planted::{Defect, planted};
use mesh_types::{ClusterId, ClusterName};
use mesh_wire::{ClusterConfig, Layout, Resource};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tracing::Instrument as _;

pub use copied::{Copied, CopyEvent};
pub use decoded::{Decoded, RemoteEvent, RemoteObject};
pub use ids::ClusterIds;
pub use status::{RemoteConfigStatus, RemoteStatus, RemoteSynced};

use crate::store::Connect;
use follow::Reporter;
use ids::Reservation;
use session::{Session, Told};

/// Events that may wait for the receiver: a burst of a whole listing page a few times over. When full, the reader
/// waits, and etcd keeps the rest.
const EVENTS_WAITING_MAX: usize = 1024;

/// Where the objects of a remote cluster are in its kvstore, and what they must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Tree that they lie in.
    pub layout: Layout,
    /// The cluster's name.
    pub cluster: ClusterName,
    /// The cluster's ID, from its configuration.
    pub cluster_id: ClusterId,
}

/// Makes events of what is in a remote cluster's kvstore.
pub trait Reading: Send + Sync + 'static {
    /// What is reported.
    type Event: Send + 'static;

    /// The cluster's configuration was accepted. Comes first on each connection; nothing is reported by default.
    fn config(&self, config: &ClusterConfig) -> Option<Self::Event> {
        let _not_told = config;
        None
    }

    /// The object at the key that ends in `tail` has this value now. In words, why it cannot be read: then what was
    /// reported of it before stays, unless a new listing is under way.
    fn put(
        &self,
        source: &Source,
        resource: Resource,
        tail: &str,
        value: Vec<u8>,
        revision: i64,
    ) -> Result<Self::Event, String>;

    /// The object, which was reported before, is gone. `revision` is 0 when no kvstore said so. `None` for one that could
    /// never be reported.
    fn gone(&self, source: &Source, resource: Resource, tail: &str, revision: i64) -> Option<Self::Event>;

    /// All objects of that kind were reported. Comes once for each connection.
    fn listed(&self, source: &Source, resource: Resource) -> Self::Event;
}

/// Settings of a reader.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// Name of the remote cluster.
    pub cluster: ClusterName,
    /// The cluster IDs in use, shared by all readers.
    pub ids: ClusterIds,
    /// What is read, and how long it is kept.
    pub lifecycle: LifecycleConfig,
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
    pub fn spawn<C: Connect, R: Reading>(
        options: RemoteOptions,
        connector: C,
        reading: R,
    ) -> (Self, mpsc::Receiver<R::Event>) {
        let (events, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        let (status_sender, status) = watch::channel(RemoteStatus::new(options.cluster.clone()));
        let reconnect = Arc::new(Notify::new());
        let span = tracing::info_span!("remote", cluster = %options.cluster);
        let lifecycle = Lifecycle::new(options.lifecycle.clone(), Duration::ZERO);
        let reader = Reader {
            reporter: Arc::new(Reporter::new(reading, events, status_sender.clone())),
            connector: Arc::new(tokio::sync::Mutex::new(connector)),
            status: status_sender,
            reservation: None,
            lifecycle,
            begun: Instant::now(),
            options,
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
struct Reader<C: Connect, R: Reading> {
    options: RemoteOptions,
    connector: Arc<tokio::sync::Mutex<C>>,
    reporter: Arc<Reporter<R>>,
    status: watch::Sender<RemoteStatus>,
    reservation: Option<Reservation>,
    lifecycle: Lifecycle,
    begun: Instant,
}

impl<C: Connect, R: Reading> Reader<C, R> {
    async fn run(mut self, reconnect: Arc<Notify>) {
        let mut session = Session::new();
        let mut inputs = VecDeque::from([Input::Tick]);
        loop {
            let input = match inputs.pop_front() {
                Some(input) => input,
                None => {
                    let deadline = self.lifecycle.deadline().map(|deadline| self.begun + deadline);
                    tokio::select! {
                        told = session.next() => self.told(told, &mut session),
                        () = self.usable_change(&reconnect) => Input::Reconfigured,
                        () = until(deadline) => Input::Tick,
                        () = self.reporter.closed() => return,
                    }
                }
            };
            self.log(&input);
            let accepted = self.lifecycle.cluster_config().is_some();
            let actions = self.lifecycle.step(self.begun.elapsed(), input);
            if !accepted && let Some(config) = self.lifecycle.cluster_config() {
                self.reporter.config(config).await;
            }
            for action in actions {
                inputs.extend(self.perform(action, &mut session).await);
            }
            self.tell_status(&session);
        }
    }

    /// What the session tells is what happened.
    fn told(&self, told: Told<C::Store>, session: &mut Session<C::Store>) -> Input {
        match told {
            Told::Connected(store, heartbeat) => {
                session.connected(store, heartbeat);
                Input::Connected
            }
            Told::Input(input) => input,
        }
    }

    /// Does what was decided. What is known at once of the outcome is returned.
    async fn perform(&mut self, action: Action, session: &mut Session<C::Store>) -> Option<Input> {
        match action {
            Action::Connect => session.connect(Arc::clone(&self.connector)),
            Action::Disconnect => *session = Session::new(),
            Action::ReadConfig => session.read_config(self.options.cluster.clone()),
            Action::Reserve(id) => return Some(Input::Reserved(self.reserve(id))),
            Action::Release => self.reservation = None,
            Action::WatchCanaries => session.watch_canaries(self.source()?),
            Action::Follow(resource) => session.follow(&self.reporter, self.source()?, resource),
            Action::Drain => self.reporter.drain(None).await,
            Action::Revoke => {
                tracing::warn!("Remote cluster was not ready for too long, its services are dropped");
                self.reporter.drain(Some(&[Resource::Services, Resource::EndpointSlices])).await;
            }
        }
        None
    }

    /// Takes an ID; returns who has it, if somebody else does.
    fn reserve(&mut self, id: ClusterId) -> Option<ClusterName> {
        match self.options.ids.reserve(id, &self.options.cluster) {
            Ok(reservation) => {
                self.reservation = Some(reservation);
                None
            }
            Err(holder) => Some(holder),
        }
    }

    fn source(&self) -> Option<Arc<Source>> {
        let (config, layout) = (self.lifecycle.cluster_config()?, self.lifecycle.layout()?);
        Some(Arc::new(Source { layout, cluster: self.options.cluster.clone(), cluster_id: config.id }))
    }

    /// Waits until the configuration is another one that can be used.
    async fn usable_change(&self, reconnect: &Notify) {
        loop {
            reconnect.notified().await;
            // A connection that is being made holds the connector, and reads what is configured by now.
            match self.connector.lock().await.check() {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(error, "Configuration of remote cluster cannot be used, everything stays as it is");
                }
            }
        }
    }

    fn log(&self, input: &Input) {
        match input {
            Input::Reconfigured => tracing::info!("Configuration of remote cluster changed, connecting anew"),
            Input::Connected => tracing::info!("Connection to remote cluster established"),
            Input::Listed(resource) => tracing::debug!(?resource, "listed"),
            _ => {}
        }
    }

    /// Brings the status up to date, and logs what is new in it.
    fn tell_status(&self, session: &Session<C::Store>) {
        let next = {
            let mut next = self.status.borrow().clone();
            next.take(&self.lifecycle, session.cluster_id());
            next
        };
        self.status.send_if_modified(|status| {
            if *status == next {
                return false;
            }
            if next.num_failures > status.num_failures {
                let wait = self.lifecycle.waits_until().map(|until| until.saturating_sub(self.begun.elapsed()));
                tracing::warn!(error = next.status, retry_in = ?wait, "Connection to remote cluster failed");
            }
            if next.ready && !status.ready {
                tracing::info!(services = status.num_shared_services, "Remote cluster is ready");
            }
            *status = RemoteStatus {
                last_failure: if next.num_failures > status.num_failures {
                    Some(Timestamp::now())
                } else {
                    status.last_failure
                },
                ..next
            };
            true
        });
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Locks; what a panic left is as good as before, for no change is made in two steps.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
