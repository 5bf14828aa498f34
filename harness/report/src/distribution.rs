//! Percentiles of many values in little memory.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use meshbed_events::Micros;

/// Significant decimal digits that are kept of each value: percentiles are right to a thousandth.
const DIGITS: u8 = 3;

/// How a set of values (microseconds, or counts) is distributed; an HDR histogram.
#[derive(Clone, PartialEq)]
pub struct Distribution {
    values: Histogram<u64>,
}

impl Default for Distribution {
    fn default() -> Self {
        Self { values: Histogram::new(DIGITS).expect("three digits are within what the histogram takes") }
    }
}

impl fmt::Debug for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = (self.count(), self.percentile(50.0), self.percentile(99.0), self.max());
        f.debug_tuple("Distribution").field(&values).finish()
    }
}

impl Distribution {
    /// Adds a plain number.
    pub fn add(&mut self, value: u64) {
        // The histogram grows to hold it. Should it refuse, the value counts as the largest one that it can hold.
        if self.values.record(value).is_err() {
            self.values.saturating_record(value);
        }
    }

    /// Adds a duration, to the microsecond.
    pub fn add_duration(&mut self, duration: Duration) {
        self.add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds the time from `from` to `at`, zero when `at` is earlier.
    pub fn add_between(&mut self, from: Micros, at: Micros) {
        self.add_duration(at.since(from));
    }

    /// How many values were added.
    pub fn count(&self) -> u64 {
        self.values.len()
    }

    /// The value that `percent` of a hundred values do not exceed; `None` without values.
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        (self.count() > 0).then(|| self.values.value_at_quantile(percent / 100.0).min(self.values.max()))
    }

    /// The largest value.
    pub fn max(&self) -> Option<u64> {
        (self.count() > 0).then(|| self.values.max())
    }

    /// The same as [`Self::percentile`] of durations.
    pub fn duration(&self, percent: f64) -> Option<Duration> {
        self.percentile(percent).map(Duration::from_micros)
    }

    /// The same as [`Self::max`] of durations.
    pub fn longest(&self) -> Option<Duration> {
        self.max().map(Duration::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_near_the_true_ones() {
        let mut distribution = Distribution::default();
        assert_eq!(distribution.percentile(50.0), None);
        for value in 1..=10_000 {
            distribution.add(value);
        }
        let near = |percent: f64, truth: f64| {
            let found = distribution.percentile(percent).expect("values were added") as f64;
            assert!((found - truth).abs() <= truth / 500.0, "p{percent} is {found}");
        };
        near(50.0, 5_000.0);
        near(99.0, 9_900.0);
        assert_eq!(distribution.count(), 10_000);
        assert_eq!(distribution.percentile(100.0), distribution.max());
    }

    #[test]
    fn no_value_is_refused() {
        let mut distribution = Distribution::default();
        distribution.add(0);
        distribution.add(u64::MAX);
        assert_eq!(distribution.count(), 2);
        assert_eq!(distribution.percentile(10.0), Some(0));
    }
}
