//! From a desired frontend to the writes that make the maps say so.
//!
//! Pure: looks at [`Contents`], changes nothing. The order of the writes is Cilium's, because each
//! state in between is seen by connections: the master comes after its slots, a slot after its backend, and nothing
//! that is still referred to is removed.

use std::collections::{BTreeMap, BTreeSet};

use mesh_abi::{
    AffinityMatchKey, BackendKey, BackendValue, Be16, Be32, ReverseNatKey, ReverseNatValue, ServiceFlags, ServiceKey,
    ServiceValue, algorithm,
};
use mesh_planted::{Defect, planted};
use mesh_types::{Algorithm, Backend, BackendState, Frontend, FrontendType, TrafficPolicy};

use crate::{Contents, DatapathError, DatapathErrorKind, Write, contents::has_wildcard, ids::Ids};

/// Where new ids come from.
#[derive(Clone, Debug)]
pub struct Allocator {
    services: Ids,
    backends: Ids,
}

impl Allocator {
    /// Continues after the largest ids in `contents`.
    pub fn restore(contents: &Contents) -> Self {
        let in_services = contents.services().values().map(|value| value.rev_nat);
        let in_reverse_nat = contents.reverse_nat().keys().map(|key| key.0);
        let service = in_services.chain(in_reverse_nat).max().unwrap_or_default();
        let backend = contents.backends().last_key_value().map_or(0, |(key, _)| key.0);
        Self {
            services: Ids::after(u32::from(service.get()), u32::from(u16::MAX)),
            backends: Ids::after(backend, u32::MAX),
        }
    }

    fn service(&mut self, contents: &Contents) -> Option<Be16> {
        let be16 = |id: u32| Be16::new(u16::try_from(id).expect("the counter ends at u16::MAX"));
        self.services.next(|id| contents.has_service_id(be16(id))).map(be16)
    }

    fn backend(&mut self, contents: &Contents) -> Option<BackendKey> {
        self.backends.next(|id| contents.backends().contains_key(&BackendKey(id))).map(BackendKey)
    }
}

/// What a frontend's entries should be, with ids.
struct Desired {
    master: (ServiceKey, ServiceValue),
    slots: Vec<(ServiceKey, ServiceValue)>,
    backends: Vec<(BackendKey, BackendValue)>,
    affinity_matches: BTreeSet<AffinityMatchKey>,
}

/// The writes that make the maps serve `frontend`.
///
/// # Errors
///
/// When there is no free id or the frontend has more backends than slots can be numbered.
pub fn upsert(
    contents: &Contents,
    allocator: &mut Allocator,
    frontend: &Frontend,
) -> Result<Vec<Write>, DatapathError> {
    let desired = desire(contents, allocator, frontend)
        .map_err(|kind| DatapathError::new(format!("plan service `{}`", frontend.service), kind))?;
    let (master, master_value) = desired.master;
    let rev_nat = master_value.rev_nat;
    let mut writes = Vec::new();

    let backends = desired.backends.iter().filter(|(key, value)| contents.backends().get(key) != Some(value));
    writes.extend(backends.map(|&(key, value)| Write::PutBackend(key, value)));
    let slots = desired.slots.iter().filter(|(key, value)| contents.services().get(key) != Some(value));
    writes.extend(slots.map(|&(key, value)| Write::PutService(key, value)));
    let new_matches = desired.affinity_matches.iter().filter(|&&key| !contents.has_affinity_match(key));
    writes.extend(new_matches.map(|&key| Write::PutAffinityMatch(key)));
    let old_matches = contents.affinity_matches_of(rev_nat).filter(|key| !desired.affinity_matches.contains(key));
    writes.extend(old_matches.map(Write::RemoveAffinityMatch));
    let reverse_key = ReverseNatKey(rev_nat);
    let mut reverse_value = ReverseNatValue { address: master.address, port: master.port };
    if planted(Defect::RevNatWrong) {
        reverse_value.address = Be32::new(master.address.get().wrapping_add(1));
    }
    if contents.reverse_nat().get(&reverse_key) != Some(&reverse_value) {
        writes.push(Write::PutReverseNat(reverse_key, reverse_value));
    }
    if contents.services().get(&master) != Some(&master_value) {
        let place = if planted(Defect::MasterWrittenFirst) { 0 } else { writes.len() };
        writes.insert(place, Write::PutService(master, master_value));
    }
    writes.extend(wildcard(contents, master, Some(master_value.flags)));

    if planted(Defect::StaleSlotLeft) {
        return Ok(writes);
    }
    let surplus =
        contents.frontend(master).map(|(key, _)| *key).filter(|key| usize::from(key.slot) > desired.slots.len());
    writes.extend(surplus.map(Write::RemoveService));
    let kept: BTreeSet<BackendKey> = desired.backends.iter().map(|&(key, _)| key).collect();
    writes.extend(orphans(contents, master, &kept).into_iter().map(Write::RemoveBackend));
    Ok(writes)
}

/// The writes that make the maps forget a frontend.
pub fn delete(contents: &Contents, master: ServiceKey) -> Vec<Write> {
    let mut writes = Vec::new();
    let ids: BTreeSet<Be16> = contents.frontend(master).map(|(_, value)| value.rev_nat).collect();
    if ids.is_empty() {
        return writes;
    }
    for &id in &ids {
        writes.extend(contents.affinity_matches_of(id).map(Write::RemoveAffinityMatch));
    }
    writes.extend(orphans(contents, master, &BTreeSet::new()).into_iter().map(Write::RemoveBackend));
    // The master last: until then a connection is refused at once instead of being sent to an address that nobody has.
    writes.extend(contents.frontend(master).rev().map(|(key, _)| Write::RemoveService(*key)));
    let reverse = ids.into_iter().map(ReverseNatKey).filter(|key| contents.reverse_nat().contains_key(key));
    writes.extend(reverse.map(Write::RemoveReverseNat));
    writes.extend(wildcard(contents, master, None));
    writes
}

/// The writes that remove what nothing refers to: leftovers of a writer that was interrupted.
pub fn sweep(contents: &Contents) -> Vec<Write> {
    let mut writes = Vec::new();
    let masters: BTreeMap<ServiceKey, ServiceValue> = contents
        .services()
        .iter()
        .filter(|(key, _)| key.slot == 0 && !key.is_wildcard())
        .map(|(key, value)| (*key, *value))
        .collect();
    let slots_of = |key: &ServiceKey| {
        masters.get(&key.with_slot(0)).map_or(0, |master| u32::from(master.count) + u32::from(master.qcount))
    };
    let surplus: BTreeSet<ServiceKey> =
        contents.services().keys().filter(|key| key.slot > 0 && u32::from(key.slot) > slots_of(key)).copied().collect();
    let live = contents.services().iter().filter(|(key, _)| key.slot > 0 && !surplus.contains(key));
    let referred: BTreeSet<AffinityMatchKey> =
        live.map(|(_, value)| AffinityMatchKey::new(value.backend_id(), value.rev_nat)).collect();
    let backends: BTreeSet<BackendKey> = referred.iter().map(|key| BackendKey(key.backend_id)).collect();
    let ids: BTreeSet<Be16> = masters.values().map(|value| value.rev_nat).collect();

    writes.extend(contents.affinity_matches().filter(|key| !referred.contains(key)).map(Write::RemoveAffinityMatch));
    writes.extend(surplus.iter().map(|&key| Write::RemoveService(key)));
    let orphans = contents.backends().keys().filter(|key| !backends.contains(key));
    writes.extend(orphans.map(|&key| Write::RemoveBackend(key)));
    let reverse = contents.reverse_nat().keys().filter(|key| !ids.contains(&key.0));
    writes.extend(reverse.map(|&key| Write::RemoveReverseNat(key)));
    let wildcards = contents.services().keys().filter(|key| key.is_wildcard());
    let unwanted = wildcards.filter(|key| contents.wildcard_parent(key.address, None).is_none());
    writes.extend(unwanted.map(|&key| Write::RemoveService(key)));
    writes
}

fn desire(contents: &Contents, allocator: &mut Allocator, frontend: &Frontend) -> Result<Desired, DatapathErrorKind> {
    let key = ServiceKey::from(frontend.address);
    let slots = slots(&frontend.backends);
    let too_many = |_| DatapathErrorKind::TooManyBackends { frontend: frontend.address, found: slots.len() };
    let total = u16::try_from(slots.len()).map_err(too_many)?;
    let current = contents.frontend(key).next().map(|(_, value)| value.rev_nat);
    let rev_nat = match current {
        Some(id) => id,
        None => allocator.service(contents).ok_or(DatapathErrorKind::NoServiceId { frontend: frontend.address })?,
    };
    let flags = flags(frontend);
    let count = selectable(&slots);
    let counted = match contents.services().get(&key) {
        _ if planted(Defect::SlotCountOffByOne) && count > 1 => count - 1,
        Some(old) if planted(Defect::SlotCountTooMany) && old.count > count => count + 1,
        _ => count,
    };

    let mut desired = Desired {
        master: (key, ServiceValue { union: union(frontend), count: counted, rev_nat, flags, qcount: total - count }),
        slots: Vec::with_capacity(slots.len()),
        backends: Vec::with_capacity(slots.len()),
        affinity_matches: BTreeSet::new(),
    };
    for (slot, backend) in (1..=total).zip(slots) {
        let value = BackendValue::new(backend.address, backend.state);
        let id = match contents.backend_id(&value) {
            Some(id) => id,
            None => allocator.backend(contents).ok_or(DatapathErrorKind::NoBackendId)?,
        };
        let quarantined = match backend.state {
            BackendState::Quarantined => ServiceFlags::QUARANTINED,
            BackendState::Active
            | BackendState::Terminating
            | BackendState::TerminatingNotServing
            | BackendState::Maintenance => ServiceFlags::NONE,
        };
        let slot_value = ServiceValue { union: id.0, count: 0, rev_nat, flags: flags | quarantined, qcount: 0 };
        desired.backends.push((id, value));
        desired.slots.push((key.with_slot(slot), slot_value));
        if frontend.session_affinity.is_some() && backend.state == BackendState::Active {
            desired.affinity_matches.insert(AffinityMatchKey::new(id.0, rev_nat));
        }
    }
    Ok(desired)
}

/// The backends that get a slot, in slot order: by state, then address. That of a duplicate address with the better
/// state wins; backends in maintenance get none.
fn slots(backends: &[Backend]) -> Vec<&Backend> {
    let mut slots: Vec<&Backend> =
        backends.iter().filter(|backend| backend.state != BackendState::Maintenance).collect();
    slots.sort_unstable();
    let mut seen = BTreeSet::new();
    slots.retain(|backend| seen.insert(backend.address));
    if planted(Defect::TerminatingPreferred) {
        slots.sort_by_key(|backend| backend.state != BackendState::Terminating);
    }
    slots
}

/// How many of the slots may be chosen: the active ones, or the terminating ones when nothing is active (KEP-1669).
fn selectable(slots: &[&Backend]) -> u16 {
    let with = |state| slots.iter().filter(|backend| backend.state == state).count();
    let count = match with(BackendState::Active) {
        _ if planted(Defect::TerminatingPreferred) && with(BackendState::Terminating) > 0 => {
            with(BackendState::Terminating)
        }
        0 => with(BackendState::Terminating),
        active => active,
    };
    u16::try_from(count).expect("the number of all slots was checked")
}

/// The union of the master.
fn union(frontend: &Frontend) -> u32 {
    let algorithm = match frontend.algorithm {
        None => algorithm::UNDEFINED,
        Some(Algorithm::Random) => algorithm::RANDOM,
        Some(Algorithm::Maglev) => algorithm::MAGLEV,
    };
    let timeout = frontend.session_affinity.map_or(0, |timeout| u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX));
    ServiceValue::master_union(algorithm, timeout)
}

/// The flags of the master and, but for quarantine, of its slots.
fn flags(frontend: &Frontend) -> ServiceFlags {
    let kind = match frontend.kind {
        FrontendType::ClusterIp => ServiceFlags::NONE,
        FrontendType::NodePort => ServiceFlags::NODE_PORT,
        FrontendType::ExternalIp => ServiceFlags::EXTERNAL_IP,
        FrontendType::LoadBalancer => ServiceFlags::LOAD_BALANCER,
    };
    let is_cluster_ip = frontend.kind == FrontendType::ClusterIp;
    // The entry on 0.0.0.0 is a surrogate for the node's own addresses, each of which has an entry too.
    let is_surrogate = frontend.address.ip.is_unspecified();
    let policies = frontend.policies;
    let flag = |set, flag| if set { flag } else { ServiceFlags::NONE };
    kind | flag(!is_cluster_ip && !is_surrogate, ServiceFlags::ROUTABLE)
        | flag(frontend.session_affinity.is_some(), ServiceFlags::SESSION_AFFINITY)
        | flag(policies.external == TrafficPolicy::Local, ServiceFlags::EXTERNAL_LOCAL)
        | flag(policies.internal == TrafficPolicy::Local, ServiceFlags::INTERNAL_LOCAL)
        | flag(!is_cluster_ip && policies.external != policies.internal, ServiceFlags::TWO_SCOPES)
}

/// The write, if any, that the wildcard entry of a frontend's address needs once the frontend has `flags` (or is
/// gone, when `None`). It says of which kind the first frontend of the address is that asks for one.
fn wildcard(contents: &Contents, master: ServiceKey, flags: Option<ServiceFlags>) -> Option<Write> {
    let key = ServiceKey::wildcard(master.address);
    let own = flags.filter(|flags| has_wildcard(*flags)).map(|flags| (master, flags));
    let parent =
        own.into_iter().chain(contents.wildcard_parent(master.address, Some(master))).min_by_key(|(key, _)| *key);
    let wanted = parent.map(|(_, flags)| ServiceValue { flags: flags.kind(), ..ServiceValue::default() });
    match (wanted, contents.services().get(&key)) {
        (Some(wanted), found) if found != Some(&wanted) => Some(Write::PutService(key, wanted)),
        (None, Some(_)) if !planted(Defect::WildcardLeft) => Some(Write::RemoveService(key)),
        _ => None,
    }
}

/// Backends in slots of a frontend that are in no other frontend's slots and not in `kept`.
fn orphans(contents: &Contents, master: ServiceKey, kept: &BTreeSet<BackendKey>) -> Vec<BackendKey> {
    let mut own: BTreeMap<BackendKey, usize> = BTreeMap::new();
    if planted(Defect::OrphanBackendLeft) {
        return Vec::new();
    }
    for (_, value) in contents.frontend(master).filter(|(key, _)| key.slot > 0) {
        *own.entry(BackendKey(value.backend_id())).or_default() += 1;
    }
    own.into_iter()
        .filter(|&(backend, slots)| !kept.contains(&backend) && contents.slots_of(backend) == slots)
        .map(|(backend, _)| backend)
        .filter(|backend| contents.backends().contains_key(backend))
        .collect()
}
