//! `cilium_lb4_services_v2`: frontends and their slots.

use core::net::Ipv4Addr;

use crate::{Be16, Be32, ServiceFlags};

/// Protocol numbers of a key.
pub mod protocol {
    /// Any protocol; together with port 0 it marks a wildcard entry.
    pub const ANY: u8 = 0;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// Scopes of a key.
pub mod scope {
    /// For everyone.
    pub const EXTERNAL: u8 = 0;
    /// For clients inside the cluster.
    pub const INTERNAL: u8 = 1;
}

/// How backends are chosen, in the top 8 bits of a master's union. Programs of the socket path choose at random whatever
/// it says.
pub mod algorithm {
    /// As the whole agent is set.
    pub const UNDEFINED: u8 = 0;
    /// At random.
    pub const RANDOM: u8 = 1;
    /// By Maglev's table.
    pub const MAGLEV: u8 = 2;
}

/// Key: a frontend and a slot number. Slot 0 is the *master*, which says how many slots there are.
///
/// The derived order keeps the slots of a frontend together, the master first.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceKey {
    /// Frontend address.
    pub address: Be32,
    /// Frontend port; 0 in a wildcard entry.
    pub port: Be16,
    /// 0 for the master, else 1 to count + qcount.
    pub slot: u16,
    /// See [`protocol`].
    pub protocol: u8,
    /// See [`scope`].
    pub scope: u8,
    /// Always zero.
    pub pad: [u8; 2],
}

impl ServiceKey {
    /// Key of the master of a frontend.
    #[inline(always)]
    pub const fn master(address: Be32, port: Be16, protocol: u8, scope: u8) -> Self {
        Self { address, port, slot: 0, protocol, scope, pad: [0; 2] }
    }

    /// Key of the wildcard entry of an address: it makes other ports of a service address be dropped on the way in
    /// instead of reaching the host.
    pub const fn wildcard(address: Be32) -> Self {
        Self::master(address, Be16::new(0), protocol::ANY, scope::EXTERNAL)
    }

    /// Key of another slot of the same frontend.
    #[inline(always)]
    pub const fn with_slot(self, slot: u16) -> Self {
        Self { slot, ..self }
    }

    /// Whether this is a wildcard entry.
    pub fn is_wildcard(&self) -> bool {
        *self == Self::wildcard(self.address)
    }

    /// Frontend address.
    pub fn ip(&self) -> Ipv4Addr {
        self.address.into()
    }

    fn rank(&self) -> (Be32, Be16, u8, u8, u16) {
        (self.address, self.port, self.protocol, self.scope, self.slot)
    }
}

impl PartialOrd for ServiceKey {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ServiceKey {
    /// By address, port, protocol, scope, slot.
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.rank().cmp(&other.rank()).then_with(|| self.pad.cmp(&other.pad))
    }
}

/// Value: a master or a slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceValue {
    /// Slot: the backend id. Master: the algorithm in the top 8 bits and the time-out of session affinity in seconds
    /// in the low 24; of a layer-7 service the proxy port.
    pub union: u32,
    /// Master: number of slots that may be chosen. Slot: 0.
    pub count: u16,
    /// Service id. 0 in a wildcard entry.
    pub rev_nat: Be16,
    /// Low and high flag byte.
    pub flags: ServiceFlags,
    /// Master: number of slots after the first `count` that are kept but never chosen. Slot: 0.
    pub qcount: u16,
}

impl ServiceValue {
    /// Largest time-out of session affinity, in seconds: it has 24 bits.
    pub const AFFINITY_TIMEOUT_MAX: u32 = (1 << 24) - 1;

    /// The union of a master: one of [`algorithm`], and the time-out of session affinity in seconds, which is cut to
    /// [`AFFINITY_TIMEOUT_MAX`](Self::AFFINITY_TIMEOUT_MAX).
    pub const fn master_union(algorithm: u8, affinity_timeout: u32) -> u32 {
        let timeout =
            if affinity_timeout > Self::AFFINITY_TIMEOUT_MAX { Self::AFFINITY_TIMEOUT_MAX } else { affinity_timeout };
        (algorithm as u32) << 24 | timeout
    }

    /// One of [`algorithm`], of a master.
    pub const fn algorithm(&self) -> u8 {
        (self.union >> 24) as u8
    }

    /// Time-out of session affinity in seconds, of a master.
    #[inline(always)]
    pub const fn affinity_timeout(&self) -> u32 {
        self.union & Self::AFFINITY_TIMEOUT_MAX
    }

    /// Backend id, of a slot.
    #[inline(always)]
    pub const fn backend_id(&self) -> u32 {
        self.union
    }

    /// Port of the layer-7 proxy, of a master with [`ServiceFlags::L7_LOAD_BALANCER`].
    pub const fn proxy_port(&self) -> u16 {
        Be16::from_raw(self.union as u16).get()
    }
}
