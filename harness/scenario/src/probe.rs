//! Clients that ask a service at a steady rate.

use std::{num::NonZeroU32, time::Duration};

use mesh_types::{ClusterName, ServiceKey};

use crate::{Clusters, DeploymentKey, Located, Name, NodeRef, Nodes, Number, record, words};

/// Clients that ask a service at a steady rate: every ready pod of a deployment, in every cluster or in some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Its name, unique in the scenario.
    pub name: String,
    /// The deployment whose pods are the clients.
    pub from: DeploymentKey,
    /// The service that they ask.
    pub service: ServiceKey,
    /// The service port that they ask.
    pub port: u16,
    /// Requests a second of each client.
    pub rate: NonZeroU32,
    /// How long a client waits for an answer.
    pub timeout: Duration,
    /// How it asks.
    pub mode: ProbeMode,
    /// Only pods in these clusters are clients; all when absent.
    pub clusters: Option<Clusters>,
    /// Only pods on these nodes are clients; all when absent.
    pub on: Option<Nodes>,
    /// Where it stands.
    pub at: Located<()>,
}

impl Probe {
    /// Whether pods of this cluster are clients.
    pub fn asks_from(&self, cluster: &ClusterName) -> bool {
        self.clusters.as_ref().is_none_or(|clusters| clusters.contains(cluster))
            && self.on.as_ref().is_none_or(|nodes| nodes.iter().any(|node| node.cluster == *cluster))
    }

    /// Whether pods on this node are clients.
    pub fn asks_from_node(&self, node: &NodeRef) -> bool {
        self.asks_from(&node.cluster) && self.on.as_ref().is_none_or(|nodes| nodes.contains(node))
    }
}

words! {
    /// How a probe asks.
    pub enum ProbeMode {
        /// Each request on a new TCP connection: each is balanced anew.
        Connect = "connect",
        /// All requests of a client on one TCP connection, which is made again when it ends.
        Keepalive = "keepalive",
        /// Each request is a datagram.
        Udp = "udp",
    }
}

/// Requests a second of one client: what one core can send on fresh connections.
const RATE_MAX: u64 = 10_000;
const RATE_DEFAULT: u32 = 200;
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);

record! {
    /// Every ready pod of a deployment is a client that asks a service at a steady rate.
    pub(crate) struct ProbeRecord {
        /// Its name, unique in the scenario.
        pub(crate) name: Name,
        /// Who asks.
        pub(crate) from: ProbeFrom,
        /// Who is asked.
        pub(crate) to: ProbeTo,
        /// Requests a second of each client; 200 when it is not given.
        pub(crate) rate: Option<Number<1, RATE_MAX>>,
        /// How long a client waits for an answer; 1 s when it is not given.
        pub(crate) timeout: Option<Duration>,
        /// How it asks; `connect` when it is not given.
        pub(crate) mode: Option<ProbeMode>,
        /// Only pods in these clusters are clients; all when it is not given.
        pub(crate) clusters: Option<Clusters>,
        /// Only pods on these nodes are clients; all when it is not given.
        pub(crate) on: Option<Nodes>,
    }
}

record! {
    /// Who asks.
    pub(crate) struct ProbeFrom {
        /// The deployment whose pods are the clients.
        pub(crate) deployment: DeploymentKey,
    }
}

record! {
    /// Who is asked.
    pub(crate) struct ProbeTo {
        /// The service.
        pub(crate) service: ServiceKey,
        /// Its port.
        pub(crate) port: Number<1, 65535>,
    }
}

impl ProbeRecord {
    pub(crate) fn into_probe(self, at: Located<()>) -> Probe {
        let rate = self.rate.and_then(|rate| u32::try_from(rate.get()).ok()).unwrap_or(RATE_DEFAULT);
        Probe {
            name: self.name.into_string(),
            from: self.from.deployment,
            service: self.to.service,
            port: u16::try_from(self.to.port.get()).unwrap_or(u16::MAX),
            rate: NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN),
            timeout: self.timeout.unwrap_or(TIMEOUT_DEFAULT),
            mode: self.mode.unwrap_or(ProbeMode::Connect),
            clusters: self.clusters,
            on: self.on,
            at,
        }
    }
}
