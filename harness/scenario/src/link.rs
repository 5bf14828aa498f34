//! The links between clusters and what can be wrong with them.

use std::{fmt, net::Ipv4Addr, num::NonZeroU64, time::Duration};

use mesh_types::{ClusterId, ClusterName};
use serde::{Deserialize, Serialize};

/// One direction of the link between two clusters, with its conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where its packets come from.
    pub from: ClusterName,
    /// Where they go to.
    pub to: ClusterName,
    /// What happens to them on the way.
    pub conditions: LinkConditions,
}

/// What happens to the packets of one direction of a link. The default is a clear link: nothing happens to them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LinkConditions {
    /// Time that every packet takes in addition.
    pub delay: Duration,
    /// Each packet's delay is drawn evenly from `delay - jitter` to `delay + jitter`, and is never negative.
    pub jitter: Duration,
    /// Whether jitter may change the order of packets. Otherwise none leaves before one that came earlier.
    pub reorder: bool,
    /// Share of the packets that is lost, drawn for each packet by itself.
    pub loss: LossRatio,
    /// Bits per second of IP packets, headers included; unlimited when absent.
    pub rate: Option<NonZeroU64>,
    /// Largest IP packet in bytes, headers included; larger ones are fragmented, or refused when they forbid that.
    pub mtu: Option<u16>,
    /// Messages "fragmentation needed" (ICMP type 3, code 4) are neither sent for packets of this direction that are
    /// too large nor let through in this direction: a path MTU black hole.
    pub drop_ptb: bool,
    /// Nothing passes.
    pub down: bool,
    /// Source addresses are hidden behind one address.
    pub nat: Option<Nat>,
}

impl LinkConditions {
    /// Whether they leave every packet as it is.
    pub fn is_clear(&self) -> bool {
        // `reorder` alone, and a filter for messages that nobody sends, are still conditions that were asked for.
        *self == Self::default()
    }
}

/// In words, such as `delay 40ms ± 5ms, loss 0.1%`; `clear` when there is nothing.
impl fmt::Display for LinkConditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if self.down {
            words.push("down".to_owned());
        }
        let duration = |duration: Duration| humantime::format_duration(duration);
        match (self.delay.is_zero(), self.jitter.is_zero()) {
            (true, true) => {}
            (false, true) => words.push(format!("delay {}", duration(self.delay))),
            (_, false) => words.push(format!("delay {} ± {}", duration(self.delay), duration(self.jitter))),
        }
        if self.reorder {
            words.push("reordering".to_owned());
        }
        if self.loss != LossRatio::NONE {
            words.push(format!("loss {}", self.loss));
        }
        if let Some(rate) = self.rate {
            words.push(format!("rate {rate} bit/s"));
        }
        if let Some(mtu) = self.mtu {
            words.push(format!("MTU {mtu}"));
        }
        if self.drop_ptb {
            words.push("without packet-too-big messages".to_owned());
        }
        if let Some(nat) = &self.nat {
            words.push(nat.to_string());
        }
        f.write_str(if words.is_empty() { "clear".to_owned() } else { words.join(", ") }.as_str())
    }
}

/// Source NAT of a whole cluster behind one address, as a router between networks does it: connections are remembered
/// and ports translated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Nat {
    /// The address; [`default_nat_address`] when absent.
    pub address: Option<Ipv4Addr>,
    /// What happens to connections from the other side.
    pub inbound: Inbound,
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NAT")?;
        if let Some(address) = self.address {
            write!(f, " behind {address}")?;
        }
        match self.inbound {
            Inbound::Pass => Ok(()),
            Inbound::Drop => f.write_str(" that lets no connection in"),
        }
    }
}

/// What NAT does with connections that were not made from behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Inbound {
    /// They reach the addresses behind it, which stay routable, and are answered from them: what a Linux router
    /// with `MASQUERADE` does.
    #[default]
    Pass,
    /// They are dropped: the addresses behind it do not exist outside.
    Drop,
}

/// The address that NAT hides `from` behind towards `to` unless the link names another: `198.18.<from>.<to>`, from the
/// range for tests between networks (RFC 2544). `None` beyond ID 255.
pub fn default_nat_address(from: ClusterId, to: ClusterId) -> Option<Ipv4Addr> {
    let id = |id: ClusterId| u8::try_from(id.get()).ok();
    Some(Ipv4Addr::new(198, 18, id(from)?, id(to)?))
}

/// A share of packets from none to all, in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LossRatio(u32);

impl LossRatio {
    /// No packet.
    pub const NONE: Self = Self(0);
    /// Every packet.
    pub const ALL: Self = Self(PER_MILLION);

    /// The share `ratio`, from 0 to 1, rounded to millionths but never to [`Self::NONE`]. `None` outside of that range.
    pub fn new(ratio: f64) -> Option<Self> {
        if !(0.0..=1.0).contains(&ratio) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1,000,000")]
        let millionths = (ratio * f64::from(PER_MILLION)).round() as u32;
        Some(Self(if ratio > 0.0 { millionths.max(1) } else { 0 }))
    }

    /// From 0 to 1.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / f64::from(PER_MILLION)
    }
}

impl fmt::Display for LossRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / f64::from(PER_MILLION / 100))
    }
}

const PER_MILLION: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU64, time::Duration};

    use super::{Inbound, LinkConditions, LossRatio, Nat};

    #[test]
    fn conditions_in_words() {
        let clear = LinkConditions::default();
        assert_eq!((clear.to_string().as_str(), clear.is_clear()), ("clear", true));
        let conditions = LinkConditions {
            delay: Duration::from_millis(40),
            jitter: Duration::from_millis(5),
            loss: LossRatio::new(0.001).unwrap(),
            rate: NonZeroU64::new(100_000_000),
            mtu: Some(1400),
            drop_ptb: true,
            nat: Some(Nat { address: None, inbound: Inbound::Drop }),
            ..LinkConditions::default()
        };
        assert_eq!(
            conditions.to_string(),
            "delay 40ms ± 5ms, loss 0.1%, rate 100000000 bit/s, MTU 1400, without packet-too-big messages, \
             NAT that lets no connection in"
        );
        assert!(!conditions.is_clear());
        let json = serde_json::to_string(&conditions).unwrap();
        assert_eq!(serde_json::from_str::<LinkConditions>(&json).unwrap(), conditions);
    }

    #[test]
    fn shares_keep_their_meaning() {
        assert_eq!(LossRatio::new(0.0), Some(LossRatio::NONE));
        assert_eq!(LossRatio::new(1.0), Some(LossRatio::ALL));
        assert_ne!(LossRatio::new(1e-9), Some(LossRatio::NONE), "little is not nothing");
        assert_eq!(LossRatio::new(f64::NAN), None);
        assert_eq!(LossRatio::new(1.1), None);
        assert_eq!(LossRatio::new(0.125).unwrap().to_string(), "12.5%");
    }
}
