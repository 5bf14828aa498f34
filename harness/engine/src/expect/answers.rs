//! `answers`: who answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use futures::{FutureExt, future::BoxFuture};
use mesh_types::ClusterName;
use meshbed_events::{Outcome, Request};
use meshbed_scenario::{Clusters, Element, ServiceKey, element, record};

use super::{About, AnyExpect, Expect, Look, of};
use crate::stage::StepError;

/// In the language.
pub(super) const ELEMENT: Element<AnyExpect> = element!("answers", Answers, requests);

record! {
    /// Every client in a cluster got answers, from exactly these clusters. With `never`: a client got an answer from
    /// one of these clusters.
    pub struct Answers {
        /// Where the clients are.
        pub in_: ClusterName,
        /// Who answered.
        pub from: Clusters,
        /// Only requests to this service count; all of them when it is not given.
        pub service: Option<ServiceKey>,
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answers: {{in: {}, from: [{}]}}", self.in_, self.from)
    }
}

impl Expect for Answers {
    fn words(&self) -> String {
        let of = self.service.as_ref().map(|service| format!(" about {service}")).unwrap_or_default();
        format!("clients in {} are answered{of} by exactly {}", self.in_, self.from)
    }

    fn about(&self) -> About {
        About::Requests
    }

    fn judge<'a>(&'a self, look: &'a Look<'a>) -> BoxFuture<'a, Result<Vec<String>, StepError>> {
        async move { Ok(self.findings(look.requests)) }.boxed()
    }

    fn happened<'a>(&'a self, look: &'a Look<'a>) -> BoxFuture<'a, Result<Option<String>, StepError>> {
        async move {
            let found = self.mine(look.requests).find_map(|request| match &request.outcome {
                Outcome::Answered(answer) if self.from.iter().any(|one| one.as_str() == answer.cluster) => {
                    Some(format!("{} was answered by `{}` of {}", super::who(request), answer.pod, answer.cluster))
                }
                _ => None,
            });
            Ok(found)
        }
        .boxed()
    }
}

impl Answers {
    fn mine<'a>(&'a self, requests: &'a [Request]) -> impl Iterator<Item = &'a Request> {
        let service = self.service.as_ref().map(|service| format!("{service}:"));
        of(&self.in_, requests)
            .filter(move |request| service.as_ref().is_none_or(|service| request.service.starts_with(service)))
    }

    fn findings(&self, requests: &[Request]) -> Vec<String> {
        let mut by_client: BTreeMap<&str, BTreeMap<&str, (u64, &Request)>> = BTreeMap::new();
        for request in self.mine(requests) {
            let answered = by_client.entry(&request.client).or_default();
            if let Outcome::Answered(answer) = &request.outcome {
                answered.entry(&answer.cluster).or_insert((0, request)).0 += 1;
            }
        }
        if by_client.is_empty() {
            return vec![format!("no client in {} sent a request", self.in_)];
        }
        by_client.iter().flat_map(|(client, answered)| self.of_client(client, answered)).collect()
    }

    fn of_client(&self, client: &str, answered: &BTreeMap<&str, (u64, &Request)>) -> Vec<String> {
        let in_ = &self.in_;
        let wanted: BTreeSet<&str> = self.from.iter().map(ClusterName::as_str).collect();
        let mut findings: Vec<String> = wanted
            .iter()
            .filter(|wanted| !answered.contains_key(**wanted))
            .map(|wanted| format!("client `{client}` in `{in_}` had no answer from {wanted}"))
            .collect();
        for (cluster, (count, first)) in answered.iter().filter(|(cluster, _)| !wanted.contains(**cluster)) {
            let Outcome::Answered(answer) = &first.outcome else { continue };
            findings.push(format!(
                "client `{client}` in `{in_}` had {count} answers from {cluster}, the first by `{}` ({})",
                answer.pod, answer.ip
            ));
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use meshbed_events::ErrorKind;

    use super::*;
    use crate::expect::testing::{answered, clusters, failed};

    #[test]
    fn every_client_must_be_answered_by_every_expected_cluster_and_no_other() {
        let expect = Answers { in_: "alpha".parse().expect("valid"), from: clusters(&["alpha"]), service: None };
        assert_eq!(expect.findings(&[answered("a", "alpha")]), Vec::<String>::new());
        assert_eq!(
            expect.findings(&[answered("a", "beta"), answered("b", "alpha")]),
            [
                "client `a` in `alpha` had no answer from alpha",
                "client `a` in `alpha` had 1 answers from beta, the first by `rebel-base-1` (10.2.1.2)"
            ]
        );
        assert_eq!(expect.findings(&[]), ["no client in alpha sent a request"]);
        assert_eq!(
            expect.findings(&[failed("a", ErrorKind::Refused)]),
            ["client `a` in `alpha` had no answer from alpha"]
        );
    }
}
