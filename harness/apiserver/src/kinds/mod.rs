//! The kinds that the server knows: one file each for defaults, validation and the columns that `kubectl get` prints.

mod age;
mod config_map;
mod decode;
mod deployment;
mod endpoint_slice;
mod endpoints;
mod event;
mod findings;
mod lease;
mod names;
mod namespace;
mod node;
mod pod;
mod pod_template;
mod replica_set;
mod resource;
mod secret;
mod service;
mod service_account;
mod workload;

pub(crate) use decode::unknown_fields;
pub(crate) use findings::Findings;
pub(crate) use names::validate_metadata;
pub(crate) use pod::is_ready as pod_is_ready;
pub(crate) use resource::{Column, NameRule, Resource};

/// A kind of object. The order is that of discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    ConfigMap,
    Endpoints,
    Event,
    Namespace,
    Node,
    Pod,
    Secret,
    ServiceAccount,
    Service,
    Deployment,
    ReplicaSet,
    Lease,
    EndpointSlice,
}

impl Kind {
    /// Every kind, in the order of the enum.
    pub(crate) const ALL: [Self; 13] = [
        Self::ConfigMap,
        Self::Endpoints,
        Self::Event,
        Self::Namespace,
        Self::Node,
        Self::Pod,
        Self::Secret,
        Self::ServiceAccount,
        Self::Service,
        Self::Deployment,
        Self::ReplicaSet,
        Self::Lease,
        Self::EndpointSlice,
    ];

    /// What the server knows about the kind.
    pub(crate) fn resource(self) -> &'static Resource {
        match self {
            Self::ConfigMap => &config_map::CONFIG_MAP,
            Self::Endpoints => &endpoints::ENDPOINTS,
            Self::Event => &event::EVENT,
            Self::Namespace => &namespace::NAMESPACE,
            Self::Node => &node::NODE,
            Self::Pod => &pod::POD,
            Self::Secret => &secret::SECRET,
            Self::ServiceAccount => &service_account::SERVICE_ACCOUNT,
            Self::Service => &service::SERVICE,
            Self::Deployment => &deployment::DEPLOYMENT,
            Self::ReplicaSet => &replica_set::REPLICA_SET,
            Self::Lease => &lease::LEASE,
            Self::EndpointSlice => &endpoint_slice::ENDPOINT_SLICE,
        }
    }

    /// The kind that a path names by group, version and plural.
    pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            let resource = kind.resource();
            (resource.group, resource.version, resource.plural) == (group, version, plural)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_all_follows_the_enum() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            assert_eq!(Kind::find(kind.resource().group, kind.resource().version, kind.resource().plural), Some(kind));
        }
    }
}
