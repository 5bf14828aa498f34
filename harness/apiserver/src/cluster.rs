//! The cluster's state together with the controllers that keep it in order.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard};

use serde_json::json;

use crate::controllers::Controllers;
use crate::kinds::Kind;
use crate::network::Network;
use crate::options::Options;
use crate::registry::{self, WriteOptions};
use crate::store::{Entropy, State};

/// One emulated cluster.
///
/// A write and everything that the controllers make of it are committed under one lock, in the writer's thread: there
/// is no queue to wait in, so that the endpoint slice of a pod that became ready is on its way to the watchers before
/// the kubelet has its answer.
pub(crate) struct Cluster {
    inner: Mutex<Inner>,
}

struct Inner {
    state: State,
    controllers: Controllers,
}

impl Cluster {
    /// A cluster with what every cluster has: namespaces, and the service `kubernetes` that leads to `address`.
    /// None when the service range has no room for it.
    pub(crate) fn new(options: &Options, address: SocketAddr) -> Option<Self> {
        let network = Network::new(options.service_cidr, options.pod_cidr)?;
        let state = State::new(options.limits, Entropy::new(options.seed), network);
        let cluster = Self { inner: Mutex::new(Inner { state, controllers: Controllers::default() }) };
        cluster.write(|state| furnish(state, address));
        Some(cluster)
    }

    /// Looks at the newest revision.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.lock().state)
    }

    /// Makes changes, and lets the controllers react to them.
    pub(crate) fn write<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let inner = &mut *self.lock();
        let result = change(&mut inner.state);
        inner.controllers.react(&mut inner.state);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("a panic inside of a change is a bug that must not be covered up")
    }
}

fn furnish(state: &mut State, address: SocketAddr) {
    let options = WriteOptions::default();
    let mut create = |kind: Kind, namespace: Option<&str>, body| {
        registry::create(state, kind, namespace, body, &options).expect("the first objects are valid")
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
