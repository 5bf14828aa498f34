//! The clock of a run.

use std::time::Duration;

use meshbed_events::Micros;
use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC` with the start of the run as zero. The probes stamp with the same clock, in other processes.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    start_ns: u64,
}

impl RunClock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { start_ns: monotonic_ns() }
    }

    /// Time since the start.
    pub fn now(&self) -> Micros {
        self.at(monotonic_ns())
    }

    /// Whether the run had begun at a `CLOCK_MONOTONIC` reading in nanoseconds.
    pub(crate) fn has_started_at(&self, monotonic_ns: u64) -> bool {
        monotonic_ns >= self.start_ns
    }

    /// The run's time for a `CLOCK_MONOTONIC` reading in nanoseconds.
    pub fn at(&self, monotonic_ns: u64) -> Micros {
        Micros(monotonic_ns.saturating_sub(self.start_ns) / 1_000)
    }
}

/// `CLOCK_MONOTONIC` now, in nanoseconds.
pub(crate) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let since_boot = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0));
    u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX)
}
