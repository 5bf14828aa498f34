//! What an entry of the ip prefix is about: the end of its key.

use std::{
    fmt,
    net::{AddrParseError, IpAddr},
    str::FromStr,
};

use ipnet::IpNet;

/// One address, or all addresses of a CIDR.
///
/// A CIDR of a single address is not the same as the address: they have different keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IpPrefix {
    /// A pod's or a node's address.
    Address(IpAddr),
    /// A CIDR. Bits of the host part are kept as they were written.
    Cidr(IpNet),
}

impl IpPrefix {
    /// The address, or the address part of the CIDR.
    pub fn ip(self) -> IpAddr {
        match self {
            Self::Address(ip) => ip,
            Self::Cidr(net) => net.addr(),
        }
    }

    /// All addresses that it covers, host bits cleared.
    pub fn network(self) -> IpNet {
        match self {
            Self::Address(ip) => IpNet::from(ip),
            Self::Cidr(net) => net.trunc(),
        }
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => ip.fmt(f),
            Self::Cidr(net) => net.fmt(f),
        }
    }
}

impl FromStr for IpPrefix {
    type Err = IpPrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('/') {
            text.parse().map(Self::Cidr).map_err(|_| IpPrefixError::Cidr)
        } else {
            text.parse().map(Self::Address).map_err(IpPrefixError::Address)
        }
    }
}

/// Why a text is neither an address nor a CIDR.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpPrefixError {
    /// Without a slash it has to be an address.
    #[error("not an IP address")]
    Address(#[source] AddrParseError),
    /// With a slash it has to be a CIDR.
    #[error("not a CIDR")]
    Cidr,
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("10.1.0.11", "10.1.0.11/32" ; "v4 address")]
    #[test_case("fd00:10:1::11", "fd00:10:1::11/128" ; "v6 address")]
    #[test_case("10.1.0.0/24", "10.1.0.0/24" ; "v4 cidr")]
    #[test_case("10.1.0.5/24", "10.1.0.0/24" ; "host bits")]
    #[test_case("10.1.0.11/32", "10.1.0.11/32" ; "cidr of one address")]
    #[test_case("::/0", "::/0" ; "everything")]
    fn reads_and_writes(text: &str, network: &str) {
        let prefix: IpPrefix = text.parse().unwrap();
        assert_eq!(prefix.to_string(), text);
        assert_eq!(prefix.network(), network.parse().unwrap());
    }

    #[test_case("" => "not an IP address" ; "empty")]
    #[test_case("web" => "not an IP address" ; "name")]
    #[test_case("10.0.0.0/33" => "not a CIDR" ; "too long")]
    #[test_case("10.0.0.0/24/8" => "not a CIDR" ; "two slashes")]
    fn refuses(text: &str) -> String {
        text.parse::<IpPrefix>().unwrap_err().to_string()
    }
}
