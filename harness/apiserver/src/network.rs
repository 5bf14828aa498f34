//! Addresses and ports that the cluster hands out: service addresses, node ports, pod ranges of nodes.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// Node ports, as `--service-node-port-range` has them by default.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;
/// Prefix length of a node's pod range, as `--node-cidr-mask-size` has it by default.
const NODE_PREFIX: u8 = 24;
/// Fewest addresses of a service range: its own, the broadcast address, the service `kubernetes`, and one to give.
const SERVICE_ADDRESSES_MIN: u32 = 4;

/// What is still to be handed out.
///
/// Addresses go up and are not reused before the range is through, so that a client which holds on to the address of
/// a deleted service is not answered by the next one. Like Kubernetes, the bottom of the range is left to those who
/// ask for an address by number.
#[derive(Debug)]
pub(crate) struct Network {
    service_cidr: Ipv4Net,
    pod_cidr: Ipv4Net,
    next_service: u32,
    next_node_port: u16,
}

/// Where the search for what is free goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cursor {
    /// Offset of a service address in its range.
    pub(crate) service: u32,
    /// A node port.
    pub(crate) node_port: u16,
}

/// Why an address that a client asked for cannot be had, in Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// Not an address at all.
    #[error("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
    Malformed,
    /// Outside of the service range.
    #[error(
        "failed to allocate IP {address}: the provided IP ({address}) is not in the valid range. The range of valid IPs is {range}"
    )]
    OutOfRange {
        /// The address.
        address: Ipv4Addr,
        /// The range.
        range: Ipv4Net,
    },
    /// Another service has it.
    #[error("failed to allocate IP {0}: provided IP is already allocated")]
    Taken(Ipv4Addr),
}

impl Network {
    /// Nothing handed out yet. None when the service range is too small.
    pub(crate) fn new(service_cidr: Ipv4Net, pod_cidr: Ipv4Net) -> Option<Self> {
        let size = size(service_cidr);
        (size >= SERVICE_ADDRESSES_MIN).then(|| Self {
            service_cidr,
            pod_cidr,
            next_service: (size / 16).clamp(16, 256).min(size / 2),
            next_node_port: *NODE_PORTS.start(),
        })
    }

    /// Where the search goes on.
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor { service: self.next_service, node_port: self.next_node_port }
    }

    /// Goes on where another server was; ranges may have become smaller since.
    pub(crate) fn resume(&mut self, cursor: Cursor) {
        self.next_service = cursor.service.clamp(2, size(self.service_cidr) - 2);
        self.next_node_port = cursor.node_port.clamp(*NODE_PORTS.start(), *NODE_PORTS.end());
    }

    /// The address of the service `kubernetes`.
    pub(crate) fn kubernetes(&self) -> Ipv4Addr {
        self.service_address(1)
    }

    /// A free service address.
    pub(crate) fn allocate(&mut self, used: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        let last = size(self.service_cidr) - 2;
        for _ in 2..=last {
            let address = self.service_address(self.next_service);
            self.next_service = if self.next_service >= last { 2 } else { self.next_service + 1 };
            if !used.contains(&address) {
                return Some(address);
            }
        }
        None
    }

    /// Checks an address that a client asks for.
    pub(crate) fn claim(&self, text: &str, used: &BTreeSet<Ipv4Addr>) -> Result<(), AddressError> {
        let address: Ipv4Addr = text.parse().map_err(|_| AddressError::Malformed)?;
        let range = self.service_cidr;
        if !range.contains(&address) || address == range.network() || address == range.broadcast() {
            return Err(AddressError::OutOfRange { address, range });
        }
        if used.contains(&address) {
            return Err(AddressError::Taken(address));
        }
        Ok(())
    }

    /// A free node port.
    pub(crate) fn allocate_node_port(&mut self, used: &BTreeSet<u16>) -> Option<u16> {
        for _ in NODE_PORTS {
            let port = self.next_node_port;
            self.next_node_port = if port == *NODE_PORTS.end() { *NODE_PORTS.start() } else { port + 1 };
            if !used.contains(&port) {
                return Some(port);
            }
        }
        None
    }

    /// Whether a port is one that nodes may open.
    pub(crate) fn is_node_port(port: i64) -> bool {
        u16::try_from(port).is_ok_and(|port| NODE_PORTS.contains(&port))
    }

    /// The first free pod range of a node; the very first one is left unused, so that node 1 gets number 1.
    pub(crate) fn node_range(&self, used: &BTreeSet<String>) -> Option<Ipv4Net> {
        let ranges = self.pod_cidr.subnets(NODE_PREFIX).ok()?.skip(1);
        ranges.into_iter().find(|range| !used.contains(&range.to_string()))
    }

    fn service_address(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.service_cidr.network()) + offset)
    }
}

fn size(range: Ipv4Net) -> u32 {
    u32::from(range.broadcast()) - u32::from(range.network()) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(service: &str) -> Option<Network> {
        Network::new(service.parse().unwrap(), "10.1.0.0/16".parse().unwrap())
    }

    #[test]
    fn addresses_are_not_reused_at_once() {
        let mut network = network("10.101.0.0/16").unwrap();
        assert_eq!(network.kubernetes().to_string(), "10.101.0.1");
        assert_eq!(network.allocate(&BTreeSet::new()).unwrap().to_string(), "10.101.1.0");
        assert_eq!(network.allocate(&BTreeSet::new()).unwrap().to_string(), "10.101.1.1");
    }

    #[test]
    fn a_full_range_says_so() {
        let mut network = network("10.0.0.0/29").unwrap();
        let mut used = BTreeSet::from([network.kubernetes()]);
        while let Some(address) = network.allocate(&used) {
            assert!(used.insert(address), "{address} was given twice");
        }
        assert_eq!(used.len(), 6);
        assert!(super::tests::network("10.0.0.0/31").is_none());
    }

    #[test]
    fn claims_are_checked() {
        let network = network("10.101.0.0/16").unwrap();
        let used = BTreeSet::from([Ipv4Addr::new(10, 101, 0, 9)]);
        assert_eq!(network.claim("10.101.0.10", &used), Ok(()));
        assert!(matches!(network.claim("10.101.0.9", &used), Err(AddressError::Taken(_))));
        assert!(matches!(network.claim("10.1.0.9", &used), Err(AddressError::OutOfRange { .. })));
        assert_eq!(network.claim("x", &used), Err(AddressError::Malformed));
    }

    #[test]
    fn node_ranges_start_with_number_one() {
        assert_eq!(network("10.101.0.0/16").unwrap().node_range(&BTreeSet::new()).unwrap().to_string(), "10.1.1.0/24");
    }
}
