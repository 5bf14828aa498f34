//! Events of our own cluster's API, in the words of `mesh-core`.

use mesh_core::Event;
use mesh_k8s::LocalEvent;

/// The same event for the core, as events that it knows; none for what it does not care about.
pub(crate) fn events(event: LocalEvent) -> Vec<Event> {
    match event {
        LocalEvent::Service { key, service, .. } => vec![Event::Service { key, service }],
        LocalEvent::Slice { namespace, name, slice, .. } => vec![Event::Slice { namespace, name, slice }],
        LocalEvent::Namespace { name, namespace } => {
            vec![Event::Namespace { name, annotations: namespace.map(|namespace| namespace.annotations) }]
        }
        // What a Node said last stays when it is deleted under its agent.
        LocalEvent::Node { node: Some(node), .. } => vec![
            Event::NodeZone { zone: node.zone() },
            Event::NodeAddresses { addresses: node.ipv4() },
            Event::NodeLabels { labels: node.labels },
        ],
        LocalEvent::Synced => vec![Event::LocalSynced],
        LocalEvent::Node { node: None, .. }
        | LocalEvent::Pod { .. }
        | LocalEvent::CiliumNode { .. }
        | LocalEvent::CiliumEndpoint { .. }
        | LocalEvent::CiliumIdentity { .. }
        | LocalEvent::Listed(_) => Vec::new(),
    }
}
