//! What the tests share: short ways to write objects, a node's agent with a model of its datapath, and meshes of
//! whole clusters.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use mesh_core::{
    AddressType, Conditions, Config, Effect, Event, ExportConfig, ExportEffect, ExportState, LocalEndpoint,
    LocalService, LocalSlice, RemoteEndpoint, RemoteSlice, ServicePort, SlicePort, State, TargetPort,
};
use mesh_types::{
    BackendState, ClusterId, ClusterName, Frontend, FrontendAddress, MaxConnectedClusters, Protocol, Scope, ServiceKey,
};
use mesh_wire::{ClusterService, Expected, Key};

pub(crate) const GLOBAL: (&str, &str) = ("service.cilium.io/global", "true");
pub(crate) const UNSHARED: (&str, &str) = ("service.cilium.io/shared", "false");
pub(crate) const LOCAL: (&str, &str) = ("service.cilium.io/affinity", "local");
pub(crate) const REMOTE: (&str, &str) = ("service.cilium.io/affinity", "remote");

pub(crate) fn cluster(name: &str) -> ClusterName {
    ClusterName::new(name).unwrap()
}

pub(crate) fn id(raw: u16) -> ClusterId {
    ClusterId::new(raw, MaxConnectedClusters::N511).unwrap()
}

pub(crate) fn key() -> ServiceKey {
    ServiceKey::new("test", "echo")
}

pub(crate) fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub(crate) fn tcp(ip: &str, port: u16) -> FrontendAddress {
    FrontendAddress { ip: self::ip(ip), port, protocol: Protocol::Tcp, scope: Scope::External }
}

pub(crate) fn service_port(name: &str, port: u16) -> ServicePort {
    let target = TargetPort::Number(port);
    ServicePort { name: name.to_owned(), port, protocol: Protocol::Tcp, node_port: None, target }
}

pub(crate) fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Service `test/echo` at 10.0.0.1:8080, unnamed port.
pub(crate) fn service(annotations: &[(&str, &str)]) -> LocalService {
    LocalService {
        cluster_ips: vec![ip("10.0.0.1")],
        ports: vec![service_port("", 8080)],
        annotations: texts(annotations),
        selector: texts(&[("name", "echo")]),
        ..LocalService::new(key())
    }
}

pub(crate) fn endpoint(address: &str, state: BackendState) -> LocalEndpoint {
    let (ready, serving, terminating) = match state {
        BackendState::Active => (true, true, false),
        BackendState::Terminating => (false, true, true),
        BackendState::TerminatingNotServing => (false, false, true),
        BackendState::Quarantined | BackendState::Maintenance => (false, false, false),
    };
    LocalEndpoint {
        addresses: vec![ip(address)],
        ready: Some(ready),
        serving: Some(serving),
        terminating: Some(terminating),
        ..LocalEndpoint::default()
    }
}

/// Slice `echo-1` of `test/echo` with the unnamed port 8080.
pub(crate) fn slice(endpoints: &[(&str, BackendState)]) -> LocalSlice {
    LocalSlice {
        namespace: "test".to_owned(),
        name: "echo-1".to_owned(),
        service: Some("echo".to_owned()),
        address_type: AddressType::Ipv4,
        ports: vec![SlicePort { name: String::new(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints: endpoints.iter().map(|(address, state)| endpoint(address, *state)).collect(),
        ..LocalSlice::default()
    }
}

pub(crate) fn service_event(service: LocalService) -> Event {
    Event::Service { key: service.key.clone(), service: Some(service) }
}

pub(crate) fn slice_event(slice: LocalSlice) -> Event {
    Event::Slice { namespace: slice.namespace.clone(), name: slice.name.clone(), slice: Some(slice) }
}

pub(crate) fn slice_deleted(name: &str) -> Event {
    Event::Slice { namespace: "test".to_owned(), name: name.to_owned(), slice: None }
}

/// `test/echo` of a remote cluster, from the JSON of its `backends`.
pub(crate) fn remote_value(cluster: &str, id: u16, backends: &str) -> ClusterService {
    let json = format!(
        r#"{{"cluster":"{cluster}","namespace":"test","name":"echo","backends":{backends},"shared":true,"clusterID":{id}}}"#
    );
    ClusterService::decode(json.as_bytes()).unwrap()
}

pub(crate) fn remote_event(cluster: &str, id: u16, backends: &str) -> Event {
    let service = Some(remote_value(cluster, id, backends));
    Event::RemoteService { cluster: self::cluster(cluster), cluster_id: self::id(id), key: key(), service }
}

pub(crate) fn remote_deleted(cluster: &str, id: u16) -> Event {
    Event::RemoteService { cluster: self::cluster(cluster), cluster_id: self::id(id), key: key(), service: None }
}

/// In which formats a remote cluster says that it exports.
pub(crate) fn exports(cluster: &str, mode: &str) -> Event {
    Event::RemoteExports { cluster: self::cluster(cluster), exports: mode.to_owned().into() }
}

/// Slice `echo-1` of `test/echo` of a remote cluster with the unnamed port 8080: addresses with their conditions
/// ready, serving and terminating.
pub(crate) fn remote_slice(cluster: &str, id: u16, endpoints: &[(&str, (bool, bool, bool))]) -> RemoteSlice {
    let endpoint = |(address, (ready, serving, terminating)): &(&str, (bool, bool, bool))| RemoteEndpoint {
        addresses: vec![ip(address)],
        conditions: Conditions { ready: Some(*ready), serving: Some(*serving), terminating: Some(*terminating) },
        ..RemoteEndpoint::default()
    };
    RemoteSlice {
        cluster: self::cluster(cluster),
        cluster_id: self::id(id),
        namespace: "test".to_owned(),
        name: "echo-1".to_owned(),
        service: Some("echo".to_owned()),
        address_type: AddressType::Ipv4,
        ports: vec![SlicePort { name: String::new(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}

pub(crate) fn remote_slice_event(slice: RemoteSlice) -> Event {
    Event::RemoteSlice {
        cluster: slice.cluster.clone(),
        cluster_id: slice.cluster_id,
        namespace: slice.namespace.clone(),
        name: slice.name.clone(),
        slice: Some(slice),
    }
}

pub(crate) fn remote_slice_deleted(cluster: &str, id: u16, name: &str) -> Event {
    Event::RemoteSlice {
        cluster: self::cluster(cluster),
        cluster_id: self::id(id),
        namespace: "test".to_owned(),
        name: name.to_owned(),
        slice: None,
    }
}

pub(crate) fn namespace(name: &str, annotations: Option<&[(&str, &str)]>) -> Event {
    Event::Namespace { name: name.to_owned(), annotations: annotations.map(texts) }
}

pub(crate) fn added(cluster: &str) -> Event {
    Event::RemoteAdded { cluster: self::cluster(cluster) }
}

pub(crate) fn synced(cluster: &str) -> Event {
    Event::RemoteSynced { cluster: self::cluster(cluster) }
}

pub(crate) fn config(cluster: &str, id: u16, restored: bool) -> Config {
    Config { restored, ..Config::new(self::cluster(cluster), self::id(id), format!("{cluster}-1")) }
}

pub(crate) fn export_config(cluster: &str, id: u16) -> ExportConfig {
    ExportConfig::new(self::cluster(cluster), self::id(id))
}

/// A node's agent and what its load balancer holds.
pub(crate) struct Agent {
    pub(crate) state: State,
    pub(crate) maps: BTreeMap<FrontendAddress, Frontend>,
}

impl Agent {
    pub(crate) fn new(config: Config) -> Self {
        Self { state: State::new(config), maps: BTreeMap::new() }
    }

    /// Agent of cluster `alpha` (ID 1) that is past its start.
    pub(crate) fn running() -> Self {
        let mut agent = Self::new(config("alpha", 1, false));
        agent.step(Event::LocalSynced);
        agent
    }

    /// Takes in an event, does what the effects say, and insists that each of them changes something.
    pub(crate) fn step(&mut self, event: Event) -> Vec<Effect> {
        let effects = self.state.step(event);
        for effect in &effects {
            match effect {
                Effect::Upsert(frontend) => {
                    let old = self.maps.insert(frontend.address, frontend.clone());
                    assert_ne!(old.as_ref(), Some(frontend), "upsert of what is there already");
                    let sorted = frontend.backends.is_sorted();
                    let addresses: BTreeSet<_> = frontend.backends.iter().map(|backend| backend.address).collect();
                    assert!(sorted && addresses.len() == frontend.backends.len(), "{frontend:?}");
                }
                Effect::Delete(address) => assert!(self.maps.remove(address).is_some(), "deletion of nothing"),
                Effect::Prune(keep) => self.maps.retain(|address, _| keep.contains(address)),
            }
        }
        effects
    }

    pub(crate) fn steps(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.step(event);
        }
    }

    /// Backends of a frontend as `ip:port`, or `ip:port@cluster`, with `terminating` said.
    pub(crate) fn backends(&self, frontend: FrontendAddress) -> Vec<String> {
        let frontend = self.maps.get(&frontend).unwrap_or_else(|| panic!("no frontend {frontend}"));
        let text = |backend: &mesh_types::Backend| {
            let mut text = format!("{}:{}", backend.address.ip, backend.address.port);
            if let Some(cluster) = backend.cluster {
                text += &format!("@{cluster}");
            }
            if backend.state != BackendState::Active {
                text += &format!(" {}", backend.state);
            }
            text
        };
        frontend.backends.iter().map(text).collect()
    }

    /// Backends of `test/echo`.
    pub(crate) fn echo(&self) -> Vec<String> {
        self.backends(tcp("10.0.0.1", 8080))
    }
}

/// One whole cluster of a mesh: its exporter, its kvstore and one of its agents.
pub(crate) struct Cluster {
    name: &'static str,
    id: u16,
    pub(crate) agent: Agent,
    exporter: ExportState,
}

impl Cluster {
    pub(crate) fn new(name: &'static str, id: u16, exporter: ExportConfig) -> Self {
        let mut agent = Agent::new(config(name, id, false));
        let mut exporter = ExportState::new(exporter);
        agent.step(Event::LocalSynced);
        exporter.step(Event::LocalSynced);
        Self { name, id, agent, exporter }
    }

    /// A local event, and what comes of it at a peer: every byte takes the way of a real one.
    pub(crate) fn local(&mut self, event: Event, peer: &mut Self) {
        self.agent.step(event.clone());
        for effect in self.exporter.step(event) {
            let (key, value) = match effect {
                ExportEffect::Put { key, value } => (key, Some(value)),
                ExportEffect::Delete { key } => (key, None),
                ExportEffect::Synced | ExportEffect::PutSlice(_) | ExportEffect::DeleteSlice { .. } => continue,
            };
            let Ok(Key::Service { cluster, key, .. }) = key.parse() else { panic!("{key}") };
            let expected = Expected { cluster: &self::cluster(self.name), cluster_id: id(self.id), key: &key };
            let service = value.map(|value| ClusterService::decode_expected(&value, expected).unwrap());
            peer.agent.step(Event::RemoteService { cluster, cluster_id: id(self.id), key, service });
        }
    }
}

/// Two clusters, `alpha` (ID 1, pod 10.1.0.1) and `beta` (ID 2, pod 10.2.0.1), each with its own `test/echo`.
pub(crate) fn two_clusters(alpha: &[(&str, &str)], beta: &[(&str, &str)]) -> (Cluster, Cluster) {
    let mut clusters =
        (Cluster::new("alpha", 1, export_config("alpha", 1)), Cluster::new("beta", 2, export_config("beta", 2)));
    deploy(&mut clusters, alpha, beta);
    clusters
}

pub(crate) fn deploy((one, two): &mut (Cluster, Cluster), alpha: &[(&str, &str)], beta: &[(&str, &str)]) {
    one.agent.step(added("beta"));
    two.agent.step(added("alpha"));
    one.local(service_event(service(alpha)), two);
    one.local(slice_event(slice(&[("10.1.0.1", BackendState::Active)])), two);
    two.local(service_event(service(beta)), one);
    two.local(slice_event(slice(&[("10.2.0.1", BackendState::Active)])), one);
}
