//! Splitting packets that are too large for a link and do not forbid it (RFC 791, section 3.2).

use crate::packet::{HEADER_MIN, MORE_FRAGMENTS, OFFSET_MASK, Packet, make_fragment_header};

/// Options that every fragment has to carry have this bit in their type.
const COPIED: u8 = 0x80;

/// The fragments of `packet` for a link with `mtu`, in order. The packet is larger than that and allows it; `mtu` is at
/// least [`crate::controller::MTU_MIN`], so that each fragment carries something.
pub(crate) fn fragments(packet: &Packet, mtu: u16) -> Vec<Packet> {
    let header_len = packet.header_len();
    let (header, payload) = packet.bytes().split_at(header_len);
    let later_header = header_of_later_fragments(header);
    let word = packet.fragment_word();
    let mut pieces = Vec::new();
    let mut sent = 0;
    while sent < payload.len() {
        let header = if sent == 0 { header } else { later_header.as_slice() };
        let room = usize::from(mtu) - header.len();
        let is_last = payload.len() - sent <= room;
        // All but the last carry a multiple of 8 bytes: offsets count in these.
        let size = if is_last { payload.len() - sent } else { room & !7 };
        let offset = (word & OFFSET_MASK) + u16::try_from(sent / 8).expect("a packet has at most 65,535 bytes");
        let more = if is_last { word & MORE_FRAGMENTS } else { MORE_FRAGMENTS };
        let mut bytes = header.to_vec();
        make_fragment_header(&mut bytes, header.len() + size, more | offset);
        bytes.extend_from_slice(&payload[sent..sent + size]);
        pieces.push(Packet::parse(bytes).expect("the header was made for these bytes"));
        sent += size;
    }
    pieces
}

/// `header` with those options only that are copied into all fragments, filled up to a multiple of 4 bytes.
fn header_of_later_fragments(header: &[u8]) -> Vec<u8> {
    let mut later = header[..HEADER_MIN].to_vec();
    let mut options = &header[HEADER_MIN..];
    while let [kind, rest @ ..] = options {
        match kind {
            // End of the options.
            0 => break,
            // Filling.
            1 => options = rest,
            _ => {
                let length = rest.first().map_or(0, |&length| usize::from(length));
                if length < 2 || length > options.len() {
                    break;
                }
                let (option, others) = options.split_at(length);
                if kind & COPIED != 0 {
                    later.extend_from_slice(option);
                }
                options = others;
            }
        }
    }
    later.resize(later.len().next_multiple_of(4), 0);
    later[0] = 0x40 | u8::try_from(later.len() / 4).expect("not longer than the header that it is from");
    later
}

#[cfg(test)]
mod tests {
    use super::{fragments, header_of_later_fragments};
    use crate::packet::testing::{assert_sealed, udp};

    #[test]
    fn pieces_make_up_the_whole() {
        let payload: Vec<u8> = (0..3000_u32).map(|number| number.to_be_bytes()[3]).collect();
        let packet = udp(("10.1.1.5", 4000), ("10.2.1.5", 53), &payload);
        let pieces = fragments(&packet, 1401);
        assert_eq!(pieces.iter().map(|piece| piece.len()).collect::<Vec<_>>(), [1396, 1396, 276]);
        let mut whole = vec![0; packet.len() - 20];
        for (index, piece) in pieces.iter().enumerate() {
            assert_sealed(piece);
            assert_eq!(piece.fragment_word() & 0x2000 != 0, index < 2, "all but the last have more behind them");
            assert_eq!(piece.identification(), packet.identification());
            let at = usize::from(piece.fragment_word() & 0x1fff) * 8;
            whole[at..at + piece.len() - 20].copy_from_slice(&piece.bytes()[20..]);
        }
        assert_eq!(whole, packet.bytes()[20..]);
        // A fragment in the middle stays one.
        let again = fragments(&pieces[1], 800);
        let words: Vec<_> = again.iter().map(|piece| (piece.fragment_word(), piece.len())).collect();
        assert_eq!(words, [(0x2000 | 172, 796), (0x2000 | (172 + 97), 620)]);
    }

    #[test]
    fn later_fragments_have_copied_options_only() {
        let mut header = vec![0; 32];
        header[0] = 0x48;
        // Filling, record route (not copied), strict source route (copied), end.
        header[20..32].copy_from_slice(&[1, 7, 3, 4, 0x89, 3, 4, 0, 0, 0, 0, 0]);
        let later = header_of_later_fragments(&header);
        assert_eq!((later[0], &later[20..]), (0x46, &[0x89, 3, 4, 0][..]));
    }
}
