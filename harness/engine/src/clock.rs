//! The clock of a run.

use meshbed_driver::monotonic_ns;
use meshbed_events::Micros;

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
