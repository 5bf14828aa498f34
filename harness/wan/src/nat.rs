//! Source NAT of a cluster behind one address: who is behind which port of it.
//!
//! *Inside* is the cluster that is hidden, *outside* the one that sees the address. A mapping belongs to one
//! conversation (protocol, both ends), keeps the port where it is free, and lives until it was silent for a while.
//! Conversations that were begun from outside with an inside address are remembered too, so that their answers are left
//! alone. Those from before the translation began are not known and break, as they do when a NAT router is put in.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use meshbed_scenario::Inbound;

use crate::{
    checksum::checksum,
    packet::{
        ICMP, ICMP_HEADER, Packet, Ports, TCP, UDP, destination, header_length, ports, set_destination,
        set_destination_port, set_source, set_source_port, source,
    },
};

/// How many conversations are remembered in each direction; more are refused. A busy client makes some thousand a
/// second, which stay [`CLOSING_LIFE`] each.
const SESSIONS_MAX: usize = 65_536;
/// How many packets in fragments are remembered.
const FRAGMENTED_MAX: usize = 1024;
/// How long a silent TCP connection lives: RFC 5382 asks for more than two hours, no run is that long.
const TCP_LIFE: Duration = Duration::from_secs(7440);
/// How long a TCP connection lives that was reset or that both ends have finished: enough for last words and repeats.
const CLOSING_LIFE: Duration = Duration::from_secs(10);
/// How long anything else lives (RFC 4787 asks for two minutes at least).
const OTHER_LIFE: Duration = Duration::from_secs(120);
/// How long one waits for the rest of a packet in fragments (RFC 791 suggests 15 s, Linux takes 30 s).
const FRAGMENT_LIFE: Duration = Duration::from_secs(30);
/// How often a full table is searched for what has ended.
const PURGE_INTERVAL: Duration = Duration::from_secs(1);
/// First port that is given out when the original one is taken; smaller ones belong to servers.
const PORT_FIRST: u16 = 1024;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its addresses were changed.
    Translated,
    /// It may pass as it is.
    Untouched,
    /// It belongs to nothing, or there is no room.
    Refused,
}

/// An address and a port, or the identifier of ICMP requests; 0 where there is no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct End {
    address: Ipv4Addr,
    port: u16,
}

/// A conversation between inside and outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Flow {
    protocol: u8,
    inside: End,
    outside: End,
}

/// What outside knows of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Mask {
    protocol: u8,
    port: u16,
    outside: End,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heading {
    Outwards,
    Inwards,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    /// The port that outside sees.
    port: u16,
    seen: Instant,
    finished_outwards: bool,
    finished_inwards: bool,
    reset: bool,
}

impl Session {
    fn new(port: u16, now: Instant) -> Self {
        Self { port, seen: now, finished_outwards: false, finished_inwards: false, reset: false }
    }

    fn note(&mut self, tcp_flags: Option<u8>, heading: Heading, now: Instant) {
        self.seen = now;
        let Some(flags) = tcp_flags else { return };
        if flags & SYN != 0 {
            // The ports are used again.
            *self = Self::new(self.port, now);
        }
        self.reset |= flags & RST != 0;
        if flags & FIN != 0 {
            match heading {
                Heading::Outwards => self.finished_outwards = true,
                Heading::Inwards => self.finished_inwards = true,
            }
        }
    }

    fn is_over(&self, protocol: u8, now: Instant) -> bool {
        let life = match protocol {
            TCP if self.reset || self.finished_outwards && self.finished_inwards => CLOSING_LIFE,
            TCP => TCP_LIFE,
            _ => OTHER_LIFE,
        };
        now.saturating_duration_since(self.seen) > life
    }
}

/// Which packet a later fragment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FragmentKey {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    identification: u16,
}

impl FragmentKey {
    fn of(packet: &Packet) -> Self {
        Self {
            source: packet.source(),
            destination: packet.destination(),
            protocol: packet.protocol(),
            identification: packet.identification(),
        }
    }
}

/// What was done with the first fragment.
#[derive(Clone, Copy, Debug)]
struct FragmentFate {
    verdict: Verdict,
    /// New source (outwards) or destination (inwards).
    address: Ipv4Addr,
    seen: Instant,
}

/// The state of one translation.
#[derive(Debug)]
pub(crate) struct Nat {
    address: Ipv4Addr,
    inbound: Inbound,
    sessions: HashMap<Flow, Session>,
    masks: HashMap<Mask, End>,
    /// Begun from outside.
    admitted: HashMap<Flow, Session>,
    fragments: HashMap<FragmentKey, FragmentFate>,
    next_port: u16,
    purged: Option<Instant>,
}

impl Nat {
    pub(crate) fn new(address: Ipv4Addr, inbound: Inbound) -> Self {
        Self {
            address,
            inbound,
            sessions: HashMap::new(),
            masks: HashMap::new(),
            admitted: HashMap::new(),
            fragments: HashMap::new(),
            next_port: PORT_FIRST,
            purged: None,
        }
    }

    /// Whether it still is what is asked for; then its conversations go on.
    pub(crate) fn is(&self, address: Ipv4Addr, inbound: Inbound) -> bool {
        (self.address, self.inbound) == (address, inbound)
    }

    /// A packet from inside to an address outside.
    pub(crate) fn outwards(&mut self, packet: &mut Packet, now: Instant) -> Verdict {
        let key = FragmentKey::of(packet);
        let verdict = match self.fate_of_later_fragment(packet, now) {
            Some(fate) if fate.verdict == Verdict::Translated => {
                set_source(packet.bytes_mut(), fate.address);
                return Verdict::Translated;
            }
            Some(fate) => return fate.verdict,
            None => self.first_outwards(packet, now),
        };
        self.remember_fragments(packet, key, FragmentFate { verdict, address: self.address, seen: now });
        verdict
    }

    /// A packet from outside to the address that hides inside.
    pub(crate) fn inwards(&mut self, packet: &mut Packet, now: Instant) -> Verdict {
        let key = FragmentKey::of(packet);
        let verdict = match self.fate_of_later_fragment(packet, now) {
            Some(fate) if fate.verdict == Verdict::Translated => {
                set_destination(packet.bytes_mut(), fate.address);
                return Verdict::Translated;
            }
            Some(fate) => return fate.verdict,
            None => self.first_inwards(packet, now),
        };
        let fate = FragmentFate { verdict, address: packet.destination(), seen: now };
        self.remember_fragments(packet, key, fate);
        verdict
    }

    /// A packet from outside to an address inside that it should not know.
    pub(crate) fn admit(&mut self, packet: &Packet, now: Instant) -> Verdict {
        if let Some(fate) = self.fate_of_later_fragment(packet, now) {
            return fate.verdict;
        }
        let verdict = self.admit_first(packet, now);
        let fate = FragmentFate { verdict, address: packet.destination(), seen: now };
        self.remember_fragments(packet, FragmentKey::of(packet), fate);
        verdict
    }

    fn first_outwards(&mut self, packet: &mut Packet, now: Instant) -> Verdict {
        let Some(flow) = flow(packet.bytes(), Heading::Outwards) else {
            return self.error_outwards(packet);
        };
        let flags = packet.tcp_flags();
        if let Some(session) = self.admitted.get_mut(&flow) {
            session.note(flags, Heading::Outwards, now);
            return Verdict::Untouched;
        }
        let Some(port) = self.port_for(flow, now) else { return Verdict::Refused };
        if let Some(session) = self.sessions.get_mut(&flow) {
            session.note(flags, Heading::Outwards, now);
        }
        set_source(packet.bytes_mut(), self.address);
        set_source_port(packet.bytes_mut(), port);
        Verdict::Translated
    }

    fn first_inwards(&mut self, packet: &mut Packet, now: Instant) -> Verdict {
        let Some(seen) = flow(packet.bytes(), Heading::Inwards) else {
            return self.error_inwards(packet);
        };
        let mask = Mask { protocol: seen.protocol, port: seen.inside.port, outside: seen.outside };
        let Some(&inside) = self.masks.get(&mask) else { return Verdict::Refused };
        if let Some(session) = self.sessions.get_mut(&Flow { inside, ..seen }) {
            session.note(packet.tcp_flags(), Heading::Inwards, now);
        }
        set_destination(packet.bytes_mut(), inside.address);
        set_destination_port(packet.bytes_mut(), inside.port);
        Verdict::Translated
    }

    fn admit_first(&mut self, packet: &Packet, now: Instant) -> Verdict {
        if self.inbound == Inbound::Drop {
            return Verdict::Refused;
        }
        // An error about a conversation that was begun from outside; others cannot do harm.
        let Some(flow) = flow(packet.bytes(), Heading::Inwards) else { return Verdict::Untouched };
        let flags = packet.tcp_flags();
        if let Some(session) = self.admitted.get_mut(&flow) {
            session.note(flags, Heading::Inwards, now);
            return Verdict::Untouched;
        }
        // Only a SYN begins a connection. The middle of an older one passes, but its answers will be translated.
        if flags.is_some_and(|flags| flags & (SYN | ACK) != SYN) {
            return Verdict::Untouched;
        }
        if self.admitted.len() >= SESSIONS_MAX {
            self.purge(now);
        }
        if self.admitted.len() >= SESSIONS_MAX {
            return Verdict::Refused;
        }
        self.admitted.insert(flow, Session::new(flow.inside.port, now));
        Verdict::Untouched
    }

    /// An ICMP error from inside, about a packet that came from outside.
    fn error_outwards(&self, packet: &mut Packet) -> Verdict {
        // What is quoted went inwards.
        let Some(quoted) = quoted(packet).and_then(|quoted| flow(quoted, Heading::Inwards)) else {
            return Verdict::Refused;
        };
        if self.admitted.contains_key(&quoted) {
            return Verdict::Untouched;
        }
        let Some(session) = self.sessions.get(&quoted) else { return Verdict::Refused };
        set_source(packet.bytes_mut(), self.address);
        edit_quoted(packet, |bytes| {
            set_destination(bytes, self.address);
            set_destination_port(bytes, session.port);
        });
        Verdict::Translated
    }

    /// An ICMP error from outside, about a packet that went out translated.
    fn error_inwards(&self, packet: &mut Packet) -> Verdict {
        let Some(quoted) = quoted(packet).and_then(|quoted| flow(quoted, Heading::Outwards)) else {
            return Verdict::Refused;
        };
        if quoted.inside.address != self.address {
            return Verdict::Refused;
        }
        let mask = Mask { protocol: quoted.protocol, port: quoted.inside.port, outside: quoted.outside };
        let Some(&inside) = self.masks.get(&mask) else { return Verdict::Refused };
        set_destination(packet.bytes_mut(), inside.address);
        edit_quoted(packet, |bytes| {
            set_source(bytes, inside.address);
            set_source_port(bytes, inside.port);
        });
        Verdict::Translated
    }

    /// The port that `flow` has or gets; `None` when there is none left.
    fn port_for(&mut self, flow: Flow, now: Instant) -> Option<u16> {
        if let Some(session) = self.sessions.get(&flow) {
            return Some(session.port);
        }
        if self.sessions.len() >= SESSIONS_MAX {
            self.purge(now);
        }
        if self.sessions.len() >= SESSIONS_MAX {
            return None;
        }
        let port = self.free_port(flow)?;
        self.sessions.insert(flow, Session::new(port, now));
        self.masks.insert(Mask { protocol: flow.protocol, port, outside: flow.outside }, flow.inside);
        Some(port)
    }

    fn free_port(&mut self, flow: Flow) -> Option<u16> {
        let mask = |port| Mask { protocol: flow.protocol, port, outside: flow.outside };
        if !self.masks.contains_key(&mask(flow.inside.port)) {
            return Some(flow.inside.port);
        }
        if !matches!(flow.protocol, TCP | UDP | ICMP) {
            return None;
        }
        for _ in PORT_FIRST..=u16::MAX {
            let port = self.next_port;
            self.next_port = self.next_port.checked_add(1).unwrap_or(PORT_FIRST);
            if !self.masks.contains_key(&mask(port)) {
                return Some(port);
            }
        }
        None
    }

    /// Forgets what is over, now and then.
    fn purge(&mut self, now: Instant) {
        if self.purged.is_some_and(|purged| now.saturating_duration_since(purged) < PURGE_INTERVAL) {
            return;
        }
        self.purged = Some(now);
        self.admitted.retain(|flow, session| !session.is_over(flow.protocol, now));
        let masks = &mut self.masks;
        self.sessions.retain(|flow, session| {
            let over = session.is_over(flow.protocol, now);
            if over {
                masks.remove(&Mask { protocol: flow.protocol, port: session.port, outside: flow.outside });
            }
            !over
        });
    }

    /// What happened to the first fragment of the packet that this one is a later fragment of; refused when that is not
    /// known. `None` for whole packets and first fragments.
    fn fate_of_later_fragment(&self, packet: &Packet, now: Instant) -> Option<FragmentFate> {
        if packet.has_beginning() {
            return None;
        }
        let known = self.fragments.get(&FragmentKey::of(packet)).copied();
        let unknown = FragmentFate { verdict: Verdict::Refused, address: packet.source(), seen: now };
        Some(known.filter(|fate| now.saturating_duration_since(fate.seen) <= FRAGMENT_LIFE).unwrap_or(unknown))
    }

    fn remember_fragments(&mut self, packet: &Packet, key: FragmentKey, fate: FragmentFate) {
        if !packet.is_fragment() {
            return;
        }
        if self.fragments.len() >= FRAGMENTED_MAX {
            self.fragments.retain(|_, old| fate.seen.saturating_duration_since(old.seen) <= FRAGMENT_LIFE);
        }
        if self.fragments.len() < FRAGMENTED_MAX {
            self.fragments.insert(key, fate);
        }
    }
}

/// The conversation of the packet that `bytes` begin with; `None` for ICMP errors and packets without a whole beginning.
fn flow(bytes: &[u8], heading: Heading) -> Option<Flow> {
    let protocol = bytes.get(9).copied()?;
    let (source_port, destination_port) = match (ports(bytes)?, heading) {
        (Ports::Pair { source, destination }, _) => (source, destination),
        // The identifier belongs to the end inside.
        (Ports::Query(id), Heading::Outwards) => (id, 0),
        (Ports::Query(id), Heading::Inwards) => (0, id),
        (Ports::None, _) => (0, 0),
        (Ports::Error, _) => return None,
    };
    let source = End { address: source(bytes), port: source_port };
    let destination = End { address: destination(bytes), port: destination_port };
    Some(match heading {
        Heading::Outwards => Flow { protocol, inside: source, outside: destination },
        Heading::Inwards => Flow { protocol, inside: destination, outside: source },
    })
}

/// The beginning of the packet that an ICMP error is about.
fn quoted(packet: &Packet) -> Option<&[u8]> {
    let bytes = packet.bytes().get(packet.header_len() + ICMP_HEADER..)?;
    header_length(bytes).map(|_| bytes)
}

/// Changes the beginning of the packet that an ICMP error is about, and makes the error's own checksum right again.
fn edit_quoted(packet: &mut Packet, edit: impl FnOnce(&mut [u8])) {
    let at = packet.header_len();
    let bytes = packet.bytes_mut();
    edit(&mut bytes[at + ICMP_HEADER..]);
    bytes[at + 2..at + 4].fill(0);
    let sum = checksum(&bytes[at..]);
    bytes[at + 2..at + 4].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests;
