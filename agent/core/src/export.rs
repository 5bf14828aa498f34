//! What the local cluster exports: its global, shared services in format v1.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use mesh_planted::{Defect, planted};
use mesh_types::{ClusterId, ClusterName, ServiceKey};
use mesh_wire::{BackendZone, ClusterService, Key, L4Address, Layout, PortConfiguration};

use crate::{
    Event, LocalEndpoint, LocalService, LocalSlice, ServiceKind, ServicePort,
    annotation::{is_global, is_shared},
    local_objects::LocalObjects,
};

/// The value that `cluster` exports for `service`, if it exports it: it must be global and shared.
///
/// A backend is included when it is ready or serving. The conditions themselves are lost in this format, so a
/// terminating backend that still serves looks active to other clusters.
pub fn export<'a>(
    cluster: &ClusterName,
    id: ClusterId,
    service: &LocalService,
    slices: impl Iterator<Item = &'a LocalSlice>,
) -> Option<ClusterService> {
    let shared = is_shared(&service.annotations) || (planted(Defect::SharedIgnored) && is_global(&service.annotations));
    if !shared || service.kind == ServiceKind::ExternalName {
        return None;
    }
    let l4 = |port: &ServicePort| L4Address { protocol: port.protocol, port: port.port };
    let ports: PortConfiguration = service.ports.iter().map(|port| (port.name.clone(), l4(port))).collect();
    let mut exported = ClusterService {
        cluster: cluster.clone(),
        key: service.key.clone(),
        frontends: service.cluster_ips.iter().map(|ip| (IpAddr::V4(*ip), ports.clone())).collect(),
        backends: BTreeMap::new(),
        hostnames: BTreeMap::new(),
        zones: BTreeMap::new(),
        labels: service.labels.clone(),
        selector: service.selector.clone(),
        include_external: true,
        shared: true,
        cluster_id: id,
    };
    let serves =
        |endpoint: &&LocalEndpoint| endpoint.is_ready() || endpoint.is_serving() || planted(Defect::NotReadyExported);
    for slice in slices.filter(|slice| slice.service_key().as_ref() == Some(&service.key)) {
        for endpoint in slice.endpoints.iter().filter(serves) {
            add_endpoint(&mut exported, slice, endpoint);
        }
    }
    Some(exported)
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
    /// All services that there were at the start have been put: delete the keys of an earlier life (all under the
    /// prefix that are not among [`ExportState::keys`]), then write the synced canary. Comes once.
    Synced,
}

/// Who exports.
#[derive(Clone, Debug)]
pub struct ExportConfig {
    /// Name of the local cluster.
    pub cluster_name: ClusterName,
    /// ID of the local cluster.
    pub cluster_id: ClusterId,
}

/// Everything that the exporter of a cluster knows, and what it has told the kvstore client to write.
#[derive(Debug)]
pub struct ExportState {
    config: ExportConfig,
    /// Set by [`Event::LocalSynced`]. Before, a service would be exported without the slices still to come.
    synced: bool,
    local: LocalObjects,
    exported: BTreeMap<ServiceKey, Exported>,
}

#[derive(Debug)]
struct Exported {
    key: String,
    value: Vec<u8>,
}

impl ExportState {
    /// Nothing is known yet.
    pub fn new(config: ExportConfig) -> Self {
        Self { config, synced: false, local: LocalObjects::default(), exported: BTreeMap::new() }
    }

    /// Takes in an event and returns what changes in the kvstore by that. Events about remote clusters do nothing.
    pub fn step(&mut self, event: Event) -> Vec<ExportEffect> {
        match event {
            Event::Service { key, service } => {
                let touched: BTreeSet<_> = self.local.set_service(&key, service).then_some(key).into_iter().collect();
                self.reexport(&touched)
            }
            Event::Slice { namespace, name, slice } => {
                let touched = self.local.set_slice(namespace, name, slice).into_iter().collect();
                self.reexport(&touched)
            }
            Event::LocalSynced if !self.synced => {
                self.synced = true;
                let all = self.local.services().map(|(key, _)| key.clone()).collect();
                let mut effects = self.reexport(&all);
                effects.push(ExportEffect::Synced);
                effects
            }
            Event::LocalSynced
            | Event::RemoteAdded { .. }
            | Event::RemoteService { .. }
            | Event::RemoteSynced { .. }
            | Event::RemoteRemoved { .. }
            | Event::InitTimeout => Vec::new(),
        }
    }

    /// The keys that the kvstore should hold now, under the prefix of the cluster's services.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.exported.values().map(|exported| exported.key.as_str())
    }

    /// The keys and values that the kvstore should hold now: what is written again after a lost lease.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.exported.values().map(|exported| (exported.key.as_str(), exported.value.as_slice()))
    }

    fn reexport(&mut self, touched: &BTreeSet<ServiceKey>) -> Vec<ExportEffect> {
        if !self.synced {
            return Vec::new();
        }
        touched.iter().filter_map(|key| self.reexport_service(key)).collect()
    }

    fn reexport_service(&mut self, key: &ServiceKey) -> Option<ExportEffect> {
        let Some(service) = self.value(key) else {
            let old = self.exported.remove(key)?;
            return Some(ExportEffect::Delete { key: old.key });
        };
        let value = service.encode();
        if self.exported.get(key).is_some_and(|old| old.value == value) {
            return None;
        }
        let text = Key::service(Layout::State, &self.config.cluster_name, key).to_string();
        self.exported.insert(key.clone(), Exported { key: text.clone(), value: value.clone() });
        Some(ExportEffect::Put { key: text, value })
    }

    fn value(&self, key: &ServiceKey) -> Option<ClusterService> {
        let service = self.local.service(key)?;
        let ExportConfig { cluster_name, cluster_id, .. } = &self.config;
        export(cluster_name, *cluster_id, service, self.local.slices(key))
    }
}
