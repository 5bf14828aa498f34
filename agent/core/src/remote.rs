//! The newest services and endpoint slices of every remote cluster.

use std::collections::{BTreeMap, BTreeSet};

use mesh_planted::{Defect, planted};
use mesh_types::{ClusterId, ClusterName, ServiceKey};
use mesh_wire::{ClusterService, EndpointSlicesExportMode};

use crate::{
    RemoteSlice, ServiceFormat, ServiceV2,
    slices::{SliceId, Slices},
};

#[derive(Debug)]
pub(crate) struct RemoteClusters {
    mode: ServiceV2,
    clusters: BTreeMap<ClusterName, RemoteCluster>,
}

#[derive(Debug, Default)]
struct RemoteCluster {
    /// Unknown until its first service or slice.
    id: Option<ClusterId>,
    /// What it says that it writes. Both formats are kept as they come; this decides which one counts.
    exports: EndpointSlicesExportMode,
    synced: bool,
    services: BTreeMap<ServiceKey, ClusterService>,
    slices: Slices<RemoteSlice>,
    /// Not reported yet since the cluster's reader last started over.
    stale_services: BTreeSet<ServiceKey>,
    stale_slices: BTreeSet<SliceId>,
}

/// Services whose remote backends may have changed.
pub(crate) type Touched = BTreeSet<ServiceKey>;

/// What one remote cluster says about a service, in the format that counts.
#[derive(Debug)]
pub(crate) enum RemoteBackends<'a> {
    /// Its service v1.
    Service(&'a ClusterService),
    /// One of its slices.
    Slice(&'a RemoteSlice),
}

impl RemoteClusters {
    pub(crate) fn new(mode: ServiceV2) -> Self {
        Self { mode, clusters: BTreeMap::new() }
    }

    /// A reader of `cluster` starts, or starts over. Nothing that is known of it is dropped yet.
    pub(crate) fn add(&mut self, cluster: ClusterName) {
        let remote = self.clusters.entry(cluster).or_default();
        remote.synced = false;
        remote.stale_services = remote.services.keys().cloned().collect();
        remote.stale_slices = remote.slices.ids().cloned().collect();
    }

    /// Takes what `cluster` says that it writes.
    pub(crate) fn set_exports(&mut self, cluster: &ClusterName, exports: EndpointSlicesExportMode) -> Touched {
        let Some(remote) = self.clusters.get_mut(cluster) else { return Touched::new() };
        let format = self.mode.reads(&exports);
        if format.is_none() {
            tracing::error!(
                %cluster,
                "Remote cluster does not export endpoint slices while only they are to be read: global services get \
                 no backends from it"
            );
        }
        let changed = self.mode.reads(&remote.exports) != format;
        remote.exports = exports;
        if changed { remote.keys() } else { Touched::new() }
    }

    /// Takes the newest value of a service.
    pub(crate) fn set_service(
        &mut self,
        cluster: &ClusterName,
        id: ClusterId,
        key: ServiceKey,
        value: Option<ClusterService>,
    ) -> Touched {
        let Some(remote) = self.clusters.get_mut(cluster) else {
            // Only the tail of what a reader had sent when its cluster was removed.
            tracing::debug!(%cluster, service = %key, "service of a remote cluster that is not configured, ignored");
            return Touched::new();
        };
        let mut touched = remote.set_id(cluster, id);
        remote.stale_services.remove(&key);
        let changed = match value {
            None => remote.services.remove(&key).is_some(),
            Some(value) if remote.services.get(&key) == Some(&value) => false,
            Some(value) => {
                remote.services.insert(key.clone(), value);
                true
            }
        };
        touched.extend(changed.then_some(key));
        touched
    }

    /// Takes the newest value of an endpoint slice.
    pub(crate) fn set_slice(
        &mut self,
        cluster: &ClusterName,
        id: ClusterId,
        slice_id: SliceId,
        value: Option<RemoteSlice>,
    ) -> Touched {
        let Some(remote) = self.clusters.get_mut(cluster) else {
            let (namespace, name) = slice_id;
            tracing::debug!(%cluster, namespace, name, "slice of a remote cluster that is not configured, ignored");
            return Touched::new();
        };
        let mut touched = remote.set_id(cluster, id);
        remote.stale_slices.remove(&slice_id);
        touched.extend(remote.slices.set(slice_id, value));
        touched
    }

    /// The reader of `cluster` has reported all that there is: what is stale is gone.
    pub(crate) fn set_synced(&mut self, cluster: &ClusterName) -> Touched {
        let Some(remote) = self.clusters.get_mut(cluster) else { return Touched::new() };
        remote.synced = true;
        let mut touched = std::mem::take(&mut remote.stale_services);
        remote.services.retain(|key, _| !touched.contains(key));
        for id in std::mem::take(&mut remote.stale_slices) {
            touched.extend(remote.slices.set(id, None));
        }
        touched
    }

    /// Drops all of `cluster`.
    pub(crate) fn remove(&mut self, cluster: &ClusterName) -> Touched {
        self.clusters.remove(cluster).map(|remote| remote.keys()).unwrap_or_default()
    }

    pub(crate) fn all_synced(&self) -> bool {
        self.clusters.values().all(|remote| remote.synced)
    }

    /// Number of services that `cluster` exports in the format that counts.
    pub(crate) fn count(&self, cluster: &ClusterName) -> usize {
        let Some(remote) = self.clusters.get(cluster) else { return 0 };
        match self.mode.reads(&remote.exports) {
            Some(ServiceFormat::Services) => remote.services.len(),
            Some(ServiceFormat::EndpointSlices) => remote.slices.services().len(),
            None => 0,
        }
    }

    /// What every remote cluster says about the service `key`, in order of cluster ID (then name).
    pub(crate) fn backends(&self, key: &ServiceKey) -> Vec<(ClusterId, RemoteBackends<'_>)> {
        let mut backends = Vec::new();
        for remote in self.clusters.values() {
            let (Some(id), Some(format)) = (remote.id, self.mode.reads(&remote.exports)) else { continue };
            let of_key = if planted(Defect::NamespaceIgnored) {
                remote.namesakes(format, key)
            } else {
                remote.backends(format, key)
            };
            backends.extend(of_key.into_iter().map(|one| (id, one)));
        }
        backends.sort_by_key(|(id, _)| *id);
        backends
    }
}

impl RemoteCluster {
    /// Takes the cluster's ID. Another one than before drops everything: its values are of another cluster.
    fn set_id(&mut self, cluster: &ClusterName, id: ClusterId) -> Touched {
        if self.id.replace(id).is_none_or(|old| old == id) {
            return Touched::new();
        }
        tracing::warn!(%cluster, %id, "remote cluster has another ID than before, its services are dropped");
        let touched = self.keys();
        self.services.clear();
        self.slices = Slices::default();
        self.stale_services.clear();
        self.stale_slices.clear();
        touched
    }

    /// All services that are known in either format.
    fn keys(&self) -> Touched {
        self.services.keys().chain(self.slices.services()).cloned().collect()
    }

    fn backends(&self, format: ServiceFormat, key: &ServiceKey) -> Vec<RemoteBackends<'_>> {
        match format {
            ServiceFormat::Services => self.services.get(key).map(RemoteBackends::Service).into_iter().collect(),
            ServiceFormat::EndpointSlices => self.slices.of(key).map(RemoteBackends::Slice).collect(),
        }
    }

    /// [`Defect::NamespaceIgnored`]: those of the services of that name in every namespace.
    fn namesakes(&self, format: ServiceFormat, key: &ServiceKey) -> Vec<RemoteBackends<'_>> {
        match format {
            ServiceFormat::Services => {
                let named = self.services.iter().filter(|(of, _)| of.name == key.name);
                named.map(|(_, service)| RemoteBackends::Service(service)).collect()
            }
            ServiceFormat::EndpointSlices => {
                let named = self.slices.all().filter(|(of, _)| of.name == key.name);
                named.map(|(_, slice)| RemoteBackends::Slice(slice)).collect()
            }
        }
    }
}
