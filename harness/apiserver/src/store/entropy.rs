//! The server's only source of randomness: UIDs and name suffixes, reproducible from a seed.

use std::fmt::Write as _;

/// The letters of generated names: no vowels and no look-alikes, so that no words come out (as Kubernetes does).
const SUFFIX_LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// Length of a generated suffix.
const SUFFIX_LENGTH: usize = 5;

/// A splitmix64 generator. Names need no secrecy, only no collisions.
#[derive(Clone, Debug)]
pub(crate) struct Entropy(u64);

impl Entropy {
    /// Starts from a seed, or from the operating system's randomness when there is none.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(seed.unwrap_or_else(|| {
            let mut bytes = [0; 8];
            rustls::crypto::ring::default_provider()
                .secure_random
                .fill(&mut bytes)
                .expect("the operating system has randomness: TLS could not work without it");
            u64::from_le_bytes(bytes)
        }))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Where the generator is, to go on from there: a seed for [`Self::new`].
    pub(crate) fn position(&self) -> u64 {
        self.0
    }

    /// A number from 0 up to, but not, 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        // 53 bits are what the number's mantissa holds.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit the mantissa exactly")]
        let numerator = (self.next() >> 11) as f64;
        numerator / (1_u64 << 53) as f64
    }

    /// A version 4 UUID.
    pub(crate) fn uid(&mut self) -> String {
        let bits = (u128::from(self.next()) << 64) | u128::from(self.next());
        let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{bits:032x}");
        let mut uid = String::with_capacity(36);
        for (index, digit) in hex.chars().enumerate() {
            if matches!(index, 8 | 12 | 16 | 20) {
                uid.push('-');
            }
            uid.push(digit);
        }
        uid
    }

    /// Five letters for `metadata.generateName`.
    pub(crate) fn suffix(&mut self) -> String {
        let mut bits = self.next();
        (0..SUFFIX_LENGTH)
            .map(|_| {
                let letter = SUFFIX_LETTERS[usize::try_from(bits % 27).expect("below 27")];
                bits /= 27;
                char::from(letter)
            })
            .collect()
    }
}

/// Kubernetes' encoding of a hash into a label value: its decimal digits, spelled in the letters above.
pub(crate) fn safe_encode(hash: u32) -> String {
    let mut digits = String::new();
    write!(digits, "{hash}").expect("writing to a string cannot fail");
    digits.bytes().map(|digit| char::from(SUFFIX_LETTERS[usize::from(digit) % SUFFIX_LETTERS.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_names_again() {
        let (mut one, mut two) = (Entropy::new(Some(7)), Entropy::new(Some(7)));
        assert_eq!(one.uid(), two.uid());
        assert_eq!(one.suffix(), two.suffix());
        assert_ne!(one.suffix(), two.uid());
    }

    #[test]
    fn a_uid_has_the_shape_of_version_4() {
        let uid = Entropy::new(Some(1)).uid();
        assert_eq!(uid.len(), 36);
        assert_eq!(&uid[14..15], "4");
        assert!(matches!(&uid[19..20], "8" | "9" | "a" | "b"), "{uid}");
    }
}
