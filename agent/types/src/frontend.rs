//! Frontends: the addresses that clients connect to.

use std::{fmt, net::Ipv4Addr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Backend, Protocol, ServiceKey};

/// Who a frontend is for. The numbers are those of the `scope` byte in `cilium_lb4_services_v2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Everyone (0).
    #[default]
    External,
    /// Clients inside the cluster (1), shown with the suffix `/i`.
    Internal,
}

/// Address, port, protocol and scope of a frontend: the key of everything in the load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FrontendAddress {
    /// Cluster IP, node IP, …
    pub ip: Ipv4Addr,
    /// Service port, host byte order.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Who it is for.
    pub scope: Scope,
}

impl fmt::Display for FrontendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.ip, self.port, self.protocol)?;
        match self.scope {
            Scope::External => Ok(()),
            Scope::Internal => f.write_str("/i"),
        }
    }
}

/// What kind of address a frontend has. The names are Cilium's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FrontendType {
    /// The service's cluster IP.
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// A node port, on the surrogate address 0.0.0.0 or on a node's own.
    NodePort,
    /// One of the service's `externalIPs`.
    #[serde(rename = "ExternalIPs")]
    ExternalIp,
    /// The address of a load balancer, from the service's status.
    LoadBalancer,
}

impl fmt::Display for FrontendType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::ExternalIp => "ExternalIPs",
            Self::LoadBalancer => "LoadBalancer",
        })
    }
}

/// Which backends a service's clients may be sent to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TrafficPolicy {
    /// All.
    #[default]
    Cluster,
    /// Those on the same node alone.
    Local,
}

/// The traffic policies of a service.
///
/// Backends are chosen by them before they come here; the datapath must know them all the same. When they differ, a
/// service has two frontends with one address: one of [`Scope::External`] with the backends for clients from outside,
/// one of [`Scope::Internal`] with those for clients inside the cluster. Its cluster IP has only the first, with the
/// backends for clients inside: nobody else gets there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TrafficPolicies {
    /// `externalTrafficPolicy`.
    pub external: TrafficPolicy,
    /// `internalTrafficPolicy`.
    pub internal: TrafficPolicy,
}

impl TrafficPolicies {
    /// Whether clients inside need frontends of their own, in [`Scope::Internal`], on addresses from outside.
    pub fn differ(self) -> bool {
        self.external != self.internal
    }
}

/// How backends are chosen where packets come in from outside (annotation `service.cilium.io/lb-algorithm`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// At random.
    Random,
    /// By consistent hashing.
    Maglev,
}

/// A frontend and the backends that should answer for it: what the decision part of an agent asks of the
/// datapath.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontend {
    /// Where clients connect to.
    pub address: FrontendAddress,
    /// Kind of address.
    pub kind: FrontendType,
    /// The service that it belongs to, for messages.
    pub service: ServiceKey,
    /// Time-out of `sessionAffinity: ClientIP`, if that is on.
    pub session_affinity: Option<Duration>,
    /// The service's traffic policies.
    #[serde(default)]
    pub policies: TrafficPolicies,
    /// How backends are chosen, when the service says so; else as the whole agent is set.
    #[serde(default)]
    pub algorithm: Option<Algorithm>,
    /// Sorted, without duplicates of an address.
    pub backends: Vec<Backend>,
}
