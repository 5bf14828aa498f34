//! Durations and their percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest duration that is told apart: a minute. Anything longer counts as that.
const LONGEST_US: u64 = 60_000_000;
/// Significant digits of the histogram.
const DIGITS: u8 = 3;

/// Durations with microsecond resolution.
#[derive(Clone, Debug)]
pub struct Samples(Histogram<u64>);

impl Default for Samples {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("the bounds are valid constants"))
    }
}

impl Samples {
    /// Adds one.
    pub fn add(&mut self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(LONGEST_US);
        self.0.saturating_record(us.clamp(1, LONGEST_US));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The duration that `percent` of them do not exceed.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.0.value_at_percentile(percent))
    }

    /// The longest one.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_samples() {
        let mut samples = Samples::default();
        for ms in 1..=100 {
            samples.add(Duration::from_millis(ms));
        }
        assert_eq!(samples.count(), 100);
        let median = samples.percentile(50.0);
        assert!((49_900..=50_100).contains(&median.as_micros()), "{median:?}");
    }
}
