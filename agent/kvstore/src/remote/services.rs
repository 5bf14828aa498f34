//! The services of a remote cluster: which ones are known, and what changes.

use std::collections::BTreeSet;

use mesh_planted::{Defect, planted};
use mesh_types::{ClusterId, ClusterName, ServiceKey};
use mesh_wire::{ClusterService, Expected, Key, Layout, Resource};

use crate::{
    error::chain,
    prefix::{Change, Listing},
    remote::RemoteEvent,
};

/// Where the services of a remote cluster are in its etcd, and what they must say.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Tree that they lie in.
    pub(crate) layout: Layout,
    /// The cluster's name.
    pub(crate) cluster: ClusterName,
    /// The cluster's ID, from its configuration.
    pub(crate) cluster_id: ClusterId,
}

impl Source {
    /// Prefix of the keys.
    pub(crate) fn prefix(&self) -> String {
        mesh_wire::prefix(Resource::Services, self.layout, &self.cluster)
    }
}

/// The services that were reported and not taken back. Outlives connections.
///
/// What is known changes only by [`Services::reported`], so that an event which never reached the receiver is made
/// again by the next listing.
#[derive(Debug, Default)]
pub(crate) struct Services {
    known: BTreeSet<ServiceKey>,
    malformed: u64,
}

impl Services {
    /// How many are known.
    pub(crate) fn count(&self) -> u64 {
        self.known.len() as u64
    }

    /// How many keys or values could not be read since start.
    pub(crate) fn malformed(&self) -> u64 {
        self.malformed
    }

    /// The events of a complete listing: everything in it, then deletions of everything known that is not in it. A
    /// value that cannot be read does not protect the service's old value here, as in Cilium.
    pub(crate) fn listed(&mut self, source: &Source, listing: &Listing) -> Vec<RemoteEvent> {
        let mut stale = self.known.clone();
        let mut events = Vec::with_capacity(listing.keys.len());
        for entry in &listing.keys {
            if let Some((key, service)) = self.read(source, entry.key(), entry.value()) {
                stale.remove(&key);
                let revision = entry.mod_revision();
                events.push(RemoteEvent::Service {
                    cluster_id: source.cluster_id,
                    key,
                    service: Some(service),
                    revision,
                });
            }
        }
        if !planted(Defect::RelistDoesNotPrune) {
            events.extend(stale.into_iter().map(|key| deletion(source.cluster_id, key, listing.revision)));
        }
        events
    }

    /// The event of one change of a watch, if it means one.
    pub(crate) fn changed(&mut self, source: &Source, change: &Change) -> Option<RemoteEvent> {
        match change {
            Change::Put { key, value, revision } => {
                let (key, service) = self.read(source, key, value)?;
                let (cluster_id, revision) = (source.cluster_id, *revision);
                Some(RemoteEvent::Service { cluster_id, key, service: Some(service), revision })
            }
            Change::Delete { .. } if planted(Defect::RemoteDeletionIgnored) => None,
            Change::Delete { key, revision } => {
                let key = self.key(source, key)?;
                self.known.contains(&key).then(|| deletion(source.cluster_id, key, *revision))
            }
        }
    }

    /// The events that take everything back.
    pub(crate) fn drain(&self, cluster_id: ClusterId) -> Vec<RemoteEvent> {
        self.known.iter().map(|key| deletion(cluster_id, key.clone(), 0)).collect()
    }

    /// Notes that the receiver got `event`.
    pub(crate) fn reported(&mut self, event: &RemoteEvent) {
        match event {
            RemoteEvent::Service { key, service: Some(_), .. } => {
                self.known.insert(key.clone());
            }
            RemoteEvent::Service { key, service: None, .. } => {
                self.known.remove(key);
            }
            RemoteEvent::Synced => {}
        }
    }

    fn read(&mut self, source: &Source, key: &[u8], value: &[u8]) -> Option<(ServiceKey, Box<ClusterService>)> {
        let service_key = self.key(source, key)?;
        let expected = Expected { cluster: &source.cluster, cluster_id: source.cluster_id, key: &service_key };
        match ClusterService::decode_expected(value, expected) {
            Ok(service) => Some((service_key, Box::new(service))),
            Err(error) => {
                self.refuse(key, &chain(&error));
                None
            }
        }
    }

    /// Namespace and name in a key under the prefix.
    fn key(&mut self, source: &Source, key: &[u8]) -> Option<ServiceKey> {
        let text = String::from_utf8_lossy(key);
        match text.parse() {
            Ok(Key::Service { layout, cluster, key }) if layout == source.layout && cluster == source.cluster => {
                return Some(key);
            }
            Ok(_) => self.refuse(key, "key belongs to something else"),
            Err(error) => self.refuse(key, &chain(&error)),
        }
        None
    }

    fn refuse(&mut self, key: &[u8], reason: &str) {
        self.malformed += 1;
        tracing::warn!(key = %String::from_utf8_lossy(key), reason, "Unable to unmarshal value");
    }
}

fn deletion(cluster_id: ClusterId, key: ServiceKey, revision: i64) -> RemoteEvent {
    RemoteEvent::Service { cluster_id, key, service: None, revision }
}

#[cfg(test)]
mod tests {
    use mesh_types::MaxConnectedClusters;

    use super::*;

    const VALUE: &str = r#"{"cluster":"beta","namespace":"default","name":"web","frontends":{},"backends":{"10.2.1.2":{"":{"Protocol":"TCP","Port":80}}},"labels":{},"selector":{},"includeExternal":true,"shared":true,"clusterID":2}"#;
    const KEY: &str = "cilium/state/services/v1/beta/default/web";

    fn source() -> Source {
        Source {
            layout: Layout::State,
            cluster: ClusterName::new("beta").expect("valid"),
            cluster_id: ClusterId::new(2, MaxConnectedClusters::N255).expect("valid"),
        }
    }

    fn put(key: &str, value: &str) -> Change {
        Change::Put { key: key.into(), value: value.into(), revision: 7 }
    }

    fn report(services: &mut Services, change: &Change) -> Option<RemoteEvent> {
        let event = services.changed(&source(), change);
        if let Some(event) = &event {
            services.reported(event);
        }
        event
    }

    #[test]
    fn puts_and_deletes_become_events() {
        let mut services = Services::default();
        assert!(matches!(report(&mut services, &put(KEY, VALUE)), Some(RemoteEvent::Service { service: Some(_), .. })));
        assert_eq!(services.count(), 1);
        let delete = Change::Delete { key: KEY.into(), revision: 8 };
        assert!(matches!(report(&mut services, &delete), Some(RemoteEvent::Service { service: None, .. })));
        assert_eq!(report(&mut services, &delete), None, "deleting twice says nothing new");
        assert_eq!(services.count(), 0);
    }

    #[test]
    fn a_malformed_value_is_counted_and_the_old_one_stays() {
        let mut services = Services::default();
        report(&mut services, &put(KEY, VALUE));
        assert_eq!(report(&mut services, &put(KEY, "{")), None);
        assert_eq!(report(&mut services, &put(KEY, &VALUE.replace("\"clusterID\":2", "\"clusterID\":3"))), None);
        assert_eq!(report(&mut services, &put("cilium/state/services/v1/beta/default", VALUE)), None);
        assert_eq!((services.count(), services.malformed()), (1, 3));
    }

    #[test]
    fn a_listing_takes_back_what_it_lacks_and_draining_takes_back_all() {
        let mut services = Services::default();
        report(&mut services, &put(KEY, VALUE));
        let events = services.listed(&source(), &Listing { keys: Vec::new(), revision: 1 });
        let web = || ServiceKey::new("default", "web");
        assert_eq!(events, [deletion(source().cluster_id, web(), 1)]);
        assert_eq!(services.count(), 1, "known until the receiver has the deletion");
        assert_eq!(services.drain(source().cluster_id), [deletion(source().cluster_id, web(), 0)]);
    }

    /// How many deletions a listing without the service and a watch event tell.
    #[cfg(feature = "planted-defects")]
    #[test_case::test_case(None => (1, 1) ; "right")]
    #[test_case::test_case(Some(Defect::RelistDoesNotPrune) => (0, 1) ; "listing")]
    #[test_case::test_case(Some(Defect::RemoteDeletionIgnored) => (1, 0) ; "watch")]
    fn deletions_are_missed_by_defects(defect: Option<Defect>) -> (usize, usize) {
        let _planting = mesh_planted::plant_here(defect);
        let mut services = Services::default();
        report(&mut services, &put(KEY, VALUE));
        let listed = services.listed(&source(), &Listing { keys: Vec::new(), revision: 1 });
        let delete = Change::Delete { key: KEY.into(), revision: 8 };
        (listed.len(), services.changed(&source(), &delete).iter().count())
    }
}
