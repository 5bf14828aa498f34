//! `cilium_lb4_backends_v3`: backends by id.

use core::net::Ipv4Addr;

use crate::{Be16, Be32};

/// Values of the `state` byte.
pub mod state {
    /// The only one that takes new connections.
    pub const ACTIVE: u8 = 0;
    /// Shutting down.
    pub const TERMINATING: u8 = 1;
    /// Failed its health check.
    pub const QUARANTINED: u8 = 2;
    /// Taken out by an operator.
    pub const MAINTENANCE: u8 = 3;
}

/// Key: the backend id, 1 or more, private to the node.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendKey(pub u32);

/// Value: where a backend is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendValue {
    /// Backend address.
    pub address: Be32,
    /// Backend port.
    pub port: Be16,
    /// See [`protocol`](crate::protocol).
    pub protocol: u8,
    /// See [`state`].
    pub state: u8,
    /// 0 without cluster-aware addressing: remote backends look like local ones.
    pub cluster_id: u16,
    /// Topology zone, 0 when unset.
    pub zone: u8,
    /// Always zero.
    pub pad: u8,
}

impl BackendValue {
    /// Backend address.
    pub fn ip(&self) -> Ipv4Addr {
        self.address.into()
    }
}
