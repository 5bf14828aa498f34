//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

/// The checksum of `bytes`, which count as if followed by a zero when their number is odd.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u64;
    let mut words = bytes.chunks_exact(2);
    for word in &mut words {
        sum += u64::from(u16::from_be_bytes([word[0], word[1]]));
    }
    if let [last] = words.remainder() {
        sum += u64::from(u16::from_be_bytes([*last, 0]));
    }
    !fold(sum)
}

/// The checksum of something of which `old` was replaced by `new`, when it was `checksum` before: equation 3 of
/// RFC 1624, `HC' = ~(~HC + ~m + m')`.
pub(crate) fn updated(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("it was folded into 16 bits")
}

#[cfg(test)]
mod tests {
    use super::{checksum, updated};

    #[test]
    fn example_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0x01]), !0x0100);
    }

    #[test]
    fn example_of_rfc_1624() {
        assert_eq!(updated(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn update_agrees_with_a_new_sum() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let mut words: [u8; 8] = std::array::from_fn(|_| random.u8(..));
            // A sum of zero words only is the one case with two representations.
            words[0] |= 1;
            let before = checksum(&words);
            let (old, new) = (u16::from_be_bytes([words[4], words[5]]), random.u16(..));
            words[4..6].copy_from_slice(&new.to_be_bytes());
            assert_eq!(updated(before, old, new), checksum(&words));
        }
    }
}
