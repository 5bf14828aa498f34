//! `failures`: every request fails, in a way that a client can deal with.

use std::{fmt, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use mesh_types::ClusterName;
use meshbed_events::{Outcome, Request};
use meshbed_scenario::{Element, ErrorKinds, element, record};

use super::{About, AnyExpect, Expect, Look, of, told, who};
use crate::stage::StepError;

/// In the language.
pub(super) const ELEMENT: Element<AnyExpect> = element!("failures", Failures, requests);

record! {
    /// Every request of clients in a cluster failed, and soon enough. With `never`: a request failed in one of these ways.
    pub struct Failures {
        /// Where the clients are.
        pub in_: ClusterName,
        /// In which ways it may fail.
        pub kinds: ErrorKinds,
        /// How long a failing request may take.
        pub within: Duration,
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = humantime::format_duration(self.within);
        write!(f, "failures: {{in: {}, kinds: [{}], within: {within}}}", self.in_, self.kinds)
    }
}

impl Expect for Failures {
    fn words(&self) -> String {
        let within = humantime::format_duration(self.within);
        format!("every request of clients in {} fails within {within}: {}", self.in_, self.kinds)
    }

    fn about(&self) -> About {
        About::Requests
    }

    fn judge<'a>(&'a self, look: &'a Look<'a>) -> BoxFuture<'a, Result<Vec<String>, StepError>> {
        async move { Ok(self.findings(look.requests)) }.boxed()
    }

    fn happened<'a>(&'a self, look: &'a Look<'a>) -> BoxFuture<'a, Result<Option<String>, StepError>> {
        async move {
            let found = of(&self.in_, look.requests).find_map(|request| match request.outcome {
                Outcome::Failed(kind) if self.kinds.contains(kind) => {
                    Some(format!("{} failed as {}", who(request), kind.as_str()))
                }
                _ => None,
            });
            Ok(found)
        }
        .boxed()
    }
}

impl Failures {
    fn findings(&self, requests: &[Request]) -> Vec<String> {
        let mine: Vec<&Request> = of(&self.in_, requests).collect();
        if mine.is_empty() {
            return vec![format!("no client in {} sent a request", self.in_)];
        }
        told(mine.into_iter().filter_map(|request| self.contradiction(request)))
    }

    fn contradiction(&self, request: &Request) -> Option<String> {
        match &request.outcome {
            Outcome::Answered(answer) => {
                Some(format!("{} was answered by `{}` of {}", who(request), answer.pod, answer.cluster))
            }
            Outcome::Failed(kind) if !self.kinds.contains(*kind) => {
                Some(format!("{} failed as {}", who(request), kind.as_str()))
            }
            Outcome::Failed(_) if request.done.since(request.sent) > self.within => {
                Some(format!("{} failed only after {:?}", who(request), request.done.since(request.sent)))
            }
            Outcome::Failed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use meshbed_events::ErrorKind;

    use super::*;
    use crate::expect::testing::{answered, failed};

    #[test]
    fn failures_must_be_of_the_kind_and_at_once() {
        let expect = Failures {
            in_: "alpha".parse().expect("valid"),
            kinds: ErrorKinds::from_iter([ErrorKind::Unreachable]),
            within: Duration::from_micros(1_500),
        };
        assert_eq!(expect.findings(&[failed("a", ErrorKind::Unreachable)]), Vec::<String>::new());
        assert_eq!(
            expect.findings(&[failed("a", ErrorKind::TimedOut), answered("a", "beta")]),
            [
                "request 7 of client `a` in `alpha` to default/rebel-base:80 at 0.001s failed as timed-out",
                "request 7 of client `a` in `alpha` to default/rebel-base:80 at 0.001s was answered by `rebel-base-1` of beta"
            ]
        );
    }
}
