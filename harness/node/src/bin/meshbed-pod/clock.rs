//! The clock of everything that crosses processes.

use nix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC` in nanoseconds.
pub(crate) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux always has this clock");
    let seconds = u64::try_from(now.tv_sec()).expect("time since boot is positive");
    let nanoseconds = u64::try_from(now.tv_nsec()).expect("a fraction of a second is positive");
    seconds * 1_000_000_000 + nanoseconds
}
