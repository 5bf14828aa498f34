//! The kinds that the server knows: one file each for defaults, validation and the columns that `kubectl get` prints.

mod age;
mod config_map;
mod custom;
mod custom_resource_definition;
mod decode;
mod deployment;
mod endpoint_slice;
mod endpoints;
mod event;
mod findings;
mod lease;
mod names;
mod namespace;
mod network_policy;
mod node;
mod pod;
mod pod_disruption_budget;
mod pod_template;
mod replica_set;
mod resource;
mod secret;
mod service;
mod service_account;
mod workload;

pub(crate) use custom::CustomKind;
pub(crate) use decode::unknown_fields;
pub(crate) use findings::Findings;
pub(crate) use names::validate_metadata;
pub(crate) use pod::is_ready as pod_is_ready;
pub(crate) use pod_disruption_budget::percentage;
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
    NetworkPolicy,
    PodDisruptionBudget,
    CustomResourceDefinition,
    /// One that a client defined.
    Custom(CustomKind),
}

impl Kind {
    /// Every kind that is always there, in the order of the enum.
    pub(crate) const ALL: [Self; 16] = [
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
        Self::NetworkPolicy,
        Self::PodDisruptionBudget,
        Self::CustomResourceDefinition,
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
            Self::NetworkPolicy => &network_policy::NETWORK_POLICY,
            Self::PodDisruptionBudget => &pod_disruption_budget::POD_DISRUPTION_BUDGET,
            Self::CustomResourceDefinition => &custom_resource_definition::CUSTOM_RESOURCE_DEFINITION,
            Self::Custom(kind) => kind.resource(),
        }
    }

    /// Whether this is the kind that an object names.
    pub(crate) fn is_of(self, api_version: &str, name: &str) -> bool {
        let resource = self.resource();
        resource.kind == name && resource.api_version() == api_version
    }

    /// Whether this is the kind that a path names by group, version and plural.
    pub(crate) fn is_at(self, group: &str, version: &str, plural: &str) -> bool {
        let resource = self.resource();
        (resource.group, resource.version, resource.plural) == (group, version, plural)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_all_follows_the_enum_and_nothing_is_named_twice() {
        assert!(Kind::ALL.is_sorted());
        for kind in Kind::ALL {
            let resource = kind.resource();
            let (version, name) = (resource.api_version(), resource.kind);
            assert_eq!(Kind::ALL.into_iter().filter(|other| other.is_of(&version, name)).count(), 1, "{kind:?}");
            let at = |other: &Kind| other.is_at(resource.group, resource.version, resource.plural);
            assert_eq!(Kind::ALL.into_iter().find(at), Some(kind));
        }
    }
}
