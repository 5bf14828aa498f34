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

/// What kind of address a frontend has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FrontendType {
    /// The service's cluster IP.
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// A node port, on the surrogate address 0.0.0.0 or on a node's own.
    NodePort,
    /// An address that a load balancer outside gave to the service.
    LoadBalancer,
    /// An address that the service claims for itself (`spec.externalIPs`).
    #[serde(rename = "ExternalIPs")]
    ExternalIp,
}

/// Which backends a frontend may use (`internalTrafficPolicy`, `externalTrafficPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TrafficPolicy {
    /// All of them.
    #[default]
    Cluster,
    /// Those of the client's node.
    Local,
}

/// The traffic policies of a service: for clients outside of the cluster and for those inside.
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

/// How one of several backends is chosen. The numbers are those of the top byte of the union in a master of
/// `cilium_lb4_services_v2`, where 0 stands for the agent's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Any of them (1).
    Random,
    /// By consistent hashing (2).
    Maglev,
}

impl Algorithm {
    /// The number in the master.
    pub fn number(self) -> u8 {
        match self {
            Self::Random => 1,
            Self::Maglev => 2,
        }
    }
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
    /// Traffic policies of the service. They are settled in `backends`; the maps tell them as flags, too.
    #[serde(default)]
    pub policies: TrafficPolicies,
    /// Algorithm that the service asks for; `None`: the agent's default.
    #[serde(default)]
    pub algorithm: Option<Algorithm>,
    /// Sorted, without duplicates of an address.
    pub backends: Vec<Backend>,
}
