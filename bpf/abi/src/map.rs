//! Names, types, sizes and flags of the maps.

use core::{fmt, mem::size_of};

use crate::{
    AffinityKey, AffinityMatchKey, AffinityValue, BackendKey, BackendValue, IpcacheKey, IpcacheValue, ReverseNatKey,
    ReverseNatValue, ReverseSkKey, ReverseSkValue, ServiceKey, ServiceValue,
};

/// What kind of map it is. The numbers are the kernel's `enum bpf_map_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MapType {
    /// `BPF_MAP_TYPE_HASH`.
    Hash = 1,
    /// `BPF_MAP_TYPE_LRU_HASH`.
    LruHash = 9,
    /// `BPF_MAP_TYPE_LPM_TRIE`.
    LpmTrie = 11,
}

/// Creation flags of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapFlags(pub u32);

impl MapFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// `BPF_F_NO_PREALLOC`: entries are allocated when they are written.
    pub const NO_PREALLOC: Self = Self(1);
    /// `BPF_F_RDONLY_PROG`: programs only read.
    pub const RDONLY_PROG: Self = Self(0x80);
}

/// Everything that decides whether a pinned map is the one that we want: Cilium compares the same five things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSpec {
    /// File name of the pin. The kernel cuts its own copy to 15 characters, so maps are found by pin.
    pub name: &'static str,
    /// Kind of map.
    pub kind: MapType,
    /// Size of a key in bytes.
    pub key_size: u32,
    /// Size of a value in bytes.
    pub value_size: u32,
    /// Most entries that it can hold.
    pub max_entries: u32,
    /// Creation flags.
    pub flags: MapFlags,
}

impl fmt::Display for MapSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Cilium's `bpf-lb-map-max`: size of every load-balancer map without an option of its own.
const LB_MAP_MAX: u32 = 65_536;
/// Cilium's `bpf-sock-rev-map-max`: four times the other maps, because it has an entry a socket.
const SOCK_REV_MAP_MAX: u32 = 4 * LB_MAP_MAX;
/// Size of Cilium's ipcache.
const IPCACHE_MAX: u32 = 512_000;

const fn spec<K, V>(name: &'static str, kind: MapType, max_entries: u32) -> MapSpec {
    MapSpec {
        name,
        kind,
        key_size: size_of::<K>() as u32,
        value_size: size_of::<V>() as u32,
        max_entries,
        // Cilium's Helm chart sets `bpf.preallocateMaps: false`, hence NO_PREALLOC on plain hash maps, and an LRU
        // map cannot have it. It matters twice: a Cilium agent would throw away a map with other flags, and only
        // without preallocation does the kernel replace an element instead of overwriting it under a reader.
        flags: match kind {
            MapType::Hash => MapFlags::NO_PREALLOC,
            MapType::LruHash => MapFlags::NONE,
            // The kernel has no other tries; of those that we make, Cilium since 1.19 lets programs only read.
            MapType::LpmTrie => MapFlags(MapFlags::NO_PREALLOC.0 | MapFlags::RDONLY_PROG.0),
        },
    }
}

/// Frontends and their slots.
pub const SERVICES: MapSpec = spec::<ServiceKey, ServiceValue>("cilium_lb4_services_v2", MapType::Hash, LB_MAP_MAX);
/// Backends by id.
pub const BACKENDS: MapSpec = spec::<BackendKey, BackendValue>("cilium_lb4_backends_v3", MapType::Hash, LB_MAP_MAX);
/// Service id to frontend address.
pub const REVERSE_NAT: MapSpec =
    spec::<ReverseNatKey, ReverseNatValue>("cilium_lb4_reverse_nat", MapType::Hash, LB_MAP_MAX);
/// What a socket asked for before its address was rewritten.
pub const REVERSE_SK: MapSpec =
    spec::<ReverseSkKey, ReverseSkValue>("cilium_lb4_reverse_sk", MapType::LruHash, SOCK_REV_MAP_MAX);
/// Which backend a client of a service with session affinity has.
pub const AFFINITY: MapSpec = spec::<AffinityKey, AffinityValue>("cilium_lb4_affinity", MapType::LruHash, LB_MAP_MAX);
/// Which backends a service with session affinity may keep clients on; the value is one zero byte.
pub const AFFINITY_MATCH: MapSpec = spec::<AffinityMatchKey, u8>("cilium_lb_affinity_match", MapType::Hash, LB_MAP_MAX);

/// From addresses to security identities.
pub const IPCACHE: MapSpec = spec::<IpcacheKey, IpcacheValue>("cilium_ipcache_v2", MapType::LpmTrie, IPCACHE_MAX);

/// The load balancer's maps.
pub const LB_MAPS: [MapSpec; 6] = [SERVICES, BACKENDS, REVERSE_NAT, REVERSE_SK, AFFINITY, AFFINITY_MATCH];
/// Every map, in the order in which they are created.
pub const MAPS: [MapSpec; 7] = [SERVICES, BACKENDS, REVERSE_NAT, REVERSE_SK, AFFINITY, AFFINITY_MATCH, IPCACHE];
