//! What a remote cluster says, decoded and checked: for an agent.

use mesh_types::{ClusterId, ServiceKey};
use mesh_wire::{ClusterService, Expected, Resource};

use super::{Reading, Source};
use crate::error::chain;

/// What a remote cluster says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteEvent {
    /// A service was written or deleted.
    Service {
        /// The remote cluster's ID.
        cluster_id: ClusterId,
        /// Which service.
        key: ServiceKey,
        /// Its value now; `None` when it is gone.
        service: Option<Box<ClusterService>>,
        /// The etcd's revision that made it so; that of the listing for what a listing lacks, 0 when no etcd said it.
        revision: i64,
    },
    /// All objects of a kind were reported. Comes once for each connection and kind.
    Synced(Resource),
}

/// Reads values as an agent needs them.
#[derive(Clone, Copy, Debug)]
pub struct Decoded;

impl Reading for Decoded {
    type Event = RemoteEvent;

    fn put(
        &self,
        source: &Source,
        resource: Resource,
        tail: &str,
        value: Vec<u8>,
        revision: i64,
    ) -> Result<RemoteEvent, String> {
        let cluster_id = source.cluster_id;
        match resource {
            Resource::Services => {
                let key = service_key(tail).ok_or("expected `<namespace>/<name>` after the prefix")?;
                let expected = Expected { cluster: &source.cluster, cluster_id, key: &key };
                let service = ClusterService::decode_expected(&value, expected).map_err(|error| chain(&error))?;
                Ok(RemoteEvent::Service { cluster_id, key, service: Some(Box::new(service)), revision })
            }
            other => Err(format!("{other:?} are not read")),
        }
    }

    fn gone(&self, source: &Source, _resource: Resource, tail: &str, revision: i64) -> RemoteEvent {
        let key = service_key(tail).unwrap_or_else(|| ServiceKey::new("", tail));
        RemoteEvent::Service { cluster_id: source.cluster_id, key, service: None, revision }
    }

    fn listed(&self, _source: &Source, resource: Resource) -> RemoteEvent {
        RemoteEvent::Synced(resource)
    }
}

/// Namespace and name.
fn service_key(tail: &str) -> Option<ServiceKey> {
    let (namespace, name) = tail.split_once('/')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains('/')).then(|| ServiceKey::new(namespace, name))
}
