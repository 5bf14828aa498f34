//! What a remote cluster says, decoded and checked: for an agent.

use mesh_types::{ClusterId, MaxConnectedClusters, NumericIdentity, ServiceKey};
use mesh_wire::{
    ClusterConfig, ClusterService, EndpointSlice, EndpointSliceKey, EndpointSlicesExportMode, Expected,
    ExpectedEndpointSlice, ExpectedIdentity, ExpectedIp, ExpectedNode, IdentityLabels, IpEntry, IpPrefix, Node,
    Resource,
};

use super::{Reading, Source};
use crate::error::chain;

/// What a remote cluster says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteEvent {
    /// In which formats it says that it writes its services. Comes first on each connection.
    Exports(EndpointSlicesExportMode),
    /// An object was written or deleted.
    Object {
        /// The remote cluster's ID.
        cluster_id: ClusterId,
        /// The object.
        object: RemoteObject,
        /// The etcd's revision that made it so; that of the listing for what a listing lacks, 0 when no etcd said it.
        revision: i64,
    },
    /// All objects of a kind were reported. Comes once for each connection and kind.
    Synced(Resource),
}

/// An object of a remote cluster: its name, and its value now; `None` when it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteObject {
    /// A service (format v1).
    Service(ServiceKey, Option<Box<ClusterService>>),
    /// An endpoint slice (format v2).
    EndpointSlice(EndpointSliceKey, Option<Box<EndpointSlice>>),
    /// A node.
    Node(String, Option<Box<Node>>),
    /// Addresses and who is behind them.
    Ip(IpPrefix, Option<Box<IpEntry>>),
    /// A security identity and its labels.
    Identity(NumericIdentity, Option<Box<IdentityLabels>>),
}

/// Reads values as an agent needs them.
#[derive(Clone, Copy, Debug)]
pub struct Decoded {
    /// Size of the mesh, which decides what identities of which cluster look like.
    pub limit: MaxConnectedClusters,
}

impl Reading for Decoded {
    type Event = RemoteEvent;

    fn config(&self, config: &ClusterConfig) -> Option<RemoteEvent> {
        Some(RemoteEvent::Exports(config.capabilities.endpoint_slices_export_mode.clone()))
    }

    fn put(
        &self,
        source: &Source,
        resource: Resource,
        tail: &str,
        value: Vec<u8>,
        revision: i64,
    ) -> Result<RemoteEvent, String> {
        let object = self.decode(source, resource, tail, &value)?;
        Ok(RemoteEvent::Object { cluster_id: source.cluster_id, object, revision })
    }

    fn gone(&self, source: &Source, resource: Resource, tail: &str, revision: i64) -> Option<RemoteEvent> {
        let object = name(resource, tail).ok()?;
        Some(RemoteEvent::Object { cluster_id: source.cluster_id, object, revision })
    }

    fn listed(&self, _source: &Source, resource: Resource) -> RemoteEvent {
        RemoteEvent::Synced(resource)
    }
}

impl Decoded {
    fn decode(&self, source: &Source, resource: Resource, tail: &str, value: &[u8]) -> Result<RemoteObject, String> {
        let Source { cluster, cluster_id, .. } = source;
        let (cluster_id, limit) = (*cluster_id, self.limit);
        Ok(match name(resource, tail)? {
            RemoteObject::Service(key, _) => {
                let expected = Expected { cluster, cluster_id, key: &key };
                let service = ClusterService::decode_expected(value, expected).map_err(|error| chain(&error))?;
                RemoteObject::Service(key, Some(Box::new(service)))
            }
            RemoteObject::EndpointSlice(key, _) => {
                let expected = ExpectedEndpointSlice { cluster, cluster_id, key: &key };
                let slice = EndpointSlice::decode_expected(value, expected).map_err(|error| chain(&error))?;
                RemoteObject::EndpointSlice(key, Some(Box::new(slice)))
            }
            RemoteObject::Node(name, _) => {
                let expected = ExpectedNode { cluster, cluster_id, name: &name };
                let node = Node::decode_expected(value, expected).map_err(|error| chain(&error))?;
                RemoteObject::Node(name, Some(Box::new(node)))
            }
            RemoteObject::Ip(prefix, _) => {
                let expected = ExpectedIp { prefix, cluster_id, limit };
                let entry = IpEntry::decode_expected(value, expected).map_err(|error| chain(&error))?;
                RemoteObject::Ip(prefix, Some(Box::new(entry)))
            }
            RemoteObject::Identity(identity, _) => {
                let expected = ExpectedIdentity { identity, cluster, cluster_id, limit };
                let labels = IdentityLabels::decode_expected(value, expected).map_err(|error| chain(&error))?;
                RemoteObject::Identity(identity, Some(Box::new(labels)))
            }
        })
    }
}

/// The object that a key is about, without a value.
fn name(resource: Resource, tail: &str) -> Result<RemoteObject, String> {
    let two = || {
        let (namespace, name) = tail.split_once('/')?;
        (!namespace.is_empty() && !name.is_empty() && !name.contains('/')).then_some((namespace, name))
    };
    let parts = || two().ok_or("expected `<namespace>/<name>` after the prefix");
    Ok(match resource {
        Resource::Services => {
            parts().map(|(namespace, name)| RemoteObject::Service(ServiceKey::new(namespace, name), None))?
        }
        Resource::EndpointSlices => parts()
            .map(|(namespace, name)| RemoteObject::EndpointSlice(EndpointSliceKey::new(namespace, name), None))?,
        Resource::Nodes if tail.is_empty() || tail.contains('/') => return Err("expected a node's name".to_owned()),
        Resource::Nodes => RemoteObject::Node(tail.to_owned(), None),
        Resource::Ip => RemoteObject::Ip(tail.parse().map_err(|error| chain(&error))?, None),
        Resource::Identities => {
            let number = tail.strip_prefix("id/").unwrap_or(tail);
            let number = number.parse().map_err(|_| format!("`{tail}` is no number of an identity"))?;
            RemoteObject::Identity(NumericIdentity::new(number), None)
        }
        Resource::ServiceExports => return Err("service exports are not read".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use mesh_types::ClusterName;
    use mesh_wire::{Layout, prefix};
    use test_case::test_case;

    use super::*;

    const LIMIT: MaxConnectedClusters = MaxConnectedClusters::N255;

    fn source(layout: Layout) -> Source {
        let cluster = ClusterName::new("beta").expect("valid");
        Source { layout, cluster, cluster_id: ClusterId::new(2, LIMIT).expect("valid") }
    }

    #[test]
    fn recorded_keys_are_read() {
        let source = source(Layout::State);
        let text = std::fs::read_to_string("../../fixtures/vectors/kvstore/beta-hand-written.jsonl").expect("readable");
        let mut read = Vec::new();
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let [Some(key), Some(value)] = ["key", "value"].map(|field| line[field].as_str()) else { continue };
            for resource in Resource::ALL {
                let Some(tail) = key.strip_prefix(&prefix(resource, source.layout, &source.cluster)) else { continue };
                let event = Decoded { limit: LIMIT }.put(&source, resource, tail, value.into(), 7);
                assert!(matches!(event, Ok(RemoteEvent::Object { .. })), "{key}: {event:?}");
                read.push(resource);
            }
        }
        read.sort();
        assert_eq!(read, [Resource::Nodes, Resource::Services, Resource::Ip, Resource::Identities]);
    }

    #[test_case(Resource::Services, "a" => "expected `<namespace>/<name>` after the prefix" ; "no name")]
    #[test_case(Resource::Services, "a/b/c" => "expected `<namespace>/<name>` after the prefix" ; "too much")]
    #[test_case(Resource::Nodes, "a/b" => "expected a node's name" ; "more than a node")]
    #[test_case(Resource::Identities, "id/x" => "`id/x` is no number of an identity" ; "no number")]
    #[test_case(Resource::ServiceExports, "a/b" => "service exports are not read" ; "not ours")]
    fn keys_that_are_none(resource: Resource, tail: &str) -> String {
        name(resource, tail).expect_err("refused")
    }
}
