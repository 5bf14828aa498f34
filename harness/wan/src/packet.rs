//! IPv4 packets: what a router reads of them and changes in them.
//!
//! The functions that change something take bytes and not a [`Packet`], because the beginning of a packet inside an
//! ICMP error is changed in the same way.

use std::net::Ipv4Addr;

use crate::checksum::{checksum, updated};

/// Protocol number of ICMP.
pub(crate) const ICMP: u8 = 1;
/// Protocol number of TCP.
pub(crate) const TCP: u8 = 6;
/// Protocol number of UDP.
pub(crate) const UDP: u8 = 17;

/// Length of a header without options.
pub(crate) const HEADER_MIN: usize = 20;
/// Bytes of an ICMP header.
pub(crate) const ICMP_HEADER: usize = 8;

/// Offsets in the header.
const IDENTIFICATION: usize = 4;
const FRAGMENT: usize = 6;
const TTL: usize = 8;
const PROTOCOL: usize = 9;
const CHECKSUM: usize = 10;
const SOURCE: usize = 12;
const DESTINATION: usize = 16;

/// "Don't fragment" in the word at [`FRAGMENT`].
const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments" in the word at [`FRAGMENT`].
pub(crate) const MORE_FRAGMENTS: u16 = 0x2000;
/// The offset in the word at [`FRAGMENT`], in units of 8 bytes.
pub(crate) const OFFSET_MASK: u16 = 0x1fff;

/// A whole IPv4 packet with a header whose lengths make sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet(Vec<u8>);

impl Packet {
    /// `None` when `bytes` are no IPv4 packet. What comes after its end is cut off.
    pub(crate) fn parse(mut bytes: Vec<u8>) -> Option<Self> {
        let length = usize::from(word(&bytes, 2)?);
        let header = header_length(&bytes)?;
        if length < header || bytes.len() < length {
            return None;
        }
        bytes.truncate(length);
        Some(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn header_len(&self) -> usize {
        header_length(&self.0).expect("it was checked when the packet was made")
    }

    pub(crate) fn source(&self) -> Ipv4Addr {
        source(&self.0)
    }

    pub(crate) fn destination(&self) -> Ipv4Addr {
        destination(&self.0)
    }

    pub(crate) fn protocol(&self) -> u8 {
        self.0[PROTOCOL]
    }

    pub(crate) fn identification(&self) -> u16 {
        u16::from_be_bytes([self.0[IDENTIFICATION], self.0[IDENTIFICATION + 1]])
    }

    pub(crate) fn forbids_fragments(&self) -> bool {
        self.fragment_word() & DONT_FRAGMENT != 0
    }

    /// Flags and offset.
    pub(crate) fn fragment_word(&self) -> u16 {
        u16::from_be_bytes([self.0[FRAGMENT], self.0[FRAGMENT + 1]])
    }

    /// Whether it is a part of a larger packet.
    pub(crate) fn is_fragment(&self) -> bool {
        self.fragment_word() & (MORE_FRAGMENTS | OFFSET_MASK) != 0
    }

    /// Whether it carries the beginning of what the packet carries, and so ports.
    pub(crate) fn has_beginning(&self) -> bool {
        self.fragment_word() & OFFSET_MASK == 0
    }

    /// Gives back the hop that the detour through this program costs: the kernel takes one on the way in and one on the
    /// way out.
    pub(crate) fn give_hop_back(&mut self) {
        let old = [self.0[TTL], self.0[PROTOCOL]];
        let new = [old[0].saturating_add(1), old[1]];
        self.0[TTL] = new[0];
        update_field(&mut self.0, CHECKSUM, u16::from_be_bytes(old), u16::from_be_bytes(new));
    }

    /// Type and code, if it is the beginning of an ICMP message.
    pub(crate) fn icmp_kind(&self) -> Option<(u8, u8)> {
        let at = self.header_len();
        (self.protocol() == ICMP && self.has_beginning() && self.len() >= at + ICMP_HEADER)
            .then(|| (self.0[at], self.0[at + 1]))
    }

    /// The flags of a TCP segment.
    pub(crate) fn tcp_flags(&self) -> Option<u8> {
        if self.protocol() != TCP || !self.has_beginning() {
            return None;
        }
        self.0.get(self.header_len() + 13).copied()
    }
}

/// Length of the header of the packet that `bytes` begin with; `None` when they are too few or no IPv4.
pub(crate) fn header_length(bytes: &[u8]) -> Option<usize> {
    let first = *bytes.first()?;
    let length = usize::from(first & 0x0f) * 4;
    (first >> 4 == 4 && length >= HEADER_MIN && bytes.len() >= length).then_some(length)
}

/// Whether `bytes` begin with a whole header of a packet that has the beginning of what it carries.
pub(crate) fn protocol_of_beginning(bytes: &[u8]) -> Option<u8> {
    header_length(bytes)?;
    (word(bytes, FRAGMENT)? & OFFSET_MASK == 0).then(|| bytes[PROTOCOL])
}

/// Source address; the header has been checked.
pub(crate) fn source(bytes: &[u8]) -> Ipv4Addr {
    address(bytes, SOURCE)
}

/// Destination address; the header has been checked.
pub(crate) fn destination(bytes: &[u8]) -> Ipv4Addr {
    address(bytes, DESTINATION)
}

/// Replaces the source address and keeps all checksums right. The header has been checked.
pub(crate) fn set_source(bytes: &mut [u8], new: Ipv4Addr) {
    set_address(bytes, SOURCE, new);
}

/// Replaces the destination address and keeps all checksums right. The header has been checked.
pub(crate) fn set_destination(bytes: &mut [u8], new: Ipv4Addr) {
    set_address(bytes, DESTINATION, new);
}

/// What tells conversations between the same two addresses apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    /// TCP and UDP.
    Pair {
        /// Of the source.
        source: u16,
        /// Of the destination.
        destination: u16,
    },
    /// The identifier of ICMP requests and their replies.
    Query(u16),
    /// An ICMP error; it belongs to the conversation of the packet in it.
    Error,
    /// Other protocols have none that we know.
    None,
}

/// The ports of the packet that `bytes` begin with; `None` when they are not there.
pub(crate) fn ports(bytes: &[u8]) -> Option<Ports> {
    let protocol = protocol_of_beginning(bytes)?;
    let at = header_length(bytes)?;
    match protocol {
        TCP | UDP => Some(Ports::Pair { source: word(bytes, at)?, destination: word(bytes, at + 2)? }),
        ICMP => match bytes.get(at)? {
            // Echo, timestamp and address mask, requests and replies.
            0 | 8 | 13 | 14 | 17 | 18 => Some(Ports::Query(word(bytes, at + 4)?)),
            _ => Some(Ports::Error),
        },
        _ => Some(Ports::None),
    }
}

/// Replaces the source port, or the identifier of an ICMP request. Does nothing for other protocols.
pub(crate) fn set_source_port(bytes: &mut [u8], new: u16) {
    set_port(bytes, 0, new);
}

/// Replaces the destination port, or the identifier of an ICMP request. Does nothing for other protocols.
pub(crate) fn set_destination_port(bytes: &mut [u8], new: u16) {
    set_port(bytes, 2, new);
}

fn set_port(bytes: &mut [u8], offset: usize, new: u16) {
    let Some(protocol) = protocol_of_beginning(bytes) else { return };
    let at = header_length(bytes).expect("it was looked at above") + if protocol == ICMP { 4 } else { offset };
    if !matches!(protocol, TCP | UDP | ICMP) {
        return;
    }
    let Some(old) = word(bytes, at) else { return };
    bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
    update_transport_checksum(bytes, old, new);
}

fn set_address(bytes: &mut [u8], at: usize, new: Ipv4Addr) {
    for (index, new) in new.octets().chunks_exact(2).enumerate() {
        let at = at + 2 * index;
        let (old, new) = (u16::from_be_bytes([bytes[at], bytes[at + 1]]), u16::from_be_bytes([new[0], new[1]]));
        bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
        update_field(bytes, CHECKSUM, old, new);
        // ICMP has no pseudo header.
        if bytes[PROTOCOL] != ICMP {
            update_transport_checksum(bytes, old, new);
        }
    }
}

/// Of the checksum that covers what the packet carries, if we know it and it is among the bytes.
fn update_transport_checksum(bytes: &mut [u8], old: u16, new: u16) {
    let Some(protocol) = protocol_of_beginning(bytes) else { return };
    let offset = match protocol {
        TCP => 16,
        UDP => 6,
        ICMP => 2,
        _ => return,
    };
    let at = header_length(bytes).expect("it was looked at above") + offset;
    match word(bytes, at) {
        // A UDP packet without a checksum; VXLAN usually has none.
        None => {}
        Some(0) if protocol == UDP => {}
        Some(_) => {
            update_field(bytes, at, old, new);
            if protocol == UDP && word(bytes, at) == Some(0) {
                bytes[at..at + 2].fill(0xff);
            }
        }
    }
}

fn update_field(bytes: &mut [u8], at: usize, old: u16, new: u16) {
    let field = updated(u16::from_be_bytes([bytes[at], bytes[at + 1]]), old, new);
    bytes[at..at + 2].copy_from_slice(&field.to_be_bytes());
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn address(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3])
}

/// A header of our own making, without options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewHeader {
    /// Source.
    pub(crate) source: Ipv4Addr,
    /// Destination.
    pub(crate) destination: Ipv4Addr,
    /// What it carries.
    pub(crate) protocol: u8,
}

impl NewHeader {
    /// Hops that packets of ours may take.
    const HOPS: u8 = 64;

    /// The header in front of `payload`, which is not longer than an IPv4 packet can be.
    pub(crate) fn packet(self, payload: &[u8]) -> Packet {
        let length = u16::try_from(HEADER_MIN + payload.len()).expect("the caller keeps to the limit");
        let mut bytes = vec![0; HEADER_MIN];
        bytes[0] = 0x45;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes[TTL] = Self::HOPS;
        bytes[PROTOCOL] = self.protocol;
        bytes[SOURCE..SOURCE + 4].copy_from_slice(&self.source.octets());
        bytes[DESTINATION..DESTINATION + 4].copy_from_slice(&self.destination.octets());
        seal_header(&mut bytes);
        bytes.extend_from_slice(payload);
        Packet(bytes)
    }
}

/// Computes the header's checksum anew. The header has been checked.
pub(crate) fn seal_header(bytes: &mut [u8]) {
    let length = header_length(bytes).expect("the caller has a whole header");
    bytes[CHECKSUM..CHECKSUM + 2].fill(0);
    let sum = checksum(&bytes[..length]);
    bytes[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Replaces total length and fragment word in the header that `bytes` are, and seals it.
pub(crate) fn make_fragment_header(bytes: &mut [u8], total: usize, fragment_word: u16) {
    let total = u16::try_from(total).expect("a fragment is not longer than the packet that it is of");
    bytes[2..4].copy_from_slice(&total.to_be_bytes());
    bytes[FRAGMENT..FRAGMENT + 2].copy_from_slice(&fragment_word.to_be_bytes());
    seal_header(bytes);
}

#[cfg(test)]
pub(crate) mod testing {
    //! Packets for tests, and a check of all their checksums that is independent of the incremental updates.

    use std::net::Ipv4Addr;

    use super::{ICMP, NewHeader, Packet, TCP, UDP, destination, header_length, seal_header, source};
    use crate::checksum::checksum;

    pub(crate) fn udp(from: (&str, u16), to: (&str, u16), payload: &[u8]) -> Packet {
        let mut body = vec![0; 8];
        body[0..2].copy_from_slice(&from.1.to_be_bytes());
        body[2..4].copy_from_slice(&to.1.to_be_bytes());
        body[4..6].copy_from_slice(&u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
        body.extend_from_slice(payload);
        seal_transport(packet(from.0, to.0, UDP, &body), 6)
    }

    pub(crate) fn tcp(from: (&str, u16), to: (&str, u16), flags: u8) -> Packet {
        let mut body = vec![0; 20];
        body[0..2].copy_from_slice(&from.1.to_be_bytes());
        body[2..4].copy_from_slice(&to.1.to_be_bytes());
        body[12] = 0x50;
        body[13] = flags;
        seal_transport(packet(from.0, to.0, TCP, &body), 16)
    }

    pub(crate) fn icmp(from: &str, to: &str, kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Packet {
        let mut body = vec![kind, code, 0, 0];
        body.extend_from_slice(&rest);
        body.extend_from_slice(payload);
        let sum = checksum(&body);
        body[2..4].copy_from_slice(&sum.to_be_bytes());
        packet(from, to, ICMP, &body)
    }

    pub(crate) fn echo(from: &str, to: &str, kind: u8, id: u16) -> Packet {
        let [high, low] = id.to_be_bytes();
        icmp(from, to, kind, 0, [high, low, 0, 1], b"ping")
    }

    fn packet(from: &str, to: &str, protocol: u8, body: &[u8]) -> Packet {
        let address = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        NewHeader { source: address(from), destination: address(to), protocol }.packet(body)
    }

    pub(crate) fn forbid_fragments(mut packet: Packet) -> Packet {
        packet.0[6] |= 0x40;
        seal_header(&mut packet.0);
        packet
    }

    fn seal_transport(mut packet: Packet, offset: usize) -> Packet {
        let at = packet.header_len() + offset;
        let sum = transport_sum(packet.bytes());
        packet.0[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    /// Zero when a checksum inside is right.
    fn transport_sum(bytes: &[u8]) -> u16 {
        let header = header_length(bytes).unwrap();
        let mut pseudo = Vec::new();
        if bytes[9] != ICMP {
            pseudo.extend_from_slice(&source(bytes).octets());
            pseudo.extend_from_slice(&destination(bytes).octets());
            pseudo.extend_from_slice(&[0, bytes[9]]);
            pseudo.extend_from_slice(&u16::try_from(bytes.len() - header).unwrap().to_be_bytes());
        }
        pseudo.extend_from_slice(&bytes[header..]);
        checksum(&pseudo)
    }

    /// Fails when a checksum of a packet that is no fragment is wrong.
    pub(crate) fn assert_sealed(packet: &Packet) {
        let bytes = packet.bytes();
        assert_eq!(checksum(&bytes[..packet.header_len()]), 0, "header checksum of {packet:?}");
        if !packet.is_fragment() && matches!(packet.protocol(), TCP | UDP | ICMP) {
            assert_eq!(transport_sum(bytes), 0, "transport checksum of {packet:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::{
        Packet, Ports, ports, set_destination, set_destination_port, set_source, set_source_port,
        testing::{assert_sealed, echo, tcp, udp},
    };

    #[test_case(udp(("10.1.1.5", 4000), ("10.2.1.5", 53), b"odd") ; "udp")]
    #[test_case(tcp(("10.1.1.5", 4000), ("10.2.1.5", 53), 2) ; "tcp")]
    #[test_case(echo("10.1.1.5", "10.2.1.5", 8, 77) ; "echo")]
    fn changes_keep_checksums(mut packet: Packet) {
        assert_sealed(&packet);
        set_source(packet.bytes_mut(), "198.18.1.2".parse().unwrap());
        assert_sealed(&packet);
        set_destination(packet.bytes_mut(), "255.1.0.0".parse().unwrap());
        assert_sealed(&packet);
        set_source_port(packet.bytes_mut(), 65_535);
        assert_sealed(&packet);
        set_destination_port(packet.bytes_mut(), 0);
        assert_sealed(&packet);
        packet.give_hop_back();
        assert_sealed(&packet);
        assert_eq!((packet.bytes()[8], packet.source().to_string()), (65, "198.18.1.2".to_owned()));
        match ports(packet.bytes()).unwrap() {
            Ports::Pair { source, destination } => assert_eq!((source, destination), (65_535, 0)),
            other => assert_eq!(other, Ports::Query(0)),
        }
    }

    #[test]
    fn udp_without_a_checksum_stays_without() {
        let mut packet = udp(("10.1.1.5", 4000), ("10.2.1.5", 8472), b"inner");
        packet.bytes_mut()[26..28].fill(0);
        set_source(packet.bytes_mut(), "198.18.1.2".parse().unwrap());
        set_source_port(packet.bytes_mut(), 1);
        assert_eq!(packet.bytes()[26..28], [0, 0]);
    }

    #[test_case(&[] ; "nothing")]
    #[test_case(&[0x60; 40] ; "IPv6")]
    #[test_case(&[0x45; 19] ; "half a header")]
    #[test_case(&[0x44, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] ; "header too short")]
    #[test_case(&[0x45, 0, 0, 21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] ; "cut off")]
    #[test_case(&[0x45, 0, 0, 19, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] ; "shorter than its header")]
    fn no_packets(bytes: &[u8]) {
        assert_eq!(Packet::parse(bytes.to_vec()), None);
    }
}
