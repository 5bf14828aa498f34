//! What the local cluster exports: its global, shared services in format v1, as endpoint slices (v2), or both.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use mesh_planted::{Defect, planted};
use mesh_types::{ClusterId, ClusterName, ServiceKey};
use mesh_wire::{
    AddressType, BackendZone, ClusterService, Endpoint, EndpointPort, EndpointSlice, EndpointSliceKey, Key, L4Address,
    Layout, PortConfiguration,
};

use crate::{
    Event, ExportFormats, LocalEndpoint, LocalService, LocalSlice, ServiceKind, ServicePort,
    annotation::{is_global, is_shared},
    local_objects::LocalObjects,
    namespaces::Namespaces,
    slices::{Slice as _, SliceId},
};

/// The value that `cluster` exports for `service`, if it exports it: it must be global and shared.
///
/// Whether its namespace is global is for the caller to ask. A headless service has no frontends, only backends.
///
/// A backend is included when it is ready or serving. The conditions themselves are lost in this format, so a
/// terminating backend that still serves looks active to other clusters.
pub fn export<'a>(
    cluster: &ClusterName,
    id: ClusterId,
    service: &LocalService,
    slices: impl Iterator<Item = &'a LocalSlice>,
) -> Option<ClusterService> {
    if !is_exported(service) {
        return None;
    }
    let cluster_ips = if service.is_headless() { &[] } else { service.cluster_ips.as_slice() };
    let l4 = |port: &ServicePort| L4Address { protocol: port.protocol, port: port.port };
    let ports: PortConfiguration = service.ports.iter().map(|port| (port.name.clone(), l4(port))).collect();
    let mut exported = ClusterService {
        cluster: cluster.clone(),
        key: service.key.clone(),
        frontends: cluster_ips.iter().map(|ip| (IpAddr::V4(*ip), ports.clone())).collect(),
        backends: BTreeMap::new(),
        hostnames: BTreeMap::new(),
        zones: BTreeMap::new(),
        labels: service.labels.clone(),
        selector: service.selector.clone(),
        include_external: true,
        shared: true,
        cluster_id: id,
    };
    let serves = |endpoint: &&LocalEndpoint| {
        let conditions = endpoint.conditions();
        conditions.is_ready() || conditions.is_serving() || planted(Defect::NotReadyExported)
    };
    for slice in slices.filter(|slice| slice.service_key().as_ref() == Some(&service.key)) {
        for endpoint in slice.endpoints.iter().filter(serves) {
            add_endpoint(&mut exported, slice, endpoint);
        }
    }
    Some(exported)
}

fn is_exported(service: &LocalService) -> bool {
    let shared = is_shared(&service.annotations) || (planted(Defect::SharedIgnored) && is_global(&service.annotations));
    shared && service.kind != ServiceKind::ExternalName
}

fn add_endpoint(exported: &mut ClusterService, slice: &LocalSlice, endpoint: &LocalEndpoint) {
    for ip in &endpoint.addresses {
        let ports = exported.backends.entry(IpAddr::V4(*ip)).or_default();
        for port in &slice.ports {
            ports.insert(port.name.clone(), L4Address { protocol: port.protocol, port: port.port });
        }
        if let Some(hostname) = endpoint.hostname.as_ref().filter(|hostname| !hostname.is_empty()) {
            exported.hostnames.insert(ip.to_string(), hostname.clone());
        }
        // As in Cilium, hints of an endpoint without a zone are not exported.
        if let Some(zone) = endpoint.zone.as_ref().filter(|zone| !zone.is_empty()) {
            let zone = BackendZone { zone: zone.clone(), for_zones: endpoint.hints.clone() };
            exported.zones.insert(ip.to_string(), zone);
        }
    }
}

/// An endpoint slice as the local cluster exports it (format v2): whole, with endpoints that are not ready and with the
/// names of their nodes. Of a dual-stack service only the slices with IPv4 addresses are exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedSlice {
    /// The local cluster.
    pub cluster: ClusterName,
    /// Its ID.
    pub cluster_id: ClusterId,
    /// The slice.
    pub slice: LocalSlice,
}

impl From<&ExportedSlice> for EndpointSlice {
    fn from(exported: &ExportedSlice) -> Self {
        let ExportedSlice { cluster, cluster_id, slice } = exported;
        let endpoints = slice.endpoints.iter().map(|endpoint| Endpoint {
            addresses: endpoint.addresses.iter().copied().map(IpAddr::V4).collect(),
            ready: endpoint.ready,
            serving: endpoint.serving,
            terminating: endpoint.terminating,
            hostname: endpoint.hostname.clone(),
            deprecated_topology: BTreeMap::new(),
            node: endpoint.node_name.clone(),
            zone: endpoint.zone.clone(),
            for_zones: (!endpoint.hints.is_empty()).then(|| endpoint.hints.clone()),
        });
        let ports = slice.ports.iter().map(|port| EndpointPort {
            name: Some(port.name.clone()),
            protocol: Some(port.protocol),
            port: Some(port.port),
            app_protocol: None,
        });
        Self {
            cluster: cluster.clone(),
            cluster_id: *cluster_id,
            key: EndpointSliceKey::new(&slice.namespace, &slice.name),
            labels: slice.labels.clone(),
            annotations: slice.annotations.clone(),
            address_type: AddressType::Ipv4,
            endpoints: endpoints.collect(),
            ports: ports.collect(),
        }
    }
}

/// Something that the kvstore client should do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportEffect {
    /// Write this key.
    Put {
        /// Full key.
        key: String,
        /// Value, ready to be written.
        value: Vec<u8>,
    },
    /// Delete this key.
    Delete {
        /// Full key.
        key: String,
    },
    /// Write an endpoint slice under its namespace and name.
    PutSlice(ExportedSlice),
    /// Delete an endpoint slice.
    DeleteSlice {
        /// Namespace.
        namespace: String,
        /// Name of the slice.
        name: String,
    },
    /// All that there was at the start has been put: delete the keys of an earlier life (all under the prefixes that
    /// are not among [`ExportState::keys`] and [`ExportState::slices`]), then write the synced canaries. Comes once.
    Synced,
}

/// Who exports.
#[derive(Clone, Debug)]
pub struct ExportConfig {
    /// Name of the local cluster.
    pub cluster_name: ClusterName,
    /// ID of the local cluster.
    pub cluster_id: ClusterId,
    /// In which formats.
    pub formats: ExportFormats,
    /// Whether services of a namespace that does not say are exported if they say so
    /// (`--clustermesh-default-global-namespace`).
    pub default_global_namespace: bool,
}

impl ExportConfig {
    /// A configuration for Cilium 1.19's format, with its defaults.
    pub fn new(cluster_name: ClusterName, cluster_id: ClusterId) -> Self {
        Self { cluster_name, cluster_id, formats: ExportFormats::default(), default_global_namespace: true }
    }
}

/// Everything that the exporter of a cluster knows, and what it has told the kvstore client to write.
#[derive(Debug)]
pub struct ExportState {
    config: ExportConfig,
    /// Set by [`Event::LocalSynced`]. Before, a service would be exported without the slices still to come.
    synced: bool,
    namespaces: Namespaces,
    local: LocalObjects,
    services: BTreeMap<ServiceKey, Exported>,
    slices: BTreeMap<SliceId, ExportedSlice>,
}

#[derive(Debug)]
struct Exported {
    key: String,
    value: Vec<u8>,
}

/// What could have to be written anew.
#[derive(Debug, Default)]
struct Touched {
    services: BTreeSet<ServiceKey>,
    slices: BTreeSet<SliceId>,
}

impl ExportState {
    /// Nothing is known yet.
    pub fn new(config: ExportConfig) -> Self {
        Self {
            synced: false,
            namespaces: Namespaces::new(config.default_global_namespace),
            local: LocalObjects::default(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            config,
        }
    }

    /// Takes in an event and returns what changes in the kvstore by that. Events about remote clusters and about nodes
    /// do nothing.
    pub fn step(&mut self, event: Event) -> Vec<ExportEffect> {
        match event {
            Event::Service { key, service } => {
                let changed = self.local.set_service(&key, service);
                let touched = self.touched(changed.then_some(key));
                self.reexport(&touched)
            }
            Event::Slice { namespace, name, slice } => {
                let id = (namespace.clone(), name.clone());
                let services: BTreeSet<_> = self.local.set_slice(namespace, name, slice).into_iter().collect();
                let slices = (!services.is_empty()).then_some(id).into_iter().collect();
                self.reexport(&Touched { services, slices })
            }
            Event::Namespace { name, annotations } => {
                let changed = self.namespaces.set(&name, annotations.as_ref());
                let services: Vec<_> = self.local.services_in(&name).filter(|_| changed).cloned().collect();
                let touched = self.touched(services);
                self.reexport(&touched)
            }
            Event::LocalSynced if !self.synced => {
                self.synced = true;
                let all: Vec<_> = self.local.services().map(|(key, _)| key.clone()).collect();
                let touched = self.touched(all);
                let mut effects = self.reexport(&touched);
                effects.push(ExportEffect::Synced);
                effects
            }
            Event::LocalSynced
            | Event::NodeZone { .. }
            | Event::NodeLabels { .. }
            | Event::NodeAddresses { .. }
            | Event::RemoteAdded { .. }
            | Event::RemoteExports { .. }
            | Event::RemoteService { .. }
            | Event::RemoteSlice { .. }
            | Event::RemoteSynced { .. }
            | Event::RemoteRemoved { .. }
            | Event::InitTimeout => Vec::new(),
        }
    }

    /// The keys that the kvstore should hold now, under the prefix of the cluster's services.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.services.values().map(|exported| exported.key.as_str())
    }

    /// The keys and values that the kvstore should hold now: what is written again after a lost lease.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.services.values().map(|exported| (exported.key.as_str(), exported.value.as_slice()))
    }

    /// The endpoint slices that the kvstore should hold now.
    pub fn slices(&self) -> impl Iterator<Item = &ExportedSlice> {
        self.slices.values()
    }

    /// Services that changed, with all of their slices.
    fn touched(&self, services: impl IntoIterator<Item = ServiceKey>) -> Touched {
        let services: BTreeSet<_> = services.into_iter().collect();
        let of = |slice: &LocalSlice| (slice.namespace.clone(), slice.name.clone());
        let slices = services.iter().flat_map(|key| self.local.slices(key)).map(of).collect();
        Touched { services, slices }
    }

    fn reexport(&mut self, touched: &Touched) -> Vec<ExportEffect> {
        if !self.synced {
            return Vec::new();
        }
        let mut effects = Vec::new();
        if self.config.formats.has_services() {
            effects.extend(touched.services.iter().filter_map(|key| self.reexport_service(key)));
        }
        if self.config.formats.has_endpoint_slices() {
            effects.extend(touched.slices.iter().filter_map(|id| self.reexport_slice(id)));
        }
        effects
    }

    fn reexport_service(&mut self, key: &ServiceKey) -> Option<ExportEffect> {
        let Some(service) = self.service(key) else {
            let old = self.services.remove(key)?;
            return Some(ExportEffect::Delete { key: old.key });
        };
        let value = service.encode();
        if self.services.get(key).is_some_and(|old| old.value == value) {
            return None;
        }
        let text = Key::service(Layout::State, &self.config.cluster_name, key).to_string();
        self.services.insert(key.clone(), Exported { key: text.clone(), value: value.clone() });
        Some(ExportEffect::Put { key: text, value })
    }

    fn reexport_slice(&mut self, id: &SliceId) -> Option<ExportEffect> {
        let Some(slice) = self.slice(id) else {
            self.slices.remove(id)?;
            return Some(ExportEffect::DeleteSlice { namespace: id.0.clone(), name: id.1.clone() });
        };
        if self.slices.get(id) == Some(&slice) {
            return None;
        }
        self.slices.insert(id.clone(), slice.clone());
        Some(ExportEffect::PutSlice(slice))
    }

    /// The value to export for a service, if any.
    fn service(&self, key: &ServiceKey) -> Option<ClusterService> {
        let service = self.local.service(key).filter(|_| self.namespaces.is_global(&key.namespace))?;
        export(&self.config.cluster_name, self.config.cluster_id, service, self.local.slices(key))
    }

    /// The value to export for a slice, if any: that of a service that is exported.
    fn slice(&self, id: &SliceId) -> Option<ExportedSlice> {
        let (key, slice) = self.local.slice(id)?;
        let service = self.local.service(key).filter(|_| self.namespaces.is_global(&key.namespace))?;
        let ExportConfig { cluster_name, cluster_id, .. } = &self.config;
        is_exported(service).then(|| ExportedSlice {
            cluster: cluster_name.clone(),
            cluster_id: *cluster_id,
            slice: slice.clone(),
        })
    }
}
