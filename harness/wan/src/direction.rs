//! One direction of a link: what happens to its packets and when they go on. No clock and no I/O.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use meshbed_scenario::{LinkConditions, LossRatio};

use crate::{packet::Packet, status::Counters};

/// Packets that one direction holds back, for their delay or their turn; more are dropped. Enough for a second of 64,000
/// small packets.
const HELD_PACKETS_MAX: usize = 65_536;
/// Bytes that one direction holds back; half a second of a full 1 Gbit/s.
const HELD_BYTES_MAX: usize = 64 << 20;
/// What may pass at once where the rate is limited, in bytes: as much as ten large packets, what a sender sends at the
/// start of a connection.
const BURST_BYTES: u64 = 15_000;
/// How long a packet may wait for its turn where the rate is limited; what comes later is dropped.
const QUEUE_TIME: Duration = Duration::from_millis(100);
/// What fits at least into the queue of a limited rate, in bytes; on slow links it holds more than [`QUEUE_TIME`].
const QUEUE_BYTES_MIN: u64 = 64 << 10;

/// The state of one direction.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) conditions: LinkConditions,
    pub(crate) counters: Counters,
    random: fastrand::Rng,
    shaper: Option<Shaper>,
    held: BinaryHeap<Reverse<Held>>,
    held_bytes: usize,
    /// Number of the next packet that is held: equal times keep their order.
    sequence: u64,
    /// When the latest of the packets goes on that were accepted so far.
    latest: Option<Instant>,
}

/// What to do with a packet now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It goes on at once.
    Now(Packet),
    /// It waits, or it was dropped.
    Taken,
}

impl Traffic {
    /// A clear direction.
    pub(crate) fn new() -> Self {
        Self {
            conditions: LinkConditions::default(),
            counters: Counters::default(),
            random: fastrand::Rng::with_seed(0),
            shaper: None,
            held: BinaryHeap::new(),
            held_bytes: 0,
            sequence: 0,
            latest: None,
        }
    }

    /// Replaces the conditions; `seed` begins the sequence of random decisions. Packets that were accepted before keep
    /// their time, unless the direction goes down.
    pub(crate) fn set(&mut self, conditions: LinkConditions, seed: u64, now: Instant) {
        self.shaper = conditions.rate.map(|rate| Shaper::new(rate.get(), now));
        self.random = fastrand::Rng::with_seed(seed);
        self.conditions = conditions;
        if self.conditions.down {
            self.counters.dropped.down += self.held.len() as u64;
            self.held.clear();
            self.held_bytes = 0;
            self.latest = None;
        }
    }

    /// Draws whether the next packet is lost.
    pub(crate) fn draws_loss(&mut self) -> bool {
        match self.conditions.loss {
            LossRatio::NONE => false,
            // All means all.
            LossRatio::ALL => true,
            ratio => self.random.f64() < ratio.as_f64(),
        }
    }

    /// Takes a packet that passes, now or later.
    pub(crate) fn admit(&mut self, packet: Packet, now: Instant) -> Admission {
        let departure = match &mut self.shaper {
            None => now,
            Some(shaper) => match shaper.departure(packet.len(), now) {
                Some(departure) => departure,
                None => {
                    self.counters.dropped.queue += 1;
                    return Admission::Taken;
                }
            },
        };
        let mut release = departure + self.draw_delay();
        if !self.conditions.reorder {
            release = self.latest.map_or(release, |latest| latest.max(release));
        }
        if release <= now && self.held.is_empty() {
            return Admission::Now(packet);
        }
        if self.held.len() >= HELD_PACKETS_MAX || self.held_bytes + packet.len() > HELD_BYTES_MAX {
            self.counters.dropped.queue += 1;
            return Admission::Taken;
        }
        self.latest = Some(self.latest.map_or(release, |latest| latest.max(release)));
        self.held_bytes += packet.len();
        self.held.push(Reverse(Held { release, sequence: self.sequence, packet }));
        self.sequence += 1;
        Admission::Taken
    }

    /// When the next packet goes on.
    pub(crate) fn next_release(&self) -> Option<Instant> {
        self.held.peek().map(|Reverse(held)| held.release)
    }

    /// A packet whose time has come.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Packet> {
        self.next_release().filter(|&release| release <= now)?;
        self.pop()
    }

    /// The next packet, whether its time has come or not.
    pub(crate) fn pop(&mut self) -> Option<Packet> {
        let Reverse(held) = self.held.pop()?;
        self.held_bytes -= held.packet.len();
        Some(held.packet)
    }

    /// The counters with what is waiting.
    pub(crate) fn counters(&self) -> Counters {
        Counters { queued: self.held.len() as u64, ..self.counters }
    }

    fn draw_delay(&mut self) -> Duration {
        let LinkConditions { delay, jitter, .. } = self.conditions;
        if jitter.is_zero() {
            return delay;
        }
        (delay + jitter.mul_f64(2.0 * self.random.f64())).saturating_sub(jitter)
    }
}

/// A packet that waits. Ordered by time, then by arrival.
#[derive(Debug)]
struct Held {
    release: Instant,
    sequence: u64,
    packet: Packet,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.release, self.sequence).cmp(&(other.release, other.sequence))
    }
}

/// A token bucket, written as the time until which everything accepted so far keeps the link busy (the generic cell rate
/// algorithm): the bucket is full when that time has passed, and empty when it is a whole burst away.
#[derive(Debug)]
struct Shaper {
    /// Bits per second.
    rate: u64,
    busy_until: Instant,
}

impl Shaper {
    fn new(rate: u64, now: Instant) -> Self {
        Self { rate, busy_until: now }
    }

    /// When a packet of `bytes` bytes may leave; `None` when the queue before it is full.
    fn departure(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let busy_until = self.busy_until.max(now);
        let burst = self.time_for(BURST_BYTES);
        let wait = busy_until.saturating_duration_since(now).saturating_sub(burst);
        if wait > QUEUE_TIME.max(self.time_for(QUEUE_BYTES_MIN)) {
            return None;
        }
        self.busy_until = busy_until + self.time_for(bytes as u64);
        Some(now + wait)
    }

    fn time_for(&self, bytes: u64) -> Duration {
        let nanoseconds = u128::from(bytes) * 8 * 1_000_000_000 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)).min(TIME_MAX)
    }
}

/// Longest time that a single packet may keep a link busy, whatever its rate: keeps times in the range of the clock.
const TIME_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::{
        num::NonZeroU64,
        time::{Duration, Instant},
    };

    use meshbed_scenario::{LinkConditions, LossRatio};

    use super::{Admission, Traffic};
    use crate::packet::{Packet, testing::udp};

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn packet(number: u16, size: usize) -> Packet {
        udp(("10.1.1.5", number), ("10.2.1.5", 53), &vec![0; size - 28])
    }

    fn number(packet: &Packet) -> u16 {
        u16::from_be_bytes([packet.bytes()[20], packet.bytes()[21]])
    }

    fn traffic(conditions: LinkConditions, now: Instant) -> Traffic {
        let mut traffic = Traffic::new();
        traffic.set(conditions, 7, now);
        traffic
    }

    /// When each packet goes on, in the order in which they do.
    fn releases(traffic: &mut Traffic, start: Instant) -> Vec<(u16, Duration)> {
        let mut all = Vec::new();
        while let Some(release) = traffic.next_release() {
            assert_eq!(traffic.due(release - Duration::from_nanos(1)), None, "not before its time");
            all.push((number(&traffic.due(release).unwrap()), release - start));
        }
        all
    }

    #[test]
    fn clear_direction_holds_nothing() {
        let now = Instant::now();
        let mut traffic = Traffic::new();
        assert_eq!(traffic.admit(packet(1, 100), now), Admission::Now(packet(1, 100)));
        assert_eq!((traffic.next_release(), traffic.draws_loss()), (None, false));
    }

    #[test]
    fn delay_is_exact() {
        let start = Instant::now();
        let mut traffic = traffic(LinkConditions { delay: 40 * MILLISECOND, ..LinkConditions::default() }, start);
        for index in 0..3 {
            assert_eq!(traffic.admit(packet(index, 100), start + u32::from(index) * MILLISECOND), Admission::Taken);
        }
        assert_eq!(traffic.counters().queued, 3);
        let expected = [(0, 40 * MILLISECOND), (1, 41 * MILLISECOND), (2, 42 * MILLISECOND)];
        assert_eq!(releases(&mut traffic, start), expected);
    }

    #[test]
    fn jitter_keeps_the_order_unless_it_may_not() {
        for reorder in [false, true] {
            let start = Instant::now();
            let conditions = LinkConditions {
                delay: 10 * MILLISECOND,
                jitter: 5 * MILLISECOND,
                reorder,
                ..LinkConditions::default()
            };
            let mut traffic = traffic(conditions, start);
            for index in 0..200 {
                traffic.admit(packet(index, 100), start);
            }
            let releases = releases(&mut traffic, start);
            assert!(releases.iter().all(|(_, at)| (5 * MILLISECOND..=15 * MILLISECOND).contains(at)), "{releases:?}");
            assert_eq!(releases.is_sorted_by_key(|(number, _)| *number), !reorder);
            assert!(releases.last().unwrap().1 > 14 * MILLISECOND, "the range is used: {releases:?}");
        }
    }

    #[test]
    fn loss_is_as_asked_and_repeats_with_its_seed() {
        let now = Instant::now();
        let draw = |seed| {
            let mut traffic = Traffic::new();
            traffic.set(LinkConditions { loss: LossRatio::new(0.3).unwrap(), ..LinkConditions::default() }, seed, now);
            (0..10_000).map(|_| traffic.draws_loss()).collect::<Vec<_>>()
        };
        let lost = draw(7).iter().filter(|lost| **lost).count();
        assert!((2850..3150).contains(&lost), "3000 ± 3 standard deviations, found {lost}");
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let mut all = traffic(LinkConditions { loss: LossRatio::ALL, ..LinkConditions::default() }, now);
        assert!((0..10_000).all(|_| all.draws_loss()));
    }

    #[test]
    fn rate_lets_a_burst_pass_and_then_paces() {
        let start = Instant::now();
        // 1000 bytes take 1 ms.
        let mut traffic =
            traffic(LinkConditions { rate: NonZeroU64::new(8_000_000), ..LinkConditions::default() }, start);
        let at_once = (0..300).filter(|&index| traffic.admit(packet(index, 1000), start) != Admission::Taken).count();
        assert_eq!(at_once, 16, "the burst of 15,000 bytes, and the packet that overdraws it");
        let releases = releases(&mut traffic, start);
        let gaps: Vec<_> = releases.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
        assert!(gaps.iter().all(|gap| *gap == MILLISECOND), "{gaps:?}");
        assert_eq!(releases.last().unwrap().1, 100 * MILLISECOND, "what waits longer is dropped");
        assert_eq!(traffic.counters().dropped.queue, 300 - 16 - 100);
        // After a pause the burst is there again.
        let later = start + Duration::from_secs(1);
        assert_ne!(traffic.admit(packet(1, 1000), later), Admission::Taken);
    }

    #[test]
    fn slow_links_have_a_queue_too() {
        let start = Instant::now();
        let mut traffic = traffic(LinkConditions { rate: NonZeroU64::new(64_000), ..LinkConditions::default() }, start);
        for index in 0..40 {
            traffic.admit(packet(index, 1500), start);
        }
        assert_eq!(traffic.counters().dropped.queue, 0, "60,000 bytes fit");
    }

    #[test]
    fn down_takes_what_is_on_the_way() {
        let now = Instant::now();
        let mut traffic = traffic(LinkConditions { delay: MILLISECOND, ..LinkConditions::default() }, now);
        traffic.admit(packet(1, 100), now);
        traffic.set(LinkConditions { down: true, ..LinkConditions::default() }, 1, now);
        assert_eq!(traffic.due(now + MILLISECOND), None);
        let counters = traffic.counters();
        assert_eq!((counters.queued, counters.dropped.down), (0, 1));
    }

    #[test]
    fn shorter_delay_overtakes_nobody() {
        let start = Instant::now();
        let mut traffic = traffic(LinkConditions { delay: 40 * MILLISECOND, ..LinkConditions::default() }, start);
        traffic.admit(packet(1, 100), start);
        traffic.set(LinkConditions { delay: MILLISECOND, ..LinkConditions::default() }, 1, start);
        assert_eq!(traffic.admit(packet(2, 100), start), Admission::Taken);
        assert_eq!(releases(&mut traffic, start), [(1, 40 * MILLISECOND), (2, 40 * MILLISECOND)]);
    }
}
