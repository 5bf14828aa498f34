//! Prefixes of addresses.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// All addresses that begin with the same bits, such as `10.2.0.0/24`. Bits after the prefix are always zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpPrefix {
    address: IpAddr,
    bits: u8,
}

impl IpPrefix {
    /// The prefix of the first `bits` bits of `address`; what follows them is dropped.
    ///
    /// # Errors
    ///
    /// When an address has fewer bits.
    pub fn new(address: IpAddr, bits: u8) -> Result<Self, IpPrefixError> {
        let all = bits_of(address);
        if bits > all {
            return Err(IpPrefixError::TooLong { found: bits.into(), limit: all });
        }
        let host = u32::from(all - bits);
        let address = match address {
            // A shift by the whole width is none; a prefix of no bits has no bits.
            IpAddr::V4(address) => IpAddr::V4((address.to_bits() & u32::MAX.checked_shl(host).unwrap_or(0)).into()),
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & u128::MAX.checked_shl(host).unwrap_or(0)).into()),
        };
        Ok(Self { address, bits })
    }

    /// First address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits the addresses have in common: 0 to 32, or 128.
    pub fn bits(self) -> u8 {
        self.bits
    }
}

impl From<IpAddr> for IpPrefix {
    /// The prefix of this address alone.
    fn from(address: IpAddr) -> Self {
        Self { address, bits: bits_of(address) }
    }
}

/// Bits of an address of the same family.
fn bits_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.address, self.bits))
    }
}

/// Why a text is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpPrefixError {
    /// It is not of the form `ADDRESS/BITS`.
    #[error("`{0}` is no prefix of addresses, expected one such as `10.2.0.0/24`")]
    Form(String),
    /// More bits than an address has.
    #[error("prefix has {found} bits, an address has {limit}")]
    TooLong {
        /// Number of bits found.
        found: u32,
        /// Number of bits of such an address.
        limit: u8,
    },
}

impl FromStr for IpPrefix {
    type Err = IpPrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || IpPrefixError::Form(text.to_owned());
        let (address, bits) = text.split_once('/').ok_or_else(form)?;
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let found: u32 = bits.parse().map_err(|_| form())?;
        let limit = bits_of(address);
        Self::new(address, u8::try_from(found).map_err(|_| IpPrefixError::TooLong { found, limit })?)
    }
}

impl Serialize for IpPrefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IpPrefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("10.2.0.0/24" => "10.2.0.0/24" ; "as written")]
    #[test_case("10.2.3.4/16" => "10.2.0.0/16" ; "bits after the prefix are dropped")]
    #[test_case("10.2.3.4/32" => "10.2.3.4/32" ; "one address")]
    #[test_case("10.2.3.4/0" => "0.0.0.0/0" ; "all addresses")]
    #[test_case("fd00::1:2/112" => "fd00::1:0/112" ; "ipv6")]
    #[test_case("fd00::1/0" => "::/0" ; "all of ipv6")]
    #[test_case("10.2.0.0/33" => "prefix has 33 bits, an address has 32" ; "too long")]
    #[test_case("fd00::/300" => "prefix has 300 bits, an address has 128" ; "much too long")]
    #[test_case("10.2.0.0" => "`10.2.0.0` is no prefix of addresses, expected one such as `10.2.0.0/24`" ; "no length")]
    #[test_case("pod/24" => "`pod/24` is no prefix of addresses, expected one such as `10.2.0.0/24`" ; "no address")]
    fn texts(text: &str) -> String {
        text.parse::<IpPrefix>().map_or_else(|error| error.to_string(), |prefix| prefix.to_string())
    }

    #[test]
    fn an_address_is_a_prefix_of_itself() {
        for address in ["10.2.0.11", "fd00::b"] {
            let address: IpAddr = address.parse().unwrap();
            let prefix = IpPrefix::from(address);
            assert_eq!((prefix.address(), IpPrefix::new(address, prefix.bits())), (address, Ok(prefix)));
        }
    }
}
