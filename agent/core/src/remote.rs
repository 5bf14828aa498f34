//! The newest services of every remote cluster.

use std::collections::{BTreeMap, BTreeSet};

use mesh_planted::{Defect, planted};
use mesh_types::{ClusterId, ClusterName, ServiceKey};
use mesh_wire::ClusterService;

#[derive(Debug, Default)]
pub(crate) struct RemoteClusters(BTreeMap<ClusterName, RemoteCluster>);

#[derive(Debug, Default)]
struct RemoteCluster {
    /// Unknown until its first service.
    id: Option<ClusterId>,
    synced: bool,
    services: BTreeMap<ServiceKey, RemoteService>,
}

#[derive(Debug)]
struct RemoteService {
    value: ClusterService,
    age: Age,
}

/// Whether a service was reported since its cluster's reader last started over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Fresh,
    Stale,
}

/// Services whose remote backends changed.
pub(crate) type Touched = BTreeSet<ServiceKey>;

impl RemoteClusters {
    /// A reader of `cluster` starts, or starts over. Nothing that is known of it is dropped yet.
    pub(crate) fn add(&mut self, cluster: ClusterName) {
        let remote = self.0.entry(cluster).or_default();
        remote.synced = false;
        remote.services.values_mut().for_each(|service| service.age = Age::Stale);
    }

    /// Takes the newest value of a service.
    pub(crate) fn set_service(
        &mut self,
        cluster: &ClusterName,
        id: ClusterId,
        key: ServiceKey,
        value: Option<ClusterService>,
    ) -> Touched {
        let Some(remote) = self.0.get_mut(cluster) else {
            // Only the tail of what a reader had sent when its cluster was removed.
            tracing::debug!(%cluster, service = %key, "service of a remote cluster that is not configured, ignored");
            return Touched::new();
        };
        let mut touched = Touched::new();
        if remote.id.is_some_and(|old| old != id) {
            tracing::warn!(%cluster, %id, "remote cluster has another ID than before, its services are dropped");
            touched.extend(std::mem::take(&mut remote.services).into_keys());
        }
        remote.id = Some(id);
        let old = match value {
            None => remote.services.remove(&key).map(|_| ()),
            Some(value) => match remote.services.get_mut(&key) {
                Some(held) if held.value == value => {
                    held.age = Age::Fresh;
                    None
                }
                _ => {
                    remote.services.insert(key.clone(), RemoteService { value, age: Age::Fresh });
                    Some(())
                }
            },
        };
        touched.extend(old.map(|()| key));
        touched
    }

    /// The reader of `cluster` has reported all that there is: what is stale is gone.
    pub(crate) fn set_synced(&mut self, cluster: &ClusterName) -> Touched {
        let Some(remote) = self.0.get_mut(cluster) else { return Touched::new() };
        remote.synced = true;
        remote.services.extract_if(.., |_, service| service.age == Age::Stale).map(|(key, _)| key).collect()
    }

    /// Drops all of `cluster`.
    pub(crate) fn remove(&mut self, cluster: &ClusterName) -> Touched {
        self.0.remove(cluster).map(|remote| remote.services.into_keys().collect()).unwrap_or_default()
    }

    pub(crate) fn all_synced(&self) -> bool {
        self.0.values().all(|remote| remote.synced)
    }

    /// Number of services that `cluster` exports.
    pub(crate) fn count(&self, cluster: &ClusterName) -> usize {
        self.0.get(cluster).map_or(0, |remote| remote.services.len())
    }

    /// The service `key` in every remote cluster that exports it, in order of cluster ID (then name).
    pub(crate) fn services<'a>(&'a self, key: &ServiceKey) -> Vec<(ClusterId, &'a ClusterService)> {
        let of = |remote: &'a RemoteCluster| Some((remote.id?, &remote.services.get(key)?.value));
        let mut services: Vec<_> = self.0.values().filter_map(of).collect();
        if planted(Defect::NamespaceIgnored) {
            services = self.namesakes(key);
        }
        services.sort_by_key(|(id, _)| *id);
        services
    }

    /// [`Defect::NamespaceIgnored`]: the services of that name in every namespace of every remote cluster.
    fn namesakes<'a>(&'a self, key: &ServiceKey) -> Vec<(ClusterId, &'a ClusterService)> {
        let named = |(of, service): (&ServiceKey, &'a RemoteService)| (of.name == key.name).then_some(&service.value);
        let of = |remote: &'a RemoteCluster| {
            let id = remote.id;
            remote.services.iter().filter_map(named).filter_map(move |value| Some((id?, value)))
        };
        self.0.values().flat_map(of).collect()
    }
}
