//! What happens to a diverted packet. Pure: packets and times in, packets out.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    time::Instant,
};

use ipnet::Ipv4Net;
use meshbed_scenario::LinkConditions;

use crate::{
    direction::{Admission, Traffic},
    fragment::fragments,
    icmp::{PACKET_TOO_BIG, packet_too_big},
    nat::{Nat, Verdict},
    packet::Packet,
    status::Counters,
};

/// A cluster by its position in the configuration.
pub(crate) type Cluster = usize;
/// From where, to where.
pub(crate) type Way = (Cluster, Cluster);

/// What the router knows of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// Its addresses.
    pub(crate) cidrs: Vec<Ipv4Net>,
    /// The router's own address there.
    pub(crate) router: Ipv4Addr,
}

/// Where packets go.
pub(crate) trait Output {
    /// Gives a packet that came from `from` back to the kernel, which sends it to where it goes. `false` when the kernel
    /// does not take it.
    fn forward(&mut self, from: Cluster, packet: &Packet) -> bool;
    /// Sends a packet of the router itself.
    fn answer(&mut self, packet: &Packet);
}

/// Conditions of one direction, with the address that they translate to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The conditions.
    pub(crate) conditions: LinkConditions,
    /// Present when the conditions have NAT.
    pub(crate) nat_address: Option<Ipv4Addr>,
}

/// All directions and translations.
#[derive(Debug)]
pub(crate) struct Router {
    segments: Vec<Segment>,
    seed: u64,
    traffic: BTreeMap<Way, Traffic>,
    /// Of directions whose sources are hidden.
    nats: BTreeMap<Way, Nat>,
    /// Who is behind which address: inside and outside.
    hidden: HashMap<Ipv4Addr, Way>,
    /// Packets that belong to no direction.
    strays: u64,
}

impl Router {
    /// All directions clear. Every random decision follows from `seed`.
    pub(crate) fn new(segments: Vec<Segment>, seed: u64) -> Self {
        Self { segments, seed, traffic: BTreeMap::new(), nats: BTreeMap::new(), hidden: HashMap::new(), strays: 0 }
    }

    /// Replaces what is in force in one direction. A direction that becomes clear delivers what waits in it at once, so
    /// that nothing overtakes it.
    pub(crate) fn set(&mut self, way: Way, setting: &Setting, now: Instant, output: &mut impl Output) {
        let seed = seed_of(self.seed, way);
        let traffic = self.traffic.entry(way).or_insert_with(Traffic::new);
        traffic.set(setting.conditions.clone(), seed, now);
        if setting.conditions.is_clear() {
            while let Some(packet) = traffic.pop() {
                forward(&mut traffic.counters, way.0, &packet, output);
            }
        }
        self.hidden.retain(|_, hidden| *hidden != way);
        match (&setting.conditions.nat, setting.nat_address) {
            (Some(nat), Some(address)) => {
                self.hidden.insert(address, way);
                if !self.nats.get(&way).is_some_and(|old| old.is(address, nat.inbound)) {
                    self.nats.insert(way, Nat::new(address, nat.inbound));
                }
            }
            _ => drop(self.nats.remove(&way)),
        }
    }

    /// What happened in one direction so far.
    pub(crate) fn counters(&self, way: Way) -> Counters {
        self.traffic.get(&way).map(Traffic::counters).unwrap_or_default()
    }

    /// Packets that came from some cluster, but go to none.
    pub(crate) fn strays(&self) -> u64 {
        self.strays
    }

    /// A packet that came from `from`.
    pub(crate) fn receive(&mut self, from: Cluster, bytes: Vec<u8>, now: Instant, output: &mut impl Output) {
        let Some(mut packet) = Packet::parse(bytes) else {
            self.strays += 1;
            return;
        };
        let Some((to, is_to_hidden)) = self.destination_of(from, packet.destination()) else {
            self.strays += 1;
            return;
        };
        packet.give_hop_back();
        let way = (from, to);
        let router = self.segments[from].router;
        let traffic = self.traffic.entry(way).or_insert_with(Traffic::new);
        traffic.counters.received += packet.len();
        let Some(fitting) = pass_link(traffic, &packet, router, output) else { return };
        match translate(&mut self.nats, way, is_to_hidden, &mut packet, now) {
            Verdict::Untouched => {}
            Verdict::Translated => traffic.counters.natted += 1,
            Verdict::Refused => {
                traffic.counters.dropped.nat += 1;
                return;
            }
        }
        match fitting {
            Fitting::Whole => dispatch(traffic, from, packet, now, output),
            Fitting::InPieces(mtu) => {
                let pieces = fragments(&packet, mtu);
                traffic.counters.fragmented += pieces.len() as u64 - 1;
                for piece in pieces {
                    dispatch(traffic, from, piece, now, output);
                }
            }
        }
    }

    /// Passes on what has waited long enough.
    pub(crate) fn release(&mut self, now: Instant, output: &mut impl Output) {
        for (way, traffic) in &mut self.traffic {
            while let Some(packet) = traffic.due(now) {
                forward(&mut traffic.counters, way.0, &packet, output);
            }
        }
    }

    /// When there is something to release next.
    pub(crate) fn next_release(&self) -> Option<Instant> {
        self.traffic.values().filter_map(Traffic::next_release).min()
    }

    /// The cluster that a packet from `from` goes to, and whether it goes to the address that hides that cluster.
    fn destination_of(&self, from: Cluster, address: Ipv4Addr) -> Option<(Cluster, bool)> {
        if let Some(&(inside, outside)) = self.hidden.get(&address) {
            return (outside == from).then_some((inside, true));
        }
        let to = self.segments.iter().position(|segment| segment.cidrs.iter().any(|cidr| cidr.contains(&address)))?;
        (to != from).then_some((to, false))
    }
}

/// How a packet goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fitting {
    Whole,
    /// In fragments for this MTU.
    InPieces(u16),
}

/// Everything that can keep a packet from entering the link; `None` when something did.
fn pass_link(traffic: &mut Traffic, packet: &Packet, router: Ipv4Addr, output: &mut impl Output) -> Option<Fitting> {
    let (conditions, counters) = (&traffic.conditions, &mut traffic.counters);
    if conditions.down {
        counters.dropped.down += 1;
        return None;
    }
    if conditions.drop_ptb && packet.icmp_kind() == Some(PACKET_TOO_BIG) {
        counters.dropped.ptb += 1;
        counters.ptb_filtered += 1;
        return None;
    }
    let fitting = match conditions.mtu {
        Some(mtu) if packet.len() > usize::from(mtu) && packet.forbids_fragments() => {
            counters.dropped.mtu += 1;
            let answer = packet_too_big(packet, router, mtu);
            if conditions.drop_ptb {
                counters.ptb_filtered += 1;
            } else if let Some(answer) = answer {
                counters.ptb_sent += 1;
                output.answer(&answer);
            }
            return None;
        }
        Some(mtu) if packet.len() > usize::from(mtu) => Fitting::InPieces(mtu),
        _ => Fitting::Whole,
    };
    if traffic.draws_loss() {
        traffic.counters.dropped.loss += 1;
        return None;
    }
    Some(fitting)
}

fn translate(
    nats: &mut BTreeMap<Way, Nat>,
    way: Way,
    is_to_hidden: bool,
    packet: &mut Packet,
    now: Instant,
) -> Verdict {
    let (from, to) = way;
    if is_to_hidden {
        return nats.get_mut(&(to, from)).map_or(Verdict::Refused, |nat| nat.inwards(packet, now));
    }
    // When both sides are hidden, the other side's translation sees what this one made of the packet.
    let outwards = nats.get_mut(&way).map_or(Verdict::Untouched, |nat| nat.outwards(packet, now));
    if outwards == Verdict::Refused {
        return outwards;
    }
    match nats.get_mut(&(to, from)).map_or(Verdict::Untouched, |nat| nat.admit(packet, now)) {
        Verdict::Refused => Verdict::Refused,
        _ => outwards,
    }
}

fn dispatch(traffic: &mut Traffic, from: Cluster, packet: Packet, now: Instant, output: &mut impl Output) {
    match traffic.admit(packet, now) {
        Admission::Now(packet) => forward(&mut traffic.counters, from, &packet, output),
        Admission::Taken => {}
    }
}

fn forward(counters: &mut Counters, from: Cluster, packet: &Packet, output: &mut impl Output) {
    if output.forward(from, packet) {
        counters.delivered += packet.len();
    } else {
        counters.dropped.refused += 1;
    }
}

/// Each direction draws from a sequence of its own, so that traffic elsewhere does not change what happens here.
fn seed_of(seed: u64, (from, to): Way) -> u64 {
    let way = (from as u64) << 32 | to as u64;
    // An odd multiplier spreads neighbours over all bits (Fibonacci hashing).
    seed ^ (way + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests;
