//! What the router has seen and done.

use std::ops::AddAssign;

use mesh_types::ClusterName;
use meshbed_scenario::LinkConditions;
use serde::{Deserialize, Serialize};

/// One direction of the link between two clusters, as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Direction {
    /// Where its packets come from.
    pub from: ClusterName,
    /// Where they go to.
    pub to: ClusterName,
    /// The conditions in force.
    pub conditions: LinkConditions,
    /// What happened so far.
    pub counters: Counters,
}

/// What happened in one direction since the router started. Only packets that were diverted count: the kernel forwards
/// those of clear directions by itself. Everything only grows, except [`Self::queued`].
///
/// In packets, `received + fragmented = delivered + dropped + queued`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Packets that came.
    pub received: Tally,
    /// Packets that were passed on to the other cluster.
    pub delivered: Tally,
    /// Packets that were not.
    pub dropped: Dropped,
    /// "Fragmentation needed" sent because a packet was too large.
    pub ptb_sent: u64,
    /// "Fragmentation needed" not sent for a packet that was too large, or not let through.
    pub ptb_filtered: u64,
    /// Fragments made, beyond the packets that they were made of.
    pub fragmented: u64,
    /// Packets with translated addresses.
    pub natted: u64,
    /// Packets that are waiting at the moment, for their delay or for their turn.
    pub queued: u64,
}

/// Packets and their bytes, headers of IP included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub packets: u64,
    /// How long they are together.
    pub bytes: u64,
}

impl AddAssign<usize> for Tally {
    /// One more packet of `bytes` bytes.
    fn add_assign(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

/// Packets that were not passed on, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Drawn by lot.
    pub loss: u64,
    /// The direction is down.
    pub down: u64,
    /// The queue of a limited rate, or the memory for delayed packets, was full.
    pub queue: u64,
    /// Too large, and may not be fragmented.
    pub mtu: u64,
    /// "Fragmentation needed" that was filtered on its way.
    pub ptb: u64,
    /// NAT knows no connection that they belong to, or has no room for another one.
    pub nat: u64,
    /// The kernel did not take them back.
    pub refused: u64,
}

impl Dropped {
    /// For all reasons.
    pub fn total(&self) -> u64 {
        let Self { loss, down, queue, mtu, ptb, nat, refused } = self;
        loss + down + queue + mtu + ptb + nat + refused
    }
}
