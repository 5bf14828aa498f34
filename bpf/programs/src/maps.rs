//! The maps, which the agent makes and pins before this object is loaded, and typed access to them.

use aya_ebpf::{
    macros::map,
    maps::{HashMap, LruHashMap},
};
use mesh_abi::{
    AFFINITY, AFFINITY_MATCH, AffinityKey, AffinityMatchKey, AffinityValue, BACKENDS, BackendKey, BackendValue,
    MapSpec, REVERSE_SK, ReverseSkKey, ReverseSkValue, SERVICES, ServiceKey, ServiceValue,
};

#[map(name = "cilium_lb4_services_v2")]
static SERVICES_MAP: HashMap<ServiceKey, ServiceValue> = hash(&SERVICES);
#[map(name = "cilium_lb4_backends_v3")]
static BACKENDS_MAP: HashMap<BackendKey, BackendValue> = hash(&BACKENDS);
#[map(name = "cilium_lb_affinity_match")]
static AFFINITY_MATCH_MAP: HashMap<AffinityMatchKey, u8> = hash(&AFFINITY_MATCH);
#[map(name = "cilium_lb4_affinity")]
pub(crate) static AFFINITIES: LruHashMap<AffinityKey, AffinityValue> = lru_hash(&AFFINITY);
#[map(name = "cilium_lb4_reverse_sk")]
pub(crate) static REVERSE: LruHashMap<ReverseSkKey, ReverseSkValue> = lru_hash(&REVERSE_SK);

const fn hash<K, V>(spec: &MapSpec) -> HashMap<K, V> {
    HashMap::with_max_entries(spec.max_entries, spec.flags.0)
}

const fn lru_hash<K, V>(spec: &MapSpec) -> LruHashMap<K, V> {
    LruHashMap::with_max_entries(spec.max_entries, spec.flags.0)
}

/// A master or a slot.
#[inline(always)]
pub(crate) fn service(key: &ServiceKey) -> Option<ServiceValue> {
    // SAFETY: the map is not preallocated, so the agent's writes replace elements and never change one; the kernel
    // frees a replaced element only after this program has ended.
    unsafe { SERVICES_MAP.get(key) }.copied()
}

/// A backend.
#[inline(always)]
pub(crate) fn backend(id: u32) -> Option<BackendValue> {
    // SAFETY: as in `service`.
    unsafe { BACKENDS_MAP.get(BackendKey(id)) }.copied()
}

/// Whether a backend may keep clients of a service.
#[inline(always)]
pub(crate) fn may_keep(key: &AffinityMatchKey) -> bool {
    AFFINITY_MATCH_MAP.get_ptr(key).is_some()
}
