//! What map entries mean, and what is wrong with them whatever the services are: pure functions.

use std::collections::{BTreeMap, BTreeSet};

use mesh_abi::{
    BackendKey, BackendValue, ReverseNatKey, ReverseNatValue, ServiceFlags, ServiceKey, ServiceValue, state,
};
use meshbed_events::{MapFrontend, MapState};

/// How a slot that leads nowhere is shown: it would make connections fail, so it must not be left out.
pub(crate) const HOLE: &str = "(no backend)";

/// All entries of a node's load-balancing maps.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) services: BTreeMap<ServiceKey, ServiceValue>,
    pub(super) backends: BTreeMap<BackendKey, BackendValue>,
    /// `None` when the agent has no such map.
    pub(super) reverse_nat: Option<BTreeMap<ReverseNatKey, ReverseNatValue>>,
}

impl Entries {
    /// The maps by meaning. Entries that were read while a writer was at work may contradict each other: that is told in
    /// [`MapState::defects`], and the reader reads again before it believes it.
    pub(super) fn meaning(&self) -> MapState {
        let mut state = MapState::default();
        let mut defects = BTreeSet::new();
        let mut used = BTreeSet::new();
        for (key, master) in self.services.iter().filter(|(key, _)| key.slot == 0 && !key.is_wildcard()) {
            let Some(address) = key.frontend() else { continue };
            let address = address.to_string();
            let last = master.count.saturating_add(master.qcount);
            let slots = |from: u16, to: u16| self.slots(key, from..=to);
            let frontend = MapFrontend {
                active: slots(1, master.count),
                inactive: slots(master.count.saturating_add(1), last),
                affinity_s: master.flags.has(ServiceFlags::SESSION_AFFINITY).then(|| master.affinity_timeout()),
            };
            for hole in frontend.active.iter().chain(&frontend.inactive).filter(|backend| backend.ends_with(HOLE)) {
                defects.insert(format!("frontend {address}: {hole}"));
            }
            used.extend(
                (1..=last).filter_map(|slot| self.services.get(&key.with_slot(slot))).map(|slot| slot.backend_id()),
            );
            defects.extend(
                self.beyond(key, last).map(|slot| format!("frontend {address}: slot {slot} is beyond the last")),
            );
            defects.extend(self.reverse_nat_defect(key, master).map(|defect| format!("frontend {address}: {defect}")));
            state.frontends.insert(address, frontend);
        }
        defects.extend(self.orphans(&used));
        defects.extend(self.wildcards());
        state.defects = defects.into_iter().collect();
        state
    }

    fn slots(&self, master: &ServiceKey, slots: std::ops::RangeInclusive<u16>) -> Vec<String> {
        let mut found: Vec<String> = slots
            .map(|slot| {
                let value = self.services.get(&master.with_slot(slot));
                let backend = value.and_then(|value| self.backends.get(&BackendKey(value.backend_id())));
                match backend.and_then(BackendValue::backend) {
                    Some(backend) => backend.to_string(),
                    None => format!("slot {slot} {HOLE}"),
                }
            })
            .collect();
        found.sort();
        found
    }

    /// Slots of a frontend after its last one.
    fn beyond(&self, master: &ServiceKey, last: u16) -> impl Iterator<Item = u16> {
        let range = master.with_slot(1)..=master.with_slot(u16::MAX);
        let same = *master;
        self.services
            .range(range)
            .map(|(key, _)| *key)
            .filter(move |key| key.with_slot(0) == same.with_slot(0) && key.slot > last)
            .map(|key| key.slot)
    }

    /// The entry that answers of the frontend's backends are translated back with.
    fn reverse_nat_defect(&self, key: &ServiceKey, master: &ServiceValue) -> Option<String> {
        let map = self.reverse_nat.as_ref()?;
        let number = master.rev_nat.get();
        match map.get(&ReverseNatKey(master.rev_nat)) {
            None => Some(format!("reverse NAT entry {number} is missing")),
            Some(found) => {
                // Copies: the value is packed.
                let (address, port) = (found.address, found.port);
                let other = address != key.address || port != key.port;
                let ip = std::net::Ipv4Addr::from(address.get());
                other.then(|| format!("reverse NAT entry {number} has another address, {ip}:{}", port.get()))
            }
        }
    }

    /// Wildcard entries of addresses that no frontend has any more: their other ports would be dropped for ever.
    fn wildcards(&self) -> Vec<String> {
        let has_frontend = |wildcard: &ServiceKey| {
            self.services.keys().any(|key| key.address == wildcard.address && !key.is_wildcard())
        };
        let left = self.services.keys().filter(|key| key.is_wildcard() && !has_frontend(key));
        left.map(|key| format!("the wildcard entry of {} has no frontend", key.ip())).collect()
    }

    /// Selectable backends that no slot leads to.
    fn orphans(&self, used: &BTreeSet<u32>) -> Vec<String> {
        let orphan = |(key, value): (&BackendKey, &BackendValue)| {
            let backend = value.backend()?;
            (!used.contains(&key.0) && value.state == state::ACTIVE)
                .then(|| format!("backend {backend} (ID {}) has no slot", key.0))
        };
        self.backends.iter().filter_map(orphan).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use mesh_abi::{Be16, Be32, protocol};

    use super::*;

    fn service(slot: u16, union: u32, count: u16) -> (ServiceKey, ServiceValue) {
        let address = Be32::from(Ipv4Addr::new(10, 101, 0, 10));
        let key = ServiceKey::master(address, Be16::new(80), protocol::TCP, 0).with_slot(slot);
        (key, ServiceValue { union, count, rev_nat: Be16::new(5), ..ServiceValue::default() })
    }

    fn backend(id: u32, last: u8) -> (BackendKey, BackendValue) {
        let address = mesh_types::BackendAddress {
            ip: Ipv4Addr::new(10, 1, 1, last),
            port: 80,
            protocol: mesh_types::Protocol::Tcp,
        };
        (BackendKey(id), BackendValue::new(address, mesh_types::BackendState::Active))
    }

    fn entries<const S: usize, const B: usize>(
        services: [(ServiceKey, ServiceValue); S],
        backends: [(BackendKey, BackendValue); B],
    ) -> Entries {
        Entries { services: services.into(), backends: backends.into(), reverse_nat: None }
    }

    #[test]
    fn slots_are_told_by_the_addresses_of_their_backends() {
        let state =
            entries([service(0, 0, 2), service(1, 7, 0), service(2, 9, 0)], [backend(7, 3), backend(9, 2)]).meaning();
        assert_eq!(state.frontends["10.101.0.10:80/TCP"].active, ["10.1.1.2:80/TCP", "10.1.1.3:80/TCP"]);
        assert_eq!(state.defects, Vec::<String>::new());
    }

    #[test]
    fn a_slot_without_backend_is_shown_and_is_a_defect() {
        let state = entries([service(0, 0, 1), service(1, 7, 0)], []).meaning();
        assert_eq!(state.frontends["10.101.0.10:80/TCP"].active, ["slot 1 (no backend)"]);
        assert_eq!(state.defects, ["frontend 10.101.0.10:80/TCP: slot 1 (no backend)"]);
    }

    #[test]
    fn a_backend_in_two_slots_is_there_twice() {
        let state = entries([service(0, 0, 2), service(1, 7, 0), service(2, 7, 0)], [backend(7, 3)]).meaning();
        assert_eq!(state.frontends["10.101.0.10:80/TCP"].active, ["10.1.1.3:80/TCP", "10.1.1.3:80/TCP"]);
    }

    #[test]
    fn what_nothing_leads_to_is_a_defect() {
        let state =
            entries([service(0, 0, 1), service(1, 7, 0), service(2, 9, 0)], [backend(7, 3), backend(9, 2)]).meaning();
        assert_eq!(
            state.defects,
            ["backend 10.1.1.2:80/TCP (ID 9) has no slot", "frontend 10.101.0.10:80/TCP: slot 2 is beyond the last"]
        );
    }

    #[test]
    fn a_reverse_nat_entry_has_the_address_of_its_frontend() {
        let mut entries = entries([service(0, 0, 0)], []);
        entries.reverse_nat = Some(BTreeMap::new());
        assert_eq!(entries.meaning().defects, ["frontend 10.101.0.10:80/TCP: reverse NAT entry 5 is missing"]);
        let right = ReverseNatValue { address: Be32::from(Ipv4Addr::new(10, 101, 0, 10)), port: Be16::new(80) };
        entries.reverse_nat = Some([(ReverseNatKey(Be16::new(5)), right)].into());
        assert_eq!(entries.meaning().defects, Vec::<String>::new());
        let wrong = ReverseNatValue { port: Be16::new(81), ..right };
        entries.reverse_nat = Some([(ReverseNatKey(Be16::new(5)), wrong)].into());
        assert_eq!(
            entries.meaning().defects,
            ["frontend 10.101.0.10:80/TCP: reverse NAT entry 5 has another address, 10.101.0.10:81"]
        );
    }
}
