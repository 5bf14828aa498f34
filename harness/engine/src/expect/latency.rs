//! `latency`: how long answers take.

use std::{fmt, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use mesh_types::ClusterName;
use meshbed_events::{Outcome, Request};
use meshbed_scenario::{Clusters, Element, element, record};

use super::{About, AnyExpect, Expect, Look};
use crate::{bench::Samples, stage::StepError};

/// In the language.
pub(super) const ELEMENT: Element<AnyExpect> = element!("latency", Latency, requests);

record! {
    /// How long answers took, from just before `connect()` to the end of the answer. Requests that failed do not count.
    pub struct Latency {
        /// Only clients in this cluster count.
        pub in_: Option<ClusterName>,
        /// Only answers from these clusters count.
        pub from: Option<Clusters>,
        /// Half of the answers took at most this.
        pub p50: Option<Duration>,
        /// 99 of 100 answers took at most this.
        pub p99: Option<Duration>,
        /// No answer took longer than this.
        pub max: Option<Duration>,
        /// No answer came sooner than this: a link's delay can be proven with it.
        pub min: Option<Duration>,
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "latency: {{{}}}", self.limits())
    }
}

impl Expect for Latency {
    fn words(&self) -> String {
        let of = self.in_.as_ref().map(|cluster| format!(" of clients in {cluster}")).unwrap_or_default();
        let from = self.from.as_ref().map(|clusters| format!(" from {clusters}")).unwrap_or_default();
        format!("answers{from} to requests{of} take {}", self.limits())
    }

    fn about(&self) -> About {
        About::Requests
    }

    fn judge<'a>(&'a self, look: &'a Look<'a>) -> BoxFuture<'a, Result<Vec<String>, StepError>> {
        async move { Ok(self.findings(look.requests)) }.boxed()
    }
}

impl Latency {
    fn limits(&self) -> String {
        let named = [("p50", self.p50), ("p99", self.p99), ("max", self.max), ("min", self.min)];
        let words: Vec<String> = named
            .iter()
            .filter_map(|(name, limit)| Some(format!("{name}: {}", humantime::format_duration((*limit)?))))
            .collect();
        words.join(", ")
    }

    fn findings(&self, requests: &[Request]) -> Vec<String> {
        let mut samples = Samples::default();
        let mut shortest: Option<Duration> = None;
        for request in requests.iter().filter(|request| self.counts(request)) {
            let took = request.done.since(request.sent);
            samples.add(took);
            shortest = Some(shortest.map_or(took, |shortest| shortest.min(took)));
        }
        let Some(shortest) = shortest else { return vec!["no request was answered that would count".to_owned()] };
        let found = [
            ("p50", self.p50, samples.percentile(50.0)),
            ("p99", self.p99, samples.percentile(99.0)),
            ("max", self.max, samples.max()),
        ];
        let too_long = found.into_iter().filter_map(|(name, limit, found)| {
            let limit = limit.filter(|limit| found > *limit)?;
            Some(format!("{name} of {} answers is {found:?}, more than {limit:?}", samples.count()))
        });
        let too_short = self.min.filter(|min| shortest < *min);
        let too_short = too_short.map(|min| format!("the fastest answer took {shortest:?}, less than {min:?}"));
        too_long.chain(too_short).collect()
    }

    fn counts(&self, request: &Request) -> bool {
        let Outcome::Answered(answer) = &request.outcome else { return false };
        self.in_.as_ref().is_none_or(|cluster| cluster.as_str() == request.cluster)
            && self.from.as_ref().is_none_or(|from| from.iter().any(|one| one.as_str() == answer.cluster))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::testing::answered;

    #[test]
    fn limits_are_held_against_the_answers() {
        let none = Latency { in_: None, from: None, p50: None, p99: None, max: None, min: None };
        let expect = Latency { p50: Some(Duration::from_millis(2)), ..none.clone() };
        assert_eq!(expect.findings(&[answered("a", "alpha")]), Vec::<String>::new());
        let expect = Latency { max: Some(Duration::from_micros(500)), ..none.clone() };
        assert_eq!(expect.findings(&[answered("a", "alpha")]), ["max of 1 answers is 1ms, more than 500µs"]);
        let expect = Latency { min: Some(Duration::from_millis(2)), ..none };
        assert_eq!(expect.findings(&[answered("a", "alpha")]), ["the fastest answer took 1ms, less than 2ms"]);
        assert_eq!(expect.findings(&[]), ["no request was answered that would count"]);
    }
}
