//! Flag bits of a service value.

use core::ops::{BitAnd, BitOr};

/// The two flag bytes of a service value; the second is the high byte of the constants.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceFlags(pub [u8; 2]);

macro_rules! flags {
    ($($(#[$meta:meta])* $name:ident = $bits:literal;)+) => {
        impl ServiceFlags {
            $($(#[$meta])* pub const $name: Self = Self(u16::to_le_bytes($bits));)+
        }
    };
}

flags! {
    /// No bit: a ClusterIP service.
    NONE = 0;
    /// An external IP.
    EXTERNAL_IP = 0x0001;
    /// A node port.
    NODE_PORT = 0x0002;
    /// `externalTrafficPolicy: Local`.
    EXTERNAL_LOCAL = 0x0004;
    /// A host port.
    HOST_PORT = 0x0008;
    /// `sessionAffinity: ClientIP`.
    SESSION_AFFINITY = 0x0010;
    /// A load balancer's address.
    LOAD_BALANCER = 0x0020;
    /// May be reached from outside; absent on surrogates and cluster IPs.
    ROUTABLE = 0x0040;
    /// Source ranges are checked.
    SOURCE_RANGE = 0x0080;
    /// Local redirect policy.
    LOCAL_REDIRECT = 0x0100;
    /// IPv4 frontend with IPv6 backends, or the reverse.
    NAT_46X64 = 0x0200;
    /// Redirected to a layer-7 proxy.
    L7_LOAD_BALANCER = 0x0400;
    /// A host port on a loopback address; on other types: hand over to a local proxy.
    LOOPBACK = 0x0800;
    /// `internalTrafficPolicy: Local`.
    INTERNAL_LOCAL = 0x1000;
    /// There is a second frontend with scope *internal*.
    TWO_SCOPES = 0x2000;
    /// Slot: the backend is quarantined. Master: the source ranges are a deny list.
    QUARANTINED = 0x4000;
    /// Forwarded by direct server return.
    DSR = 0x8000;
}

impl ServiceFlags {
    /// The bits that say what kind of address a frontend has. A cluster IP has none of them.
    const KINDS: [Self; 5] =
        [Self::EXTERNAL_IP, Self::NODE_PORT, Self::LOAD_BALANCER, Self::HOST_PORT, Self::LOCAL_REDIRECT];

    /// The kind of address alone, which is [`NONE`](Self::NONE) for a cluster IP.
    pub fn kind(self) -> Self {
        self & Self::KINDS.into_iter().fold(Self::NONE, |all, kind| all | kind)
    }

    /// Whether all bits of `other` are set.
    #[inline(always)]
    pub const fn has(self, other: Self) -> bool {
        self.0[0] & other.0[0] == other.0[0] && self.0[1] & other.0[1] == other.0[1]
    }
}

impl BitOr for ServiceFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self([self.0[0] | other.0[0], self.0[1] | other.0[1]])
    }
}

impl BitAnd for ServiceFlags {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self([self.0[0] & other.0[0], self.0[1] & other.0[1]])
    }
}
