//! Addresses for pods.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;

/// The addresses of a node's pod CIDR and which of them are taken.
#[derive(Debug)]
pub(crate) struct Ipam {
    gateway: Ipv4Addr,
    first: u32,
    last: u32,
    next: u32,
    taken: BTreeSet<Ipv4Addr>,
}

/// Every address is taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("all {count} pod addresses of this node are taken")]
pub(crate) struct Exhausted {
    count: usize,
}

impl Ipam {
    /// None when the CIDR has no room for a gateway and at least one pod.
    pub(crate) fn new(cidr: Ipv4Net) -> Option<Self> {
        let network = u32::from(cidr.network());
        let (first, last) = (network.checked_add(2)?, u32::from(cidr.broadcast()).checked_sub(1)?);
        (first <= last && cidr.prefix_len() < 31).then(|| Self {
            gateway: Ipv4Addr::from(network + 1),
            first,
            last,
            next: first,
            taken: BTreeSet::new(),
        })
    }

    /// The node's own address in the CIDR, next hop of every pod.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// Takes an address. They go round, as with the CNI plugin host-local: a released one is used again last.
    pub(crate) fn allocate(&mut self) -> Result<Ipv4Addr, Exhausted> {
        let free = (self.next..=self.last)
            .chain(self.first..self.next)
            .find(|address| !self.taken.contains(&Ipv4Addr::from(*address)))
            .ok_or(Exhausted { count: self.taken.len() })?;
        self.next = if free == self.last { self.first } else { free + 1 };
        self.taken.insert(Ipv4Addr::from(free));
        Ok(Ipv4Addr::from(free))
    }

    /// Takes an address that a pod has already. False when it is not one of these or is taken.
    pub(crate) fn reserve(&mut self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&u32::from(address)) && self.taken.insert(address)
    }

    /// Goes on behind the address that was given out last, before a restart.
    pub(crate) fn resume_after(&mut self, address: Ipv4Addr) {
        let next = u32::from(address).saturating_add(1);
        if (self.first..=self.last).contains(&next) {
            self.next = next;
        }
    }

    /// Gives an address back.
    pub(crate) fn release(&mut self, address: Ipv4Addr) {
        let was_taken = self.taken.remove(&address);
        debug_assert!(was_taken, "address {address} was released twice");
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    fn ipam(cidr: &str) -> Ipam {
        Ipam::new(cidr.parse().expect("a CIDR")).expect("it has room")
    }

    #[test]
    fn gateway_is_first_and_addresses_go_round() {
        let mut ipam = ipam("10.1.1.0/29");
        assert_eq!(ipam.gateway(), Ipv4Addr::new(10, 1, 1, 1));
        let mut last_octet = || ipam.allocate().map(|address| address.octets()[3]);
        assert_eq!([2, 3, 4, 5, 6].map(Ok), std::array::from_fn(|_| last_octet()));
        assert_eq!(last_octet(), Err(Exhausted { count: 5 }));
        ipam.release(Ipv4Addr::new(10, 1, 1, 3));
        assert_eq!(ipam.allocate(), Ok(Ipv4Addr::new(10, 1, 1, 3)));
    }

    #[test]
    fn a_released_address_is_used_again_last() {
        let mut ipam = ipam("10.1.1.0/29");
        let first = ipam.allocate().expect("there is room");
        ipam.release(first);
        assert_ne!(ipam.allocate(), Ok(first));
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let mut ipam = ipam("10.1.1.0/29");
        assert!(ipam.reserve(Ipv4Addr::new(10, 1, 1, 4)));
        assert!(!ipam.reserve(Ipv4Addr::new(10, 1, 1, 4)), "it is taken");
        assert!(!ipam.reserve(Ipv4Addr::new(10, 1, 2, 4)), "it is elsewhere");
        assert!(!ipam.reserve(Ipv4Addr::new(10, 1, 1, 1)), "it is the gateway");
        ipam.resume_after(Ipv4Addr::new(10, 1, 1, 3));
        assert_eq!(ipam.allocate(), Ok(Ipv4Addr::new(10, 1, 1, 5)));
        ipam.resume_after(Ipv4Addr::new(10, 1, 1, 6));
        assert_eq!(ipam.allocate(), Ok(Ipv4Addr::new(10, 1, 1, 6)), "behind the last one, nothing changes");
    }

    #[test_case("10.1.1.0/30", true ; "one pod")]
    #[test_case("10.1.1.0/31", false ; "no room for a gateway")]
    #[test_case("10.1.1.7/32", false ; "one address")]
    #[test_case("255.255.255.255/32", false ; "the last address")]
    fn small_ranges(cidr: &str, has_room: bool) {
        assert_eq!(Ipam::new(cidr.parse().expect("a CIDR")).is_some(), has_room);
    }
}
