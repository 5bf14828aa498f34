//! Expectations over the steady requests of a step: pure functions.

use std::collections::{BTreeMap, BTreeSet};

use mesh_types::ClusterName;
use meshbed_events::{Outcome, Request};
use meshbed_scenario::Expect;

/// Requests told one by one when an expectation fails; the rest is counted.
const TOLD_MAX: usize = 3;

/// The expectation in the scenario's words.
pub(crate) fn words(expect: &Expect) -> String {
    let names = |clusters: &BTreeSet<ClusterName>| match clusters.len() {
        0 => "no cluster".to_owned(),
        _ => clusters.iter().map(ClusterName::as_str).collect::<Vec<_>>().join(", "),
    };
    match expect {
        Expect::Answers { in_, from } => format!("clients in {in_} are answered by exactly {}", names(from)),
        Expect::Errors { max } => format!("at most {max} steady requests fail"),
        Expect::Failures { in_, kinds, within } => {
            let kinds: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
            format!("every request of clients in {in_} fails within {within:?}: {}", kinds.join(", "))
        }
        Expect::Endpoints { in_, service, from } => {
            format!("the API of {in_} shows endpoints of {service} in exactly {}", names(from))
        }
    }
}

/// What contradicts the expectation; empty when it holds. `Endpoints` is judged by [`endpoints`].
pub(crate) fn requests(expect: &Expect, steady: &[Request]) -> Vec<String> {
    match expect {
        Expect::Answers { in_, from } => answers(in_, from, steady),
        Expect::Errors { max } => errors(*max, steady),
        Expect::Failures { in_, kinds, within } => {
            let mine: Vec<&Request> = of(in_, steady).collect();
            if mine.is_empty() {
                return vec![format!("no client in {in_} sent a request")];
            }
            told(mine.into_iter().filter_map(|request| match &request.outcome {
                Outcome::Answered(answer) => {
                    Some(format!("{} was answered by `{}` of {}", who(request), answer.pod, answer.cluster))
                }
                Outcome::Failed(kind) if !kinds.contains(kind) => {
                    Some(format!("{} failed as {}", who(request), kind.as_str()))
                }
                Outcome::Failed(_) if request.done.since(request.sent) > *within => {
                    Some(format!("{} failed only after {:?}", who(request), request.done.since(request.sent)))
                }
                Outcome::Failed(_) => None,
            }))
        }
        Expect::Endpoints { .. } => Vec::new(),
    }
}

/// Judges `Endpoints`: the clusters that the listed addresses belong to against those expected.
pub(crate) fn endpoints(
    expected: &BTreeSet<ClusterName>,
    listed: &[String],
    cluster_of: impl Fn(&str) -> Option<ClusterName>,
) -> Vec<String> {
    let mut findings = Vec::new();
    let mut found = BTreeSet::new();
    for address in listed {
        match cluster_of(address) {
            Some(cluster) if expected.contains(&cluster) => {
                found.insert(cluster);
            }
            Some(cluster) => findings.push(format!("endpoint {address} belongs to {cluster}")),
            None => findings.push(format!("endpoint {address} belongs to no pod CIDR of the mesh")),
        }
    }
    findings.extend(expected.difference(&found).map(|cluster| format!("no endpoint of {cluster} is listed")));
    findings
}

fn answers(in_: &ClusterName, from: &BTreeSet<ClusterName>, steady: &[Request]) -> Vec<String> {
    let mut by_client: BTreeMap<&str, BTreeMap<&str, (u64, &Request)>> = BTreeMap::new();
    for request in of(in_, steady) {
        let answered = by_client.entry(&request.client).or_default();
        if let Outcome::Answered(answer) = &request.outcome {
            answered.entry(&answer.cluster).or_insert((0, request)).0 += 1;
        }
    }
    if by_client.is_empty() {
        return vec![format!("no client in {in_} sent a request")];
    }
    let mut findings = Vec::new();
    for (client, answered) in by_client {
        for wanted in from.iter().filter(|wanted| !answered.contains_key(wanted.as_str())) {
            findings.push(format!("client `{client}` in `{in_}` had no answer from {wanted}"));
        }
        for (cluster, (count, first)) in answered {
            if !from.iter().any(|wanted| wanted.as_str() == cluster) {
                let Outcome::Answered(answer) = &first.outcome else { continue };
                findings.push(format!(
                    "client `{client}` in `{in_}` had {count} answers from {cluster}, the first by `{}` ({})",
                    answer.pod, answer.ip
                ));
            }
        }
    }
    findings
}

fn errors(max: u64, steady: &[Request]) -> Vec<String> {
    let failed: Vec<&Request> = steady.iter().filter(|request| matches!(request.outcome, Outcome::Failed(_))).collect();
    if failed.len() as u64 <= max {
        return Vec::new();
    }
    let mut findings = vec![format!("{} of {} steady requests failed", failed.len(), steady.len())];
    findings.extend(told(failed.into_iter().filter_map(|request| match request.outcome {
        Outcome::Failed(kind) => Some(format!("{} failed as {}", who(request), kind.as_str())),
        Outcome::Answered(_) => None,
    })));
    findings
}

fn of<'a>(cluster: &'a ClusterName, steady: &'a [Request]) -> impl Iterator<Item = &'a Request> {
    steady.iter().filter(move |request| request.cluster == cluster.as_str())
}

fn who(request: &Request) -> String {
    format!(
        "request {} of client `{}` in `{}` to {} at {}",
        request.sequence, request.client, request.cluster, request.service, request.sent
    )
}

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
mod tests {
    use meshbed_events::{Answer, ErrorKind, Micros};

    use super::*;

    fn cluster(name: &str) -> ClusterName {
        name.parse().expect("valid")
    }

    fn request(client: &str, outcome: Outcome) -> Request {
        Request {
            cluster: "alpha".into(),
            client: client.into(),
            service: "default/rebel-base:80".into(),
            sequence: 7,
            sent: Micros(1_000),
            done: Micros(2_000),
            outcome,
        }
    }

    fn answered(client: &str, cluster: &str) -> Request {
        let answer = Answer { cluster: cluster.into(), pod: "rebel-base-1".into(), ip: "10.2.1.2".into(), status: 200 };
        request(client, Outcome::Answered(answer))
    }

    #[test]
    fn every_client_must_be_answered_by_every_expected_cluster_and_no_other() {
        let expect = Expect::Answers { in_: cluster("alpha"), from: [cluster("alpha")].into() };
        assert_eq!(requests(&expect, &[answered("a", "alpha")]), Vec::<String>::new());
        assert_eq!(
            requests(&expect, &[answered("a", "beta"), answered("b", "alpha")]),
            [
                "client `a` in `alpha` had no answer from alpha",
                "client `a` in `alpha` had 1 answers from beta, the first by `rebel-base-1` (10.2.1.2)"
            ]
        );
        assert_eq!(requests(&expect, &[]), ["no client in alpha sent a request"]);
    }

    #[test]
    fn failures_must_be_of_the_kind_and_at_once() {
        let expect = Expect::Failures {
            in_: cluster("alpha"),
            kinds: [ErrorKind::Unreachable].into(),
            within: std::time::Duration::from_micros(1_500),
        };
        assert_eq!(requests(&expect, &[request("a", Outcome::Failed(ErrorKind::Unreachable))]), Vec::<String>::new());
        assert_eq!(
            requests(&expect, &[request("a", Outcome::Failed(ErrorKind::TimedOut)), answered("a", "beta")]),
            [
                "request 7 of client `a` in `alpha` to default/rebel-base:80 at 0.001s failed as timed-out",
                "request 7 of client `a` in `alpha` to default/rebel-base:80 at 0.001s was answered by `rebel-base-1` of beta"
            ]
        );
    }

    #[test]
    fn endpoints_of_another_cluster_are_found() {
        let of = |address: &str| address.starts_with("10.1.").then(|| cluster("alpha"));
        let expected = [cluster("alpha")].into();
        assert_eq!(endpoints(&expected, &["10.1.1.2".into()], of), Vec::<String>::new());
        assert_eq!(endpoints(&expected, &[], of), ["no endpoint of alpha is listed"]);
        assert_eq!(
            endpoints(&expected, &["10.1.1.2".into(), "10.2.1.2".into()], of),
            ["endpoint 10.2.1.2 belongs to no pod CIDR of the mesh"]
        );
    }
}
