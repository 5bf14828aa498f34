//! `cilium_ipcache_v2`: from an address to the security identity behind it, and to the node that it lives on.

use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::BitOr,
};

/// Values of the `family` byte.
pub mod family {
    /// IPv4.
    pub const V4: u8 = 1;
    /// IPv6.
    pub const V6: u8 = 2;
}

/// Key: a prefix of addresses. The map is a trie, a lookup finds the longest prefix that fits.
///
/// The derived equality is that of the bytes. The order is by family, address, prefix length, cluster.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpcacheKey {
    /// How many bits after this field count: [`STATIC_BITS`](Self::STATIC_BITS) and the length of the prefix.
    pub prefix_len: u32,
    /// 0 without cluster-aware addressing: addresses are unique in the whole mesh.
    pub cluster_id: u16,
    /// Always zero.
    pub pad: u8,
    /// See [`family`].
    pub family: u8,
    /// Network order; IPv4 has the first four bytes. Bits after the prefix are zero.
    pub address: [u8; 16],
}

impl IpcacheKey {
    /// Bits of `cluster_id`, `pad` and `family`, which every lookup compares.
    pub const STATIC_BITS: u32 = 32;

    /// Key of the addresses that have the first `bits` bits in common with `address`, in a mesh of unique addresses.
    pub fn new(address: IpAddr, bits: u8) -> Self {
        let (family, address) = match address {
            IpAddr::V4(address) => (family::V4, v4_in_16(address)),
            IpAddr::V6(address) => (family::V6, address.octets()),
        };
        Self { prefix_len: Self::STATIC_BITS + u32::from(bits), cluster_id: 0, pad: 0, family, address }
    }

    /// First address of the prefix; `None` for a family that we do not know.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.family {
            family::V4 => Some(v4_of_16(self.address).into()),
            family::V6 => Some(Ipv6Addr::from(self.address).into()),
            _ => None,
        }
    }

    /// Length of the address prefix in bits.
    pub fn bits(&self) -> u32 {
        self.prefix_len.saturating_sub(Self::STATIC_BITS)
    }

    fn rank(&self) -> (u8, [u8; 16], u32, u16, u8) {
        (self.family, self.address, self.prefix_len, self.cluster_id, self.pad)
    }
}

impl PartialOrd for IpcacheKey {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for IpcacheKey {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// Flag bits of a value.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpcacheFlags(pub u8);

impl IpcacheFlags {
    /// No bit.
    pub const NONE: Self = Self(0);
    /// Goes to the node as it is, although there is a tunnel.
    pub const SKIP_TUNNEL: Self = Self(1);
    /// There is a tunnel endpoint.
    pub const HAS_TUNNEL: Self = Self(2);
    /// The tunnel endpoint has an IPv6 address.
    pub const IPV6_TUNNEL: Self = Self(4);
    /// A node of another cluster (Cilium 1.19).
    pub const REMOTE_CLUSTER: Self = Self(8);

    /// Whether all bits of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for IpcacheFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Value: who is behind the addresses, and where.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpcacheValue {
    /// Numeric security identity.
    pub identity: u32,
    /// Address of the node, network order; IPv4 has the first four bytes. Zero when there is none.
    pub tunnel_endpoint: [u8; 16],
    /// Always zero.
    pub pad: u16,
    /// Index of the encryption key, 0 without encryption.
    pub encrypt_key: u8,
    /// See [`IpcacheFlags`].
    pub flags: IpcacheFlags,
}

impl IpcacheValue {
    /// Tunnel endpoint, all zeros when there is none.
    pub fn tunnel_ip(&self) -> IpAddr {
        match self.flags.has(IpcacheFlags::IPV6_TUNNEL) {
            true => Ipv6Addr::from(self.tunnel_endpoint).into(),
            false => v4_of_16(self.tunnel_endpoint).into(),
        }
    }
}

/// An IPv4 address as it lies in sixteen bytes.
pub(crate) fn v4_in_16(address: Ipv4Addr) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&address.octets());
    bytes
}

fn v4_of_16([a, b, c, d, ..]: [u8; 16]) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}
