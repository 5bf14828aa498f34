//! What time it is at an outpost: machines that started at different times count their time from different zeros.

use std::{collections::VecDeque, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// Measurements that an offset is taken from: those of the last half minute.
const SAMPLES_MAX: usize = 64;

/// `CLOCK_MONOTONIC` now, in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let since_boot = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0));
    u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX)
}

/// How far the clock of an outpost is ahead of ours, by asking it again and again.
#[derive(Debug, Default)]
pub(super) struct Offset {
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Time that question and answer took.
    round_ns: u64,
    /// Theirs minus ours, if both ways took as long.
    ahead_ns: i64,
}

impl Offset {
    /// A question that was sent at `sent` and whose answer, with the time there, arrived at `received`.
    pub(super) fn add(&mut self, sent: u64, theirs: u64, received: u64) {
        let round_ns = received.saturating_sub(sent);
        let middle = sent.saturating_add(round_ns / 2);
        self.push(Sample { round_ns, ahead_ns: theirs.cast_signed().wrapping_sub(middle.cast_signed()) });
    }

    /// Adds what another has.
    pub(super) fn append(&mut self, other: Self) {
        other.samples.into_iter().for_each(|sample| self.push(sample));
    }

    fn push(&mut self, sample: Sample) {
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// Theirs minus ours and how far that can be wrong, in nanoseconds: the answer that came fastest knows it best.
    pub(super) fn best(&self) -> (i64, u64) {
        let best = self.samples.iter().min_by_key(|sample| sample.round_ns);
        best.map_or((0, u64::MAX), |sample| (sample.ahead_ns, sample.round_ns.div_ceil(2)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Offset, SAMPLES_MAX, monotonic_ns};

    #[test]
    fn the_fastest_answer_counts() {
        let mut offset = Offset::default();
        assert_eq!(offset.best(), (0, u64::MAX));
        offset.add(1_000, 501_100, 1_400);
        assert_eq!(offset.best(), (499_900, 200));
        offset.add(2_000, 502_010, 2_020);
        offset.add(3_000, 509_000, 9_000);
        assert_eq!(offset.best(), (500_000, 10));
        for _ in 0..SAMPLES_MAX {
            offset.add(2_000, 1_000, 2_100);
        }
        assert_eq!(offset.best(), (-1_050, 50), "old ones are forgotten: clocks drift");
    }

    #[test]
    fn time_goes_on() {
        let first = monotonic_ns();
        assert!(monotonic_ns() >= first && first > 0);
    }
}
