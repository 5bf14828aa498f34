//! Counts of requests and what became of them.

use std::collections::BTreeMap;
use std::time::Duration;

use meshbed_events::{ErrorKind, Outcome, Request};

/// Requests, who answered them, and how they failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that ended.
    pub requests: u64,
    /// Answers by the cluster of the backend.
    pub answers: BTreeMap<String, u64>,
    /// Failures by kind.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// How long answered requests took.
    pub answer_latency: Latency,
    /// How long failed requests took to fail.
    pub error_latency: Latency,
}

impl Tally {
    /// Counts one request.
    pub(crate) fn count(&mut self, request: &Request) {
        self.requests += 1;
        let took = request.done.since(request.sent);
        match &request.outcome {
            Outcome::Answered(answer) => {
                match self.answers.get_mut(&answer.cluster) {
                    Some(count) => *count += 1,
                    None => {
                        self.answers.insert(answer.cluster.clone(), 1);
                    }
                }
                self.answer_latency.samples.push(took);
            }
            Outcome::Failed(kind) => {
                *self.errors.entry(*kind).or_default() += 1;
                self.error_latency.samples.push(took);
            }
        }
    }

    /// Adds what another tally counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        for (cluster, count) in &other.answers {
            *self.answers.entry(cluster.clone()).or_default() += count;
        }
        for (kind, count) in &other.errors {
            *self.errors.entry(*kind).or_default() += count;
        }
        self.answer_latency.samples.extend_from_slice(&other.answer_latency.samples);
        self.error_latency.samples.extend_from_slice(&other.error_latency.samples);
    }

    /// Answers of all clusters together.
    pub fn answered(&self) -> u64 {
        self.answers.values().sum()
    }

    /// Failures of all kinds together.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// `3 refused, 1 reset`; empty when nothing failed.
    pub fn error_words(&self) -> String {
        let words: Vec<_> = self.errors.iter().map(|(kind, count)| format!("{count} {}", kind.as_str())).collect();
        words.join(", ")
    }
}

/// A set of durations and its exact quantiles.
///
/// All samples are kept: a run has some ten thousand requests, and a report that rounds to buckets would be asked why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    samples: Vec<Duration>,
}

impl Latency {
    /// Sorts the samples; quantiles are only right afterwards.
    pub(crate) fn finish(&mut self) {
        self.samples.sort_unstable();
    }

    /// The smallest sample that at least `percent` of a hundred samples do not exceed (nearest rank).
    fn percentile(&self, percent: usize) -> Option<Duration> {
        let rank = (self.samples.len() * percent).div_ceil(100).max(1);
        self.samples.get(rank - 1).copied()
    }

    /// The median, if there was any sample.
    pub fn p50(&self) -> Option<Duration> {
        self.percentile(50)
    }

    /// The 99th percentile, if there was any sample.
    pub fn p99(&self) -> Option<Duration> {
        self.percentile(99)
    }

    /// The largest sample.
    pub fn max(&self) -> Option<Duration> {
        self.samples.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let mut latency = Latency { samples: (1..=200).rev().map(Duration::from_micros).collect() };
        latency.finish();
        assert_eq!(latency.p50(), Some(Duration::from_micros(100)));
        assert_eq!(latency.p99(), Some(Duration::from_micros(198)));
        assert_eq!(latency.max(), Some(Duration::from_micros(200)));
        assert_eq!(Latency::default().p99(), None);
    }
}
