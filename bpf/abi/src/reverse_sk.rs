//! `cilium_lb4_reverse_sk`: what a socket asked for before its address was rewritten.

use crate::{Be16, Be32};

/// Key: a socket and the backend that it was sent to.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReverseSkKey {
    /// Socket cookie.
    pub cookie: u64,
    /// Backend address.
    pub address: Be32,
    /// Backend port.
    pub port: Be16,
    /// Always zero.
    pub pad: u16,
}

/// Value: the frontend that the socket asked for.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReverseSkValue {
    /// Frontend address.
    pub address: Be32,
    /// Frontend port.
    pub port: Be16,
    /// Service id at that time; an entry of a service that was replaced since is stale.
    pub rev_nat: Be16,
}
