//! What a remote cluster says, byte for byte: for KVStoreMesh, which copies it and understands nothing of it.

use mesh_wire::{ClusterConfig, Resource};

use super::{Reading, Source};

/// What a remote cluster says, as it says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyEvent {
    /// What it says about itself. Comes first on each connection.
    Config(Box<ClusterConfig>),
    /// A key was written or deleted.
    Object {
        /// Of which kind.
        resource: Resource,
        /// What follows the kind's prefix in the key.
        tail: Box<str>,
        /// Its value now; `None` when it is gone.
        value: Option<Vec<u8>>,
    },
    /// All keys of a kind were reported. Comes once for each connection and kind.
    Synced(Resource),
}

/// Takes values as they are.
#[derive(Clone, Copy, Debug)]
pub struct Copied;

impl Reading for Copied {
    type Event = CopyEvent;

    fn config(&self, config: &ClusterConfig) -> Option<CopyEvent> {
        Some(CopyEvent::Config(Box::new(config.clone())))
    }

    fn put(
        &self,
        _source: &Source,
        resource: Resource,
        tail: &str,
        value: Vec<u8>,
        _revision: i64,
    ) -> Result<CopyEvent, String> {
        Ok(CopyEvent::Object { resource, tail: tail.into(), value: Some(value) })
    }

    fn gone(&self, _source: &Source, resource: Resource, tail: &str, _revision: i64) -> Option<CopyEvent> {
        Some(CopyEvent::Object { resource, tail: tail.into(), value: None })
    }

    fn listed(&self, _source: &Source, resource: Resource) -> CopyEvent {
        CopyEvent::Synced(resource)
    }
}
