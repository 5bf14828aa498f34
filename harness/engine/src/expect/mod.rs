//! Expectations: each has a file of its own with what it is in a scenario and how it is judged, and a line in
//! [`EXPECTATIONS`].

mod answers;
mod endpoints;
mod errors;
mod events;
mod failures;
mod kvstore;
mod latency;
mod maps;
mod remote;
mod status;

use std::{fmt, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use mesh_types::ClusterName;
use meshbed_events::Request;
use meshbed_scenario::Element;

use crate::stage::{Stage, StepError};

/// Requests told one by one when an expectation fails; the rest is counted.
const TOLD_MAX: usize = 3;

/// What an expectation looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// Requests: those of the steady window, or those sent from a given time on.
    Requests,
    /// How something is at the moment of looking.
    State,
}

/// What there is to look at.
pub(crate) struct Look<'a> {
    pub(crate) stage: &'a Stage,
    /// The requests that count.
    pub(crate) requests: &'a [Request],
}

/// Something that a step expects.
pub(crate) trait Expect: fmt::Debug + fmt::Display + Send + Sync {
    /// The expectation as a sentence without a full stop, for reports.
    fn words(&self) -> String;

    /// What it looks at.
    fn about(&self) -> About;

    /// What contradicts it, one sentence each; empty when it holds.
    fn judge<'a>(&'a self, look: &'a Look<'a>) -> BoxFuture<'a, Result<Vec<String>, StepError>>;

    /// For `never`: that it happened, as a sentence. By default: it holds now.
    fn happened<'a>(&'a self, look: &'a Look<'a>) -> BoxFuture<'a, Result<Option<String>, StepError>> {
        async move {
            let findings = self.judge(look).await?;
            Ok(findings.is_empty().then(|| format!("it happened: {}", self.words())))
        }
        .boxed()
    }

    /// How many requests are enough for a judgement in the form `within`.
    fn requests_wanted(&self) -> u32 {
        meshbed_scenario::STEADY_REQUESTS_DEFAULT
    }
}

/// An expectation of the language.
#[derive(Clone, Debug)]
pub struct AnyExpect(pub(crate) Arc<dyn Expect>);

impl<T: Expect + 'static> From<T> for AnyExpect {
    fn from(expectation: T) -> Self {
        Self(Arc::new(expectation))
    }
}

impl fmt::Display for AnyExpect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All expectations.
pub(crate) static EXPECTATIONS: &[Element<AnyExpect>] = &[
    answers::ELEMENT,
    errors::ELEMENT,
    failures::ELEMENT,
    latency::ELEMENT,
    endpoints::ELEMENT,
    maps::ELEMENT,
    kvstore::ELEMENT,
    status::ELEMENT,
    remote::ELEMENT,
    events::ELEMENT,
];

/// Requests of clients in `cluster`.
fn of<'a>(cluster: &'a ClusterName, requests: &'a [Request]) -> impl Iterator<Item = &'a Request> {
    requests.iter().filter(move |request| request.cluster == cluster.as_str())
}

/// A request in words.
fn who(request: &Request) -> String {
    format!(
        "request {} of client `{}` in `{}` to {} at {}",
        request.sequence, request.client, request.cluster, request.service, request.sent
    )
}

/// At most [`TOLD_MAX`] sentences, and how many more there are.
fn told(sentences: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = sentences.collect();
    if all.len() > TOLD_MAX {
        let more = all.len() - TOLD_MAX;
        all.truncate(TOLD_MAX);
        all.push(format!("and {more} more"));
    }
    all
}

#[cfg(test)]
pub(crate) mod testing {
    //! Requests and names for the tests of expectations.

    use meshbed_events::{Answer, ErrorKind, Micros, Outcome, Request};
    use meshbed_scenario::{Clusters, Topology};

    fn request(client: &str, outcome: Outcome) -> Request {
        Request {
            cluster: "alpha".into(),
            client: client.into(),
            node: "alpha-1".into(),
            service: "default/rebel-base:80".into(),
            sequence: 7,
            sent: Micros(1_000),
            done: Micros(2_000),
            opened: None,
            outcome,
        }
    }

    pub(super) fn answered(client: &str, cluster: &str) -> Request {
        let answer = Answer { cluster: cluster.into(), pod: "rebel-base-1".into(), ip: "10.2.1.2".into(), status: 200 };
        request(client, Outcome::Answered(answer))
    }

    pub(super) fn failed(client: &str, kind: ErrorKind) -> Request {
        request(client, Outcome::Failed(kind))
    }

    pub(super) fn clusters(names: &[&str]) -> Clusters {
        names.iter().map(|name| name.parse().expect("a valid name")).collect()
    }

    pub(crate) fn two_clusters() -> Topology {
        Topology::load(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/topologies/two-clusters.yaml"))
            .expect("valid")
    }
}
