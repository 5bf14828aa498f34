//! Numeric security identities, with Cilium's split of the number (`pkg/identity`).

use std::{fmt, num::ParseIntError, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{ClusterId, MaxConnectedClusters};

/// The number of a security identity: what policy is decided by. Host byte order.
///
/// Bits 31 to 24 are the scope, bits 23 to 0 the value. Of a global identity the upper bits of the value are the ID of the
/// cluster that allocated it, the lower ones its own numbering; how many are which is [`MaxConnectedClusters`]'s to say.
/// Numbers below [`Self::DYNAMIC_FIRST`] mean something of their own in every cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NumericIdentity(u32);

impl NumericIdentity {
    /// Nobody knows.
    pub const UNKNOWN: Self = Self(0);
    /// The node itself. Only ever means the node that says so.
    pub const HOST: Self = Self(1);
    /// Everything outside of the mesh.
    pub const WORLD: Self = Self(2);
    /// A pod that no agent looks after.
    pub const UNMANAGED: Self = Self(3);
    /// The health endpoint of a node.
    pub const HEALTH: Self = Self(4);
    /// A pod whose labels are not known yet.
    pub const INIT: Self = Self(5);
    /// Every node of every cluster but the node itself.
    pub const REMOTE_NODE: Self = Self(6);
    /// Backends of the Kubernetes API.
    pub const KUBE_APISERVER: Self = Self(7);
    /// Addresses of the ingress proxy.
    pub const INGRESS: Self = Self(8);
    /// The part of [`Self::WORLD`] that has IPv4 addresses, on dual-stack nodes.
    pub const WORLD_IPV4: Self = Self(9);
    /// The part of [`Self::WORLD`] that has IPv6 addresses, on dual-stack nodes.
    pub const WORLD_IPV6: Self = Self(10);

    /// First number that is allocated; those below are reserved, well known, or for users to give out.
    pub const DYNAMIC_FIRST: u32 = 256;

    /// Bits of the value: as many as a VXLAN network identifier has, in which an identity travels.
    const VALUE_BITS: u32 = 24;

    /// The identity of a number. Every number is one.
    pub const fn new(raw: u32) -> Self {
        Self(raw)
    }

    /// The identity `local` of `cluster`; `None` when `local` does not fit into [`MaxConnectedClusters::local_bits`].
    pub fn of_cluster(cluster: ClusterId, local: u32, limit: MaxConnectedClusters) -> Option<Self> {
        (local >> limit.local_bits() == 0).then(|| Self(u32::from(cluster.get()) << limit.local_bits() | local))
    }

    /// The number itself.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whose number it is; `None` for a scope that Cilium does not have.
    pub fn scope(self) -> Option<IdentityScope> {
        match self.0 >> Self::VALUE_BITS {
            0 => Some(IdentityScope::Global),
            1 => Some(IdentityScope::Local),
            2 => Some(IdentityScope::RemoteNode),
            _ => None,
        }
    }

    /// The cluster that allocated it; `None` for reserved numbers, for those of a cluster without mesh (ID 0), and for
    /// identities that are not global.
    pub fn cluster(self, limit: MaxConnectedClusters) -> Option<ClusterId> {
        if self.scope() != Some(IdentityScope::Global) {
            return None;
        }
        ClusterId::new(u16::try_from(self.0 >> limit.local_bits()).ok()?, limit).ok()
    }

    /// The number without scope and cluster ID.
    pub fn local(self, limit: MaxConnectedClusters) -> u32 {
        match self.scope() {
            Some(IdentityScope::Global) => self.0 & ((1 << limit.local_bits()) - 1),
            _ => self.0 & ((1 << Self::VALUE_BITS) - 1),
        }
    }

    /// Whether it is below [`Self::DYNAMIC_FIRST`]: not of any one cluster.
    pub fn is_reserved(self) -> bool {
        self.0 < Self::DYNAMIC_FIRST
    }

    /// Cilium's name of a reserved or well-known number, without a source.
    ///
    /// Numbers 11 to 14 have none here: what they mean depends on the version, and they never travel.
    pub fn reserved_name(self) -> Option<&'static str> {
        let well_known = |index: u32| WELL_KNOWN.get(index as usize % WELL_KNOWN.len()).copied();
        match self.0 {
            0..=10 => RESERVED.get(self.0 as usize).copied(),
            WELL_KNOWN_FIRST..=WELL_KNOWN_LAST => well_known(self.0 - WELL_KNOWN_FIRST),
            _ => None,
        }
    }
}

const RESERVED: [&str; 11] = [
    "unknown",
    "host",
    "world",
    "unmanaged",
    "health",
    "init",
    "remote-node",
    "kube-apiserver",
    "ingress",
    "world-ipv4",
    "world-ipv6",
];

/// 100 to 107; 108 to 115 are the same again, for clusters whose namespaces carry the label with their name.
const WELL_KNOWN: [&str; 8] = [
    "etcd-operator",
    "cilium-kvstore",
    "kube-dns",
    "eks-kube-dns",
    "coredns",
    "cilium-operator",
    "eks-coredns",
    "cilium-etcd-operator",
];
const WELL_KNOWN_FIRST: u32 = 100;
const WELL_KNOWN_LAST: u32 = 115;

impl fmt::Display for NumericIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for NumericIdentity {
    type Err = ParseIntError;

    fn from_str(number: &str) -> Result<Self, Self::Err> {
        number.parse().map(Self)
    }
}

/// Whose number an identity is: bits 31 to 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdentityScope {
    /// The whole mesh's (0), reserved numbers included.
    Global,
    /// One node's own, for CIDRs (1). Never shared.
    Local,
    /// One node's own, for other nodes (2). Never shared.
    RemoteNode,
}

impl MaxConnectedClusters {
    /// Bits of an identity that number the identities of one cluster: 16, or 15 with 511 clusters.
    pub fn local_bits(self) -> u32 {
        match self {
            Self::N255 => 16,
            Self::N511 => 15,
        }
    }
}

impl ClusterId {
    /// The identities that this cluster allocates from.
    pub fn identities(self, limit: MaxConnectedClusters) -> RangeInclusive<NumericIdentity> {
        let first = u32::from(self.get()) << limit.local_bits();
        NumericIdentity(first)..=NumericIdentity(first + (1 << limit.local_bits()) - 1)
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    const N255: MaxConnectedClusters = MaxConnectedClusters::N255;
    const N511: MaxConnectedClusters = MaxConnectedClusters::N511;

    fn id(raw: u16) -> ClusterId {
        ClusterId::new(raw, N511).unwrap()
    }

    // The ranges that Cilium's documentation gives.
    #[test_case(1, N255 => (65_536, 131_071) ; "first of 255")]
    #[test_case(3, N255 => (196_608, 262_143) ; "third of 255")]
    #[test_case(255, N255 => (16_711_680, 16_777_215) ; "last of 255")]
    #[test_case(1, N511 => (32_768, 65_535) ; "first of 511")]
    #[test_case(511, N511 => (16_744_448, 16_777_215) ; "last of 511")]
    fn ranges(cluster: u16, limit: MaxConnectedClusters) -> (u32, u32) {
        let range = id(cluster).identities(limit);
        (range.start().get(), range.end().get())
    }

    #[test_case(199_472, N255 => (Some(3), 2_864) ; "a pod of cluster 3")]
    #[test_case(199_472, N511 => (Some(6), 2_864) ; "the same number where IDs have 9 bits")]
    #[test_case(16_777_215, N511 => (Some(511), 32_767) ; "the last of all")]
    #[test_case(6, N255 => (None, 6) ; "reserved")]
    #[test_case(5_000, N255 => (None, 5_000) ; "of a cluster without mesh")]
    #[test_case(16_777_217, N255 => (None, 1) ; "CIDR")]
    #[test_case(0x0200_0007, N255 => (None, 7) ; "node of node policies")]
    fn taken_apart(raw: u32, limit: MaxConnectedClusters) -> (Option<u16>, u32) {
        let identity = NumericIdentity::new(raw);
        (identity.cluster(limit).map(ClusterId::get), identity.local(limit))
    }

    #[test]
    fn put_together() {
        assert_eq!(NumericIdentity::of_cluster(id(3), 2_864, N255), Some(NumericIdentity::new(199_472)));
        assert_eq!(NumericIdentity::of_cluster(id(3), 65_536, N255), None);
        assert_eq!(NumericIdentity::of_cluster(id(3), 32_768, N511), None);
    }

    #[test_case(255 => Some(IdentityScope::Global))]
    #[test_case(0x0100_0001 => Some(IdentityScope::Local))]
    #[test_case(0x0200_0001 => Some(IdentityScope::RemoteNode))]
    #[test_case(0x0300_0001 => None)]
    fn scopes(raw: u32) -> Option<IdentityScope> {
        NumericIdentity::new(raw).scope()
    }

    #[test_case(1 => Some("host"))]
    #[test_case(10 => Some("world-ipv6"))]
    #[test_case(11 => None ; "depends on the version")]
    #[test_case(102 => Some("kube-dns"))]
    #[test_case(110 => Some("kube-dns") ; "with the namespace's label")]
    #[test_case(116 => None)]
    #[test_case(256 => None)]
    fn names(raw: u32) -> Option<&'static str> {
        NumericIdentity::new(raw).reserved_name()
    }
}
