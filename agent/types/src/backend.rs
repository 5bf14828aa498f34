//! Backends: the addresses that answer for a service.

use std::{fmt, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::{ClusterId, Protocol};

/// Address, port and protocol of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BackendAddress {
    /// Pod (or host) address.
    pub ip: Ipv4Addr,
    /// Target port, host byte order.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.ip, self.port, self.protocol)
    }
}

/// State of a backend. The numbers are those of the `state` byte in `cilium_lb4_backends_v3`.
///
/// The order is the order of slots: active backends come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendState {
    /// Takes new connections (0).
    Active,
    /// Shutting down but still serving (1): chosen only when nothing is active.
    Terminating,
    /// Shutting down and no longer serving: the same number in the maps (1), kept for connections that are there, never
    /// chosen.
    TerminatingNotServing,
    /// Failed its health check (2): never chosen.
    Quarantined,
    /// Taken out by an operator (3): gets no slot.
    Maintenance,
}

impl BackendState {
    /// The `state` byte of the backend map.
    pub fn number(self) -> u8 {
        match self {
            Self::Active => 0,
            Self::Terminating | Self::TerminatingNotServing => 1,
            Self::Quarantined => 2,
            Self::Maintenance => 3,
        }
    }

    /// The state of a `state` byte; that a terminating backend does not serve is not told by it.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Active, Self::Terminating, Self::Quarantined, Self::Maintenance]
            .into_iter()
            .find(|state| state.number() == number)
    }
}

impl fmt::Display for BackendState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Terminating => "terminating",
            Self::TerminatingNotServing => "terminating-not-serving",
            Self::Quarantined => "quarantined",
            Self::Maintenance => "maintenance",
        })
    }
}

/// One backend of a frontend.
///
/// The derived order (state, then address) is the order in which backends get their slots, as in Cilium.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Backend {
    /// What the datapath may do with it.
    pub state: BackendState,
    /// Where it is.
    pub address: BackendAddress,
    /// The remote cluster that it lives in; `None` for a local one. Not written to the maps: Cilium writes
    /// cluster ID 0 for every backend.
    pub cluster: Option<ClusterId>,
}
