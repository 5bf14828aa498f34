//! The cluster's state together with the controllers that keep it in order.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::controllers::Controllers;
use crate::json;
use crate::kinds::Kind;
use crate::network::Network;
use crate::options::Options;
use crate::registry::{self, Part, WriteOptions};
use crate::store::{Entropy, Journal, JournalError, Key, State};

/// One emulated cluster.
///
/// A write and everything that the controllers make of it are committed under one lock, in the writer's thread: there
/// is no queue to wait in, so that the endpoint slice of a pod that became ready is on its way to the watchers before
/// the kubelet has its answer.
pub(crate) struct Cluster {
    inner: Mutex<Inner>,
    /// Tells whoever keeps the time that there is something to be done earlier.
    wake: Notify,
    failed: CancellationToken,
}

struct Inner {
    state: State,
    controllers: Controllers,
    /// When whoever keeps the time looks next.
    armed: Option<Instant>,
    /// Why changes can no longer be kept, until somebody has asked.
    failure: Option<JournalError>,
}

/// A cluster cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    /// The service range has no room for the service `kubernetes`.
    #[error("the service range is too small")]
    ServiceRange,
    /// What was kept cannot be read, or nothing be kept.
    #[error("the data folder cannot be used")]
    Journal(#[source] JournalError),
}

impl Cluster {
    /// A cluster as it was left, with what every cluster has: namespaces, and the service `kubernetes` that leads to
    /// `address`.
    pub(crate) fn new(options: &Options, address: SocketAddr) -> Result<Self, ClusterError> {
        let network = Network::new(options.service_cidr, options.pod_cidr).ok_or(ClusterError::ServiceRange)?;
        let mut state = State::new(options.limits, Entropy::new(options.seed), network);
        let mut controllers = Controllers::new(options.node_monitor_grace_period);
        if let Some(directory) = &options.data_dir {
            let (journal, restored) = Journal::open(directory).map_err(ClusterError::Journal)?;
            state.restore(journal, restored);
            controllers.resume(&state, Instant::now());
        }
        let inner = Mutex::new(Inner { state, controllers, armed: None, failure: None });
        let cluster = Self { inner, wake: Notify::new(), failed: CancellationToken::new() };
        cluster.write(|state| furnish(state, address));
        match cluster.failure() {
            Some(error) => Err(ClusterError::Journal(error)),
            None => Ok(cluster),
        }
    }

    /// Looks at the newest revision.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.lock().state)
    }

    /// Makes changes, lets the controllers react to them, and keeps it all.
    pub(crate) fn write<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.act(|inner, _| change(&mut inner.state))
    }

    /// Does what time alone asks for, as long as it is polled.
    pub(crate) async fn keep_time(&self) {
        loop {
            let next = {
                let mut inner = self.lock();
                inner.armed = inner.controllers.next_deadline();
                inner.armed
            };
            tokio::select! {
                () = self.wake.notified() => {}
                () = until(next) => self.act(|inner, now| inner.controllers.on_time(&mut inner.state, now)),
            }
        }
    }

    /// Resolves when changes can no longer be kept; then the cluster is in memory only, and must not go on.
    pub(crate) async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Why changes can no longer be kept; says it once.
    pub(crate) fn failure(&self) -> Option<JournalError> {
        self.lock().failure.take()
    }

    fn act<R>(&self, act: impl FnOnce(&mut Inner, Instant) -> R) -> R {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let now = Instant::now();
        let result = act(inner, now);
        inner.controllers.react(&mut inner.state, now);
        if let Err(error) = inner.state.keep() {
            inner.failure.get_or_insert(error);
            self.failed.cancel();
        }
        let next = inner.controllers.next_deadline();
        let earlier = next.is_some_and(|next| inner.armed.is_none_or(|armed| next < armed));
        drop(guard);
        if earlier {
            self.wake.notify_one();
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("a panic inside of a change is a bug that must not be covered up")
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Makes what every cluster has, and of what was kept from another start brings the address up to date.
fn furnish(state: &mut State, address: SocketAddr) {
    let options = WriteOptions::default();
    let mut create = |kind: Kind, namespace: Option<&str>, body: Value| {
        let key = Key::new(kind, namespace.unwrap_or_default(), json::text(&body, "/metadata/name"));
        let written = match state.get(&key) {
            None => registry::create(state, kind, namespace, body, &options),
            Some(_) if matches!(kind, Kind::EndpointSlice | Kind::Endpoints) => {
                registry::update(state, &key, body, Part::Main, &options)
            }
            Some(_) => return,
        };
        written.expect("the first objects are valid");
    };
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        create(Kind::Namespace, None, json!({"metadata": {"name": name}}));
    }
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service = json!({
        "metadata": {"name": "kubernetes", "labels": labels},
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": address.port()}]},
    });
    create(Kind::Service, Some("default"), service);
    let (family, ip) = match address.ip() {
        IpAddr::V4(ip) => ("IPv4", ip.to_string()),
        IpAddr::V6(ip) => ("IPv6", ip.to_string()),
    };
    let slice = json!({
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": family,
        "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": address.port(), "protocol": "TCP"}],
    });
    create(Kind::EndpointSlice, Some("default"), slice);
    let endpoints = json!({
        "metadata": {"name": "kubernetes", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": ip}], "ports": [{"name": "https", "port": address.port()}]}],
    });
    create(Kind::Endpoints, Some("default"), endpoints);
}
