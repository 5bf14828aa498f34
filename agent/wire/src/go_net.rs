//! Addresses and networks as Go's `net.IP`, `net.IPMask` and `net.IPNet` stand in JSON.

use std::{
    fmt,
    net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::go_json::null_as_default;

/// Bytes of an IPv6 mask. Go takes one beside an IPv4 address, too: its last four bytes count.
const LONG_MASK: usize = 16;

/// Reads `net.IP`. The empty text is no address, and an IPv4 address inside an IPv6 one is the IPv4 address.
pub(crate) fn ip(text: &str) -> Result<Option<IpAddr>, AddrParseError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse::<IpAddr>().map(|ip| Some(ip.to_canonical()))
}

/// Writes `net.IP`.
pub(crate) fn ip_text(ip: Option<impl ToString>) -> String {
    ip.map(|ip| ip.to_string()).unwrap_or_default()
}

/// A `net.IPNet`: Go embeds it in its own type, so its two fields are the object.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct NetWire {
    #[serde(rename = "IP", deserialize_with = "null_as_default")]
    ip: String,
    #[serde(rename = "Mask", deserialize_with = "null_as_default")]
    mask: String,
}

/// IPv4 or IPv6: what is the same about their networks.
pub(crate) trait Family: Copy + ToString {
    /// A network of the family.
    type Net: Copy;

    /// The address, if it is of the family.
    fn of(ip: IpAddr) -> Option<Self>;

    /// Prefix length of a mask in network byte order.
    fn prefix_length(mask: &[u8]) -> Option<u8>;

    /// The network of an address with its host bits.
    fn net(self, prefix_length: u8) -> Option<Self::Net>;

    /// Address and mask.
    fn parts(net: Self::Net) -> (Self, Vec<u8>);
}

impl Family for Ipv4Addr {
    type Net = Ipv4Net;

    fn of(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        }
    }

    fn prefix_length(mask: &[u8]) -> Option<u8> {
        let short = if mask.len() == LONG_MASK { &mask[LONG_MASK - 4..] } else { mask };
        length(u32::from_be_bytes(short.try_into().ok()?).into(), u32::BITS)
    }

    fn net(self, prefix_length: u8) -> Option<Self::Net> {
        Ipv4Net::new(self, prefix_length).ok()
    }

    fn parts(net: Self::Net) -> (Self, Vec<u8>) {
        (net.addr(), net.netmask().octets().into())
    }
}

impl Family for Ipv6Addr {
    type Net = Ipv6Net;

    fn of(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V6(ip) => Some(ip),
            IpAddr::V4(_) => None,
        }
    }

    fn prefix_length(mask: &[u8]) -> Option<u8> {
        length(u128::from_be_bytes(mask.try_into().ok()?), u128::BITS)
    }

    fn net(self, prefix_length: u8) -> Option<Self::Net> {
        Ipv6Net::new(self, prefix_length).ok()
    }

    fn parts(net: Self::Net) -> (Self, Vec<u8>) {
        (net.addr(), net.netmask().octets().into())
    }
}

/// Number of ones in a mask of `bits` bits; `None` when a zero is before a one.
fn length(mask: u128, bits: u32) -> Option<u8> {
    let ones = mask.count_ones();
    let contiguous = ones == 0 || mask.trailing_zeros() == bits - ones;
    contiguous.then(|| u8::try_from(ones).expect("a mask has at most 128 bits"))
}

/// Prefix length of a mask in base64, as it stands beside an address of family `F`.
pub(crate) fn prefix_length<F: Family>(mask: &str) -> Option<u8> {
    F::prefix_length(&BASE64_STANDARD.decode(mask).ok()?)
}

/// Reads a network. `None` when it is none, or not of family `F`.
pub(crate) fn net<F: Family>(wire: &NetWire) -> Option<F::Net> {
    F::of(ip(&wire.ip).ok()??)?.net(prefix_length::<F>(&wire.mask)?)
}

/// Writes a network.
pub(crate) fn net_wire<F: Family>(net: F::Net) -> NetWire {
    let (ip, mask) = F::parts(net);
    NetWire { ip: ip.to_string(), mask: BASE64_STANDARD.encode(mask) }
}

/// Prefix length of a mask in base64, as it stands beside `ip`.
pub(crate) fn prefix_length_of(ip: IpAddr, mask: &str) -> Option<u8> {
    match ip {
        IpAddr::V4(_) => prefix_length::<Ipv4Addr>(mask),
        IpAddr::V6(_) => prefix_length::<Ipv6Addr>(mask),
    }
}

/// The mask of `net` in base64.
pub(crate) fn mask_text(net: IpNet) -> String {
    match net {
        IpNet::V4(net) => net_wire::<Ipv4Addr>(net).mask,
        IpNet::V6(net) => net_wire::<Ipv6Addr>(net).mask,
    }
}

impl fmt::Display for NetWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with mask {}", self.ip, self.mask)
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("" => Ok(None) ; "none")]
    #[test_case("10.0.0.1" => Ok(Some("10.0.0.1".to_owned())) ; "v4")]
    #[test_case("::ffff:10.0.0.1" => Ok(Some("10.0.0.1".to_owned())) ; "v4 inside v6")]
    #[test_case("FD00::0:1" => Ok(Some("fd00::1".to_owned())) ; "v6 in canonical form")]
    #[test_case("10.0.0.01" => Err(()) ; "leading zero")]
    #[test_case("fe80::1%eth0" => Err(()) ; "zone")]
    fn ips(text: &str) -> Result<Option<String>, ()> {
        ip(text).map(|ip| ip.map(|ip| ip.to_string())).map_err(|_| ())
    }

    #[test_case("////AA==" => Some(24) ; "24")]
    #[test_case("AAAAAA==" => Some(0) ; "nothing fixed")]
    #[test_case("/////w==" => Some(32) ; "one address")]
    #[test_case("AAAAAAAAAAAAAAAA////AA==" => Some(24) ; "16 bytes, the last 4 count")]
    #[test_case("/wD/AA==" => None ; "hole")]
    #[test_case("" => None ; "empty")]
    #[test_case("////" => None ; "three bytes")]
    #[test_case("?" => None ; "no base64")]
    fn masks(mask: &str) -> Option<u8> {
        prefix_length::<Ipv4Addr>(mask)
    }

    #[test_case("//////////8AAAAAAAAAAA==" => Some(64) ; "64")]
    #[test_case("////AA==" => None ; "of the other family")]
    fn long_masks(mask: &str) -> Option<u8> {
        prefix_length::<Ipv6Addr>(mask)
    }
}
