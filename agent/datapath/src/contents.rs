//! A mirror of what is in the maps, with the indexes that planning needs.

use std::collections::{BTreeMap, BTreeSet};

use mesh_abi::{
    AFFINITY_MATCH, AffinityMatchKey, BACKENDS, BackendKey, BackendValue, Be16, Be32, Bytes, MapSpec, REVERSE_NAT,
    ReverseNatKey, ReverseNatValue, SERVICES, ServiceFlags, ServiceKey, ServiceValue,
};

use crate::{DatapathError, MapSource, Write, error::wrong_length};

/// Address, port and protocol as they stand in a backend value.
type BackendAddressKey = (Be32, Be16, u8);

/// The four maps that the agent writes, decoded and in order.
///
/// Changed only by [`apply`](Self::apply), so that the indexes always fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    services: BTreeMap<ServiceKey, ServiceValue>,
    backends: BTreeMap<BackendKey, BackendValue>,
    reverse_nat: BTreeMap<ReverseNatKey, ReverseNatValue>,
    /// By service first, because it is searched by service.
    affinity_matches: BTreeSet<(Be16, BackendKey)>,
    /// Ids of a backend's address. There is one, unless another writer left a second.
    backend_ids: BTreeMap<BackendAddressKey, BTreeSet<BackendKey>>,
    /// In how many slots a backend is.
    backend_slots: BTreeMap<BackendKey, usize>,
    /// In how many service entries a service id is.
    service_ids: BTreeMap<Be16, usize>,
}

impl Contents {
    /// Reads all four maps.
    ///
    /// # Errors
    ///
    /// When a map cannot be read or has keys or values of another size.
    pub fn read(store: &impl MapSource) -> Result<Self, DatapathError> {
        let mut contents = Self::default();
        for (key, value) in entries(store, &BACKENDS)? {
            contents.apply(&Write::PutBackend(key, value));
        }
        for (key, value) in entries(store, &SERVICES)? {
            contents.apply(&Write::PutService(key, value));
        }
        for (key, value) in entries(store, &REVERSE_NAT)? {
            contents.apply(&Write::PutReverseNat(key, value));
        }
        for (key, _) in entries::<_, u8>(store, &AFFINITY_MATCH)? {
            contents.apply(&Write::PutAffinityMatch(key));
        }
        Ok(contents)
    }

    /// Records a change that was made in the maps.
    pub fn apply(&mut self, write: &Write) {
        match *write {
            Write::PutService(key, value) => {
                let old = self.services.insert(key, value);
                self.count_service(&key, old, Some(value));
            }
            Write::RemoveService(key) => {
                let old = self.services.remove(&key);
                self.count_service(&key, old, None);
            }
            Write::PutBackend(key, value) => {
                let old = self.backends.insert(key, value);
                self.forget_backend_id(key, old);
                self.backend_ids.entry(address_key(&value)).or_default().insert(key);
            }
            Write::RemoveBackend(key) => {
                let old = self.backends.remove(&key);
                self.forget_backend_id(key, old);
            }
            Write::PutReverseNat(key, value) => {
                self.reverse_nat.insert(key, value);
            }
            Write::RemoveReverseNat(key) => {
                self.reverse_nat.remove(&key);
            }
            Write::PutAffinityMatch(key) => {
                self.affinity_matches.insert((key.rev_nat, BackendKey(key.backend_id)));
            }
            Write::RemoveAffinityMatch(key) => {
                self.affinity_matches.remove(&(key.rev_nat, BackendKey(key.backend_id)));
            }
        }
    }

    fn count_service(&mut self, key: &ServiceKey, old: Option<ServiceValue>, new: Option<ServiceValue>) {
        if let Some(old) = old {
            uncount(&mut self.service_ids, old.rev_nat);
            if key.slot > 0 {
                uncount(&mut self.backend_slots, BackendKey(old.backend_id()));
            }
        }
        if let Some(new) = new {
            *self.service_ids.entry(new.rev_nat).or_default() += 1;
            if key.slot > 0 {
                *self.backend_slots.entry(BackendKey(new.backend_id())).or_default() += 1;
            }
        }
    }

    fn forget_backend_id(&mut self, key: BackendKey, old: Option<BackendValue>) {
        let Some(old) = old else { return };
        let address = address_key(&old);
        if let Some(ids) = self.backend_ids.get_mut(&address) {
            ids.remove(&key);
            if ids.is_empty() {
                self.backend_ids.remove(&address);
            }
        }
    }

    /// Masters, slots and wildcard entries, the slots of a frontend together.
    pub fn services(&self) -> &BTreeMap<ServiceKey, ServiceValue> {
        &self.services
    }

    /// Backends by id.
    pub fn backends(&self) -> &BTreeMap<BackendKey, BackendValue> {
        &self.backends
    }

    /// Frontend addresses by service id.
    pub fn reverse_nat(&self) -> &BTreeMap<ReverseNatKey, ReverseNatValue> {
        &self.reverse_nat
    }

    /// All pairs of service id and backend that may keep clients.
    pub fn affinity_matches(&self) -> impl Iterator<Item = AffinityMatchKey> + '_ {
        self.affinity_matches.iter().map(|&(rev_nat, backend)| AffinityMatchKey::new(backend.0, rev_nat))
    }

    /// The pairs of one service id.
    pub fn affinity_matches_of(&self, rev_nat: Be16) -> impl Iterator<Item = AffinityMatchKey> + '_ {
        self.affinity_matches
            .range((rev_nat, BackendKey(0))..=(rev_nat, BackendKey(u32::MAX)))
            .map(|&(rev_nat, backend)| AffinityMatchKey::new(backend.0, rev_nat))
    }

    /// Whether a backend may keep clients of a service.
    pub fn has_affinity_match(&self, key: AffinityMatchKey) -> bool {
        self.affinity_matches.contains(&(key.rev_nat, BackendKey(key.backend_id)))
    }

    /// Master (if there is one) and slots of the frontend that `master` is the key of.
    pub fn frontend(&self, master: ServiceKey) -> impl DoubleEndedIterator<Item = (&ServiceKey, &ServiceValue)> {
        self.services.range(master..=master.with_slot(u16::MAX))
    }

    /// The id of the backend with the address of `value`.
    pub fn backend_id(&self, value: &BackendValue) -> Option<BackendKey> {
        self.backend_ids.get(&address_key(value))?.first().copied()
    }

    /// In how many slots a backend is.
    pub fn slots_of(&self, backend: BackendKey) -> usize {
        self.backend_slots.get(&backend).copied().unwrap_or(0)
    }

    /// Whether a service id is taken.
    pub fn has_service_id(&self, id: Be16) -> bool {
        self.service_ids.contains_key(&id) || self.reverse_nat.contains_key(&ReverseNatKey(id))
    }

    /// Key and flags of the first master of an address, other than `except`, whose kind asks for a wildcard entry.
    pub fn wildcard_parent(&self, address: Be32, except: Option<ServiceKey>) -> Option<(ServiceKey, ServiceFlags)> {
        let first = ServiceKey::wildcard(address);
        let last = ServiceKey::master(address, Be16::new(u16::MAX), u8::MAX, u8::MAX).with_slot(u16::MAX);
        let mut masters = self.services.range(first..=last).filter(|(key, _)| key.slot == 0 && !key.is_wildcard());
        masters
            .find(|(key, value)| Some(**key) != except && has_wildcard(value.flags))
            .map(|(key, value)| (*key, value.flags))
    }
}

/// Whether frontends with such flags have a wildcard entry: cluster IPs, which have no bit of their own, and addresses of
/// load balancers. Other addresses may be a node's own, whose other ports are the node's.
pub(crate) fn has_wildcard(flags: ServiceFlags) -> bool {
    [ServiceFlags::NONE, ServiceFlags::LOAD_BALANCER].contains(&flags.kind())
}

fn address_key(value: &BackendValue) -> BackendAddressKey {
    (value.address, value.port, value.protocol)
}

fn uncount<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// All entries of a map, decoded.
fn entries<K: Bytes, V: Bytes>(store: &impl MapSource, map: &'static MapSpec) -> Result<Vec<(K, V)>, DatapathError> {
    let wrong = |error| wrong_length(map, error);
    store
        .entries(map)?
        .iter()
        .map(|(key, value)| Ok((K::from_bytes(key).map_err(wrong)?, V::from_bytes(value).map_err(wrong)?)))
        .collect()
}
