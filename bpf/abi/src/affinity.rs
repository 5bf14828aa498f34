//! `cilium_lb4_affinity` and `cilium_lb_affinity_match`: session affinity.

use crate::Be16;

/// Key: a client of a service.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AffinityKey {
    /// Network-namespace cookie (on the socket path), or the client's address in the first four bytes.
    pub client: u64,
    /// Service id.
    pub rev_nat: Be16,
    /// 1 when `client` is a network-namespace cookie.
    pub netns_cookie: u8,
    /// Always zero.
    pub pad: u8,
    /// Always zero.
    pub pad_end: u32,
}

/// Value: the backend that the client has.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AffinityValue {
    /// Second of the monotonic clock in which it was last used.
    pub last_used: u64,
    /// Backend id.
    pub backend_id: u32,
    /// Always zero.
    pub pad: u32,
}

/// Key: a backend that may keep clients of a service.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AffinityMatchKey {
    /// Backend id.
    pub backend_id: u32,
    /// Service id.
    pub rev_nat: Be16,
    /// Always zero.
    pub pad: u16,
}

impl AffinityMatchKey {
    /// Key for a backend of a service.
    #[inline(always)]
    pub const fn new(backend_id: u32, rev_nat: Be16) -> Self {
        Self { backend_id, rev_nat, pad: 0 }
    }
}
