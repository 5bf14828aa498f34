//! Session affinity. The client is the network namespace, as in Cilium on the socket path.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use mesh_abi::{AffinityKey, AffinityMatchKey, AffinityValue, BackendValue, ServiceValue};

use crate::{context::Connection, maps};

const NANOSECONDS_A_SECOND: u64 = 1_000_000_000;

/// The backend that the client has, if it may keep it and was here recently. Counts as a use.
#[inline(always)]
pub(crate) fn current(connection: &Connection, service: ServiceValue) -> Option<BackendValue> {
    let key = key(connection, service);
    // SAFETY: an element of an LRU map may be reused while it is read; what is read is checked against other maps.
    let found = unsafe { maps::AFFINITIES.get(key) }?;
    let (last_used, id) = (found.last_used, found.backend_id);
    if now() >= last_used.saturating_add(u64::from(service.affinity_timeout())) {
        return None;
    }
    if !maps::may_keep(&AffinityMatchKey::new(id, service.rev_nat)) {
        // It may have gone already; either way it is not used.
        maps::AFFINITIES.remove(key).ok();
        return None;
    }
    let backend = maps::backend(id)?;
    keep(connection, service, id);
    Some(backend)
}

/// Notes the backend that the client has now.
#[inline(always)]
pub(crate) fn keep(connection: &Connection, service: ServiceValue, backend_id: u32) {
    let value = AffinityValue { last_used: now(), backend_id, pad: 0 };
    // Without it the next connection may go elsewhere, which is better than failing this one.
    maps::AFFINITIES.insert(key(connection, service), value, 0).ok();
}

#[inline(always)]
fn key(connection: &Connection, service: ServiceValue) -> AffinityKey {
    AffinityKey { client: connection.netns_cookie(), rev_nat: service.rev_nat, netns_cookie: 1, pad: 0, pad_end: 0 }
}

/// Seconds of the monotonic clock.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes nothing.
    unsafe { bpf_ktime_get_ns() / NANOSECONDS_A_SECOND }
}
