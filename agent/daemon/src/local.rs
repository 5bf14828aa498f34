//! Events of our own cluster's API, in the words of `mesh-core`.

use mesh_core::Event;
use mesh_k8s::LocalEvent;

/// The same event for the core.
pub(crate) fn event(event: LocalEvent) -> Event {
    match event {
        LocalEvent::Service { key, service, .. } => Event::Service { key, service },
        LocalEvent::Slice { namespace, name, slice, .. } => Event::Slice { namespace, name, slice },
        LocalEvent::Synced => Event::LocalSynced,
    }
}
