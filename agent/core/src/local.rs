//! Services and endpoint slices of the local cluster, reduced to what load balancing and export need.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use mesh_types::{Protocol, ServiceKey, TrafficPolicies};

use crate::slices::Slice;

/// Label of an EndpointSlice that names the Service it belongs to.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Label of a Service that makes it headless, whatever addresses it has (`corev1.IsHeadlessService`).
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";

/// `spec.type` of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceKind {
    /// A cluster IP, or headless.
    #[default]
    ClusterIp,
    /// A cluster IP and a port on every node.
    NodePort,
    /// The same and an address from outside.
    LoadBalancer,
    /// A DNS alias: neither frontends nor exports.
    ExternalName,
}

/// `targetPort` of a service port. Endpoint slices carry the resolved number, so nothing is decided by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TargetPort {
    /// A port number of the pods.
    Number(u16),
    /// Name of a container port.
    Name(String),
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Empty for an unnamed port.
    pub name: String,
    /// Port of the cluster IP, host byte order.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port on the nodes, if one was allocated.
    pub node_port: Option<u16>,
    /// Port of the pods, as written in the Service.
    pub target: TargetPort,
}

/// `spec.trafficDistribution` of a Service: which endpoints should be preferred, if it does not matter otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrafficDistribution {
    /// None of them.
    #[default]
    Any,
    /// Those whose hints name the client's zone (`PreferClose`, `PreferSameZone`).
    Zone,
}

/// A Kubernetes Service of the local cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalService {
    /// Namespace and name.
    pub key: ServiceKey,
    /// IPv4 cluster IPs; empty for a headless service.
    pub cluster_ips: Vec<Ipv4Addr>,
    /// IPv4 addresses that the service claims for itself (`spec.externalIPs`).
    pub external_ips: Vec<Ipv4Addr>,
    /// IPv4 addresses that a load balancer gave to it (`status.loadBalancer.ingress`, without those of mode `Proxy`).
    pub load_balancer_ips: Vec<Ipv4Addr>,
    /// Ports, in the order of the object.
    pub ports: Vec<ServicePort>,
    /// Time-out of `sessionAffinity: ClientIP`; `None` for `sessionAffinity: None`.
    pub session_affinity: Option<Duration>,
    /// `externalTrafficPolicy` and `internalTrafficPolicy`.
    pub policies: TrafficPolicies,
    /// `trafficDistribution`.
    pub distribution: TrafficDistribution,
    /// All annotations.
    pub annotations: BTreeMap<String, String>,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// Pod selector.
    pub selector: BTreeMap<String, String>,
    /// Type of the Service.
    pub kind: ServiceKind,
}

impl LocalService {
    /// A service that has nothing but its name.
    pub fn new(key: ServiceKey) -> Self {
        Self {
            key,
            cluster_ips: Vec::new(),
            external_ips: Vec::new(),
            load_balancer_ips: Vec::new(),
            ports: Vec::new(),
            session_affinity: None,
            policies: TrafficPolicies::default(),
            distribution: TrafficDistribution::Any,
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
            selector: BTreeMap::new(),
            kind: ServiceKind::ClusterIp,
        }
    }

    /// Whether it has no addresses for clients, only names. A service without IPv4 counts as one here.
    pub fn is_headless(&self) -> bool {
        self.cluster_ips.is_empty() || self.labels.contains_key(HEADLESS_LABEL)
    }
}

/// `addressType` of an EndpointSlice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddressType {
    /// The only one that is used.
    #[default]
    Ipv4,
    /// Ignored.
    Ipv6,
    /// Ignored.
    Fqdn,
}

/// One port of an EndpointSlice. Ports without a number ("all ports") are left out by the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    /// Name of the service port that it serves; empty for an unnamed one.
    pub name: String,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port of the pods, host byte order.
    pub port: u16,
}

/// One endpoint of an EndpointSlice.
///
/// [`Conditions`] says what an absent condition means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalEndpoint {
    /// IPv4 addresses of one pod.
    pub addresses: Vec<Ipv4Addr>,
    /// Condition `ready`.
    pub ready: Option<bool>,
    /// Condition `serving`.
    pub serving: Option<bool>,
    /// Condition `terminating`.
    pub terminating: Option<bool>,
    /// Hostname of the pod, if it has one of its own.
    pub hostname: Option<String>,
    /// Node that it runs on.
    pub node_name: Option<String>,
    /// Zone that it runs in.
    pub zone: Option<String>,
    /// Names of the zones that should use it (`hints.forZones`).
    pub hints: Vec<String>,
}

impl LocalEndpoint {
    /// What the conditions say together.
    pub fn conditions(&self) -> Conditions {
        Conditions { ready: self.ready, serving: self.serving, terminating: self.terminating }
    }
}

/// Conditions of an endpoint, as in the object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Condition `ready`.
    pub ready: Option<bool>,
    /// Condition `serving`.
    pub serving: Option<bool>,
    /// Condition `terminating`.
    pub terminating: Option<bool>,
}

impl Conditions {
    /// Ready for traffic; absent means yes.
    pub fn is_ready(self) -> bool {
        self.ready.unwrap_or(true)
    }

    /// Able to answer, even while it terminates; absent means the same as ready.
    pub fn is_serving(self) -> bool {
        self.serving.unwrap_or_else(|| self.is_ready())
    }

    /// Shutting down; absent means no.
    pub fn is_terminating(self) -> bool {
        self.terminating.unwrap_or(false)
    }
}

/// An EndpointSlice of the local cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalSlice {
    /// Namespace.
    pub namespace: String,
    /// Name of the slice.
    pub name: String,
    /// Value of [`SERVICE_NAME_LABEL`]; a slice without it is ignored.
    pub service: Option<String>,
    /// All labels; only other clusters want to know.
    pub labels: BTreeMap<String, String>,
    /// All annotations; only other clusters want to know.
    pub annotations: BTreeMap<String, String>,
    /// Kind of addresses; all but IPv4 are ignored.
    pub address_type: AddressType,
    /// Ports that every endpoint of the slice has.
    pub ports: Vec<SlicePort>,
    /// Endpoints.
    pub endpoints: Vec<LocalEndpoint>,
}

impl Slice for LocalSlice {
    fn service_key(&self) -> Option<ServiceKey> {
        match (&self.service, self.address_type) {
            (Some(service), AddressType::Ipv4) => Some(ServiceKey::new(&self.namespace, service)),
            _ => None,
        }
    }
}
