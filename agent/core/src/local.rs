//! Services and endpoint slices of the local cluster, reduced to what load balancing and export need.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use mesh_types::{Protocol, ServiceKey};

/// Label of an EndpointSlice that names the Service it belongs to.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// `spec.type` of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceKind {
    /// A cluster IP, or headless.
    #[default]
    ClusterIp,
    /// A cluster IP and a port on every node.
    NodePort,
    /// The same and an address from outside, which this version does not install.
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

/// A Kubernetes Service of the local cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalService {
    /// Namespace and name.
    pub key: ServiceKey,
    /// IPv4 cluster IPs; empty for a headless service.
    pub cluster_ips: Vec<Ipv4Addr>,
    /// Ports, in the order of the object.
    pub ports: Vec<ServicePort>,
    /// Time-out of `sessionAffinity: ClientIP`; `None` for `sessionAffinity: None`.
    pub session_affinity: Option<Duration>,
    /// All annotations.
    pub annotations: BTreeMap<String, String>,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// Pod selector.
    pub selector: BTreeMap<String, String>,
    /// Type of the Service.
    pub kind: ServiceKind,
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
/// The conditions are as in the object; [`Self::is_ready`] and its siblings say what an absent one means.
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
    /// Ready for traffic; absent means yes.
    pub fn is_ready(&self) -> bool {
        self.ready.unwrap_or(true)
    }

    /// Able to answer, even while it terminates; absent means the same as ready.
    pub fn is_serving(&self) -> bool {
        self.serving.unwrap_or_else(|| self.is_ready())
    }

    /// Shutting down; absent means no.
    pub fn is_terminating(&self) -> bool {
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
    /// Kind of addresses; all but IPv4 are ignored.
    pub address_type: AddressType,
    /// Ports that every endpoint of the slice has.
    pub ports: Vec<SlicePort>,
    /// Endpoints.
    pub endpoints: Vec<LocalEndpoint>,
}

impl LocalSlice {
    /// The service that the slice is for, if it can be used at all.
    pub(crate) fn service_key(&self) -> Option<ServiceKey> {
        match (&self.service, self.address_type) {
            (Some(service), AddressType::Ipv4) => Some(ServiceKey::new(&self.namespace, service)),
            _ => None,
        }
    }
}
