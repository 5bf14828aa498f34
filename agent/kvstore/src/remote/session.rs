//! One connection to a remote cluster's kvstore and all that runs on it. Dropping it ends all of that.
//!
//! The order of requests is Cilium's, and decided elsewhere: heartbeat, cluster configuration, canaries, objects.

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use mesh_core::Input;
use mesh_types::ClusterName;
use mesh_wire::{ClusterConfig, HEARTBEAT, Key, Resource, synced_prefix};
use tokio::{sync::mpsc, time::timeout};

use super::{Reading, Source, follow::Reporter};
use crate::{
    SessionError,
    store::{Change, Connect, KeyRange, Kvstore, Watch},
};

/// Inputs that may wait: what runs on a connection tells little, and waits when nobody listens.
const INPUTS_WAITING_MAX: usize = 16;
/// How long the first answer on a connection may take, as two rounds of the heartbeat.
const FIRST_ANSWER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(120);

/// What the session tells.
pub(crate) enum Told<S: Kvstore> {
    /// There is a connection, with a watch on the heartbeat.
    Connected(S, S::Watch),
    /// Something happened.
    Input(Input),
}

/// See the module.
pub(crate) struct Session<S: Kvstore> {
    store: Option<S>,
    running: FuturesUnordered<BoxFuture<'static, Told<S>>>,
    inputs: mpsc::Receiver<Input>,
    sender: mpsc::Sender<Input>,
}

impl<S: Kvstore> Session<S> {
    /// Not connected.
    pub(crate) fn new() -> Self {
        let (sender, inputs) = mpsc::channel(INPUTS_WAITING_MAX);
        Self { store: None, running: FuturesUnordered::new(), inputs, sender }
    }

    /// The etcd cluster ID of what is connected.
    pub(crate) fn cluster_id(&self) -> Option<u64> {
        self.store.as_ref()?.cluster_id()
    }

    /// Waits for something to tell. Nothing is lost when the wait is given up.
    pub(crate) async fn next(&mut self) -> Told<S> {
        tokio::select! {
            biased;
            // `self` holds a sender.
            Some(input) = self.inputs.recv() => Told::Input(input),
            Some(told) = self.running.next(), if !self.running.is_empty() => told,
        }
    }

    /// Makes a connection.
    pub(crate) fn connect<C: Connect<Store = S>>(&mut self, connector: Arc<tokio::sync::Mutex<C>>) {
        let connect = async move {
            let store = connector.lock().await.connect().await?;
            let first = timeout(FIRST_ANSWER_TIMEOUT, store.list("heartbeat", KeyRange::Prefix(HEARTBEAT))).await;
            let timed_out = |_| SessionError::TimedOut { act: "heartbeat", after: FIRST_ANSWER_TIMEOUT };
            let listing = first.map_err(timed_out)??;
            let watch = store.watch("heartbeat", KeyRange::Prefix(HEARTBEAT), listing.revision).await?;
            Ok((store, watch))
        };
        let told = |result: Result<(S, S::Watch), SessionError>| match result {
            Ok((store, watch)) => Told::Connected(store, watch),
            Err(error) => failed(&error),
        };
        self.running.push(connect.map(told).boxed());
    }

    /// Keeps a connection that was made, and follows its heartbeat.
    pub(crate) fn connected(&mut self, store: S, heartbeat: S::Watch) {
        self.store = Some(store);
        self.run(|_, inputs| beats(heartbeat, inputs));
    }

    /// Follows the cluster's configuration.
    pub(crate) fn read_config(&mut self, cluster: ClusterName) {
        self.run(|store, inputs| config(store, Key::ClusterConfig(cluster).to_string(), inputs));
    }

    /// Follows the canaries.
    pub(crate) fn watch_canaries(&mut self, source: Arc<Source>) {
        self.run(|store, inputs| canaries(store, source, inputs));
    }

    /// Follows one kind of object.
    pub(crate) fn follow<R: Reading>(&mut self, reporter: &Arc<Reporter<R>>, source: Arc<Source>, resource: Resource) {
        let reporter = Arc::clone(reporter);
        self.run(|store, inputs| reporter.follow(store, source, resource, inputs));
    }

    /// Runs something on the connection until it fails.
    fn run<F>(&mut self, start: impl FnOnce(S, mpsc::Sender<Input>) -> F)
    where
        F: Future<Output = SessionError> + Send + 'static,
    {
        let Some(store) = self.store.clone() else { return };
        let future = start(store, self.sender.clone());
        self.running.push(future.map(|error| failed(&error)).boxed());
    }
}

fn failed<S: Kvstore>(error: &SessionError) -> Told<S> {
    Told::Input(Input::Failed(error.to_string()))
}

/// Tells what happened; false when nobody listens any more.
async fn tell(inputs: &mpsc::Sender<Input>, input: Input) -> bool {
    inputs.send(input).await.is_ok()
}

/// What the heartbeat says is ignored, so clocks that differ do no harm; that it changes is what counts.
async fn beats<W: Watch>(mut watch: W, inputs: mpsc::Sender<Input>) -> SessionError {
    loop {
        match watch.next().await {
            Ok(Change::Put { .. }) => {
                if !tell(&inputs, Input::Heartbeat).await {
                    return SessionError::ReceiverGone;
                }
            }
            Ok(Change::Delete { .. }) => {}
            Err(error) => return error,
        }
    }
}

/// Tells what a cluster says about itself, now and whenever it changes. The key is asked for alone: under Cilium's role
/// for a remote that is all that may be read.
async fn config<S: Kvstore>(store: S, key: String, inputs: mpsc::Sender<Input>) -> SessionError {
    const ACT: &str = "cluster configuration";
    let parse = |value: &[u8]| Input::ClusterConfig(Some(ClusterConfig::decode(value)));
    let result: Result<std::convert::Infallible, SessionError> = async {
        let listing = store.list(ACT, KeyRange::Key(&key)).await?;
        tell(&inputs, listing.entries.first().map_or(Input::ClusterConfig(None), |entry| parse(&entry.value))).await;
        let mut watch = store.watch(ACT, KeyRange::Key(&key), listing.revision).await?;
        loop {
            let input = match &watch.next().await? {
                Change::Put { value, .. } => parse(value),
                Change::Delete { .. } => Input::ClusterConfig(None),
            };
            if !tell(&inputs, input).await {
                return Err(SessionError::ReceiverGone);
            }
        }
    }
    .await;
    match result {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

/// Tells of each canary that is there, or comes.
async fn canaries<S: Kvstore>(store: S, source: Arc<Source>, inputs: mpsc::Sender<Input>) -> SessionError {
    const ACT: &str = "canaries";
    let prefix = synced_prefix(&source.cluster);
    let resource = |key: &[u8]| {
        let known = Resource::ALL
            .into_iter()
            .find(|resource| Key::synced(source.layout, &source.cluster, *resource).to_string().as_bytes() == key);
        known.map(Input::Canary)
    };
    loop {
        let result: Result<std::convert::Infallible, SessionError> = async {
            let listing = store.list(ACT, KeyRange::Prefix(&prefix)).await?;
            for input in listing.entries.iter().filter_map(|entry| resource(&entry.key)) {
                tell(&inputs, input).await;
            }
            let mut watch = store.watch(ACT, KeyRange::Prefix(&prefix), listing.revision).await?;
            loop {
                if let Change::Put { key, .. } = watch.next().await?
                    && let Some(input) = resource(&key)
                    && !tell(&inputs, input).await
                {
                    return Err(SessionError::ReceiverGone);
                }
            }
        }
        .await;
        match result {
            Ok(never) => match never {},
            Err(SessionError::Compacted { .. }) => {}
            Err(error) => return error,
        }
    }
}
