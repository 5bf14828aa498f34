//! "Fragmentation needed and DF set": ICMP type 3, code 4, with the MTU of the next hop (RFC 1191).

use std::net::Ipv4Addr;

use crate::{
    checksum::checksum,
    packet::{HEADER_MIN, ICMP, ICMP_HEADER, NewHeader, Packet, Ports, ports},
};

/// Type and code of the message.
pub(crate) const PACKET_TOO_BIG: (u8, u8) = (3, 4);
/// Longest error, headers included, so that it passes everywhere (RFC 1812, section 4.3.2.3).
const ERROR_MAX: usize = 576;

/// The message of `router` to the sender of `packet`. `None` when nobody may be told: about an ICMP error, about a later
/// fragment, or when the sender has no address of its own (RFC 1122, section 3.2.2).
pub(crate) fn packet_too_big(packet: &Packet, router: Ipv4Addr, mtu: u16) -> Option<Packet> {
    let (source, destination) = (packet.source(), packet.destination());
    let nobody = source.is_unspecified() || source.is_multicast() || source.is_broadcast() || source.is_loopback();
    let many = destination.is_multicast() || destination.is_broadcast();
    if nobody || many || !packet.has_beginning() {
        return None;
    }
    if packet.protocol() == ICMP && !matches!(ports(packet.bytes()), Some(Ports::Query(_))) {
        return None;
    }
    let quoted = &packet.bytes()[..packet.len().min(ERROR_MAX - HEADER_MIN - ICMP_HEADER)];
    let [high, low] = mtu.to_be_bytes();
    let mut message = vec![PACKET_TOO_BIG.0, PACKET_TOO_BIG.1, 0, 0, 0, 0, high, low];
    message.extend_from_slice(quoted);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    Some(NewHeader { source: router, destination: source, protocol: ICMP }.packet(&message))
}

#[cfg(test)]
mod tests {
    use super::packet_too_big;
    use crate::packet::testing::{assert_sealed, forbid_fragments, icmp, udp};

    #[test]
    fn message_names_mtu_and_packet() {
        let packet = forbid_fragments(udp(("10.1.1.5", 4000), ("10.2.1.5", 53), &[7; 1472]));
        let message = packet_too_big(&packet, "172.18.1.1".parse().unwrap(), 1400).unwrap();
        assert_sealed(&message);
        assert_eq!(message.icmp_kind(), Some((3, 4)));
        assert_eq!(
            (message.source().to_string(), message.destination().to_string()),
            ("172.18.1.1".into(), "10.1.1.5".into())
        );
        assert_eq!(u16::from_be_bytes([message.bytes()[26], message.bytes()[27]]), 1400);
        assert_eq!(message.len(), 576);
        assert_eq!(message.bytes()[28..], packet.bytes()[..548]);
    }

    #[test]
    fn nobody_is_told_about_errors() {
        let error = forbid_fragments(icmp("10.1.1.5", "10.2.1.5", 3, 1, [0; 4], &[0; 1400]));
        assert_eq!(packet_too_big(&error, "172.18.1.1".parse().unwrap(), 1000), None);
        let request = forbid_fragments(icmp("10.1.1.5", "10.2.1.5", 8, 0, [0; 4], &[0; 1400]));
        assert!(packet_too_big(&request, "172.18.1.1".parse().unwrap(), 1000).is_some());
    }
}
