//! `errors`: how many requests may fail.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use mesh_types::ClusterName;
use meshbed_events::{ErrorKind, Outcome, Request};
use meshbed_scenario::{Element, ErrorKinds, element, record};

use super::{About, AnyExpect, Expect, Look, told, who};
use crate::stage::StepError;

/// In the language.
pub(super) const ELEMENT: Element<AnyExpect> = element!("errors", Errors, requests);

record! {
    /// At most so many requests failed, over all clients. With `never`: more than so many failed.
    pub struct Errors {
        /// How many may fail.
        pub max: u64,
        /// Only clients in this cluster count.
        pub in_: Option<ClusterName>,
        /// Only these kinds of errors count.
        pub kinds: Option<ErrorKinds>,
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "errors: {{max: {}}}", self.max)
    }
}

impl Expect for Errors {
    fn words(&self) -> String {
        let kinds = self.kinds.as_ref().map(|kinds| format!(" as {kinds}")).unwrap_or_default();
        let of = self.in_.as_ref().map(|cluster| format!(" of clients in {cluster}")).unwrap_or_default();
        format!("at most {} requests{of} fail{kinds}", self.max)
    }

    fn about(&self) -> About {
        About::Requests
    }

    fn judge<'a>(&'a self, look: &'a Look<'a>) -> BoxFuture<'a, Result<Vec<String>, StepError>> {
        async move { Ok(self.findings(look.requests)) }.boxed()
    }

    fn happened<'a>(&'a self, look: &'a Look<'a>) -> BoxFuture<'a, Result<Option<String>, StepError>> {
        async move { Ok(self.findings(look.requests).into_iter().next()) }.boxed()
    }
}

impl Errors {
    fn findings(&self, requests: &[Request]) -> Vec<String> {
        let counts = |kind: ErrorKind| self.kinds.as_ref().is_none_or(|kinds| kinds.contains(kind));
        let mine = requests.iter().filter(|request| self.in_.as_ref().is_none_or(|of| of.as_str() == request.cluster));
        let all = mine.clone().count();
        let failed: Vec<(&Request, ErrorKind)> = mine
            .filter_map(|request| match request.outcome {
                Outcome::Failed(kind) if counts(kind) => Some((request, kind)),
                _ => None,
            })
            .collect();
        if failed.len() as u64 <= self.max {
            return Vec::new();
        }
        let mut findings = vec![format!("{} of {all} requests failed", failed.len())];
        findings.extend(told(
            failed.into_iter().map(|(request, kind)| format!("{} failed as {}", who(request), kind.as_str())),
        ));
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::testing::{answered, failed};

    #[test]
    fn more_than_allowed_is_told_with_the_first_of_them() {
        let expect = Errors { max: 0, in_: None, kinds: None };
        assert_eq!(expect.findings(&[answered("a", "alpha")]), Vec::<String>::new());
        assert_eq!(
            expect.findings(&[answered("a", "alpha"), failed("a", ErrorKind::Refused)]),
            [
                "1 of 2 requests failed",
                "request 7 of client `a` in `alpha` to default/rebel-base:80 at 0.001s failed as refused"
            ]
        );
        let elsewhere = Errors { in_: Some("beta".parse().expect("valid")), ..expect };
        assert_eq!(elsewhere.findings(&[failed("a", ErrorKind::Refused)]), Vec::<String>::new());
    }
}
