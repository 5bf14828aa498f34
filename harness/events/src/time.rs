//! Time since the start of a run.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// Microseconds of `CLOCK_MONOTONIC` since the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub u64);

impl Micros {
    /// The time from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// `self` moved back by `duration`, at most to the start of the run.
    pub fn back(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }

    /// Milliseconds, with fraction.
    pub fn as_millis_f64(self) -> f64 {
        Duration::from_micros(self.0).as_secs_f64() * 1e3
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", Duration::from_micros(self.0).as_secs_f64())
    }
}
