//! What every good run of a scenario has in common.

use std::collections::BTreeMap;
use std::net::IpAddr;

use meshbed_events::{MapState, RunRecord};
use serde::Serialize;

use crate::places::Places;
use crate::{Ending, Summary, maps, words};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report<'s> {
    scenario: &'s str,
    question: &'s str,
    topology: &'s str,
    verdict: &'static str,
    exit_code: Option<u8>,
    wrong_answers: bool,
    steps: Vec<Step<'s>>,
    faults: Vec<Fault<'s>>,
    /// Backends in each node's maps when the last step had ended, by service and port.
    maps: BTreeMap<String, BTreeMap<String, Backends>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Step<'s> {
    name: &'s str,
    outcome: &'static str,
    expectations: Vec<Expectation<'s>>,
    /// Of the steady part: by the client's cluster, the clusters that answered.
    answered_by: BTreeMap<String, Vec<String>>,
    /// Of the steady part: by the client's cluster, the kinds of errors.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    errors: BTreeMap<String, Vec<&'static str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Expectation<'s> {
    expectation: &'s str,
    held: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fault<'s> {
    step: Option<&'s str>,
    kind: &'s str,
    target: String,
    witnessed: bool,
    healed: bool,
}

/// Backends of one frontend.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct Backends {
    local: usize,
    remote: usize,
    /// Of no cluster that can be told from the record, such as a node's own address.
    #[serde(skip_serializing_if = "is_zero")]
    elsewhere: usize,
    /// Beyond the selectable ones.
    #[serde(skip_serializing_if = "is_zero")]
    inactive: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl<'s> Report<'s> {
    pub(super) fn of(record: &RunRecord, summary: &'s Summary) -> Self {
        let places = Places::of(record);
        Self {
            scenario: &summary.info.scenario,
            question: &summary.info.question,
            topology: &summary.info.topology,
            verdict: words::verdict_text(summary.verdict()),
            exit_code: match summary.ending {
                Ending::Finished { exit_code, .. } => Some(exit_code),
                Ending::CutOff => None,
            },
            wrong_answers: !summary.violations.is_empty(),
            steps: summary.steps.iter().map(step).collect(),
            faults: summary.faults.iter().map(|one| fault(summary, one)).collect(),
            maps: node_maps(summary, &places),
        }
    }
}

fn step(step: &crate::Step) -> Step<'_> {
    let by_cluster = step.by_cluster();
    let steady = || by_cluster.iter().map(|(cluster, tally)| (cluster, &tally.steady));
    Step {
        name: &step.name,
        outcome: words::outcome_text(step.outcome),
        expectations: step
            .expectations
            .iter()
            .map(|one| Expectation { expectation: &one.text, held: one.held() })
            .collect(),
        answered_by: steady()
            .map(|(cluster, tally)| (cluster.clone(), tally.answers.keys().cloned().collect()))
            .collect(),
        errors: steady()
            .filter(|(_, tally)| !tally.errors.is_empty())
            .map(|(cluster, tally)| (cluster.clone(), tally.errors.keys().map(|kind| kind.as_str()).collect()))
            .collect(),
    }
}

fn fault<'s>(summary: &'s Summary, fault: &'s crate::Fault) -> Fault<'s> {
    let mut target = fault.target.clone();
    for pod in &fault.pods {
        let name = pod.rsplit('/').next().unwrap_or(pod);
        if !name.is_empty() {
            target = target.replace(name, "<pod>");
        }
    }
    Fault {
        step: fault
            .step
            .and_then(|index| summary.steps.iter().find(|step| step.index == index))
            .map(|step| step.name.as_str()),
        kind: &fault.kind,
        target: without_addresses(&target),
        witnessed: !fault.witnesses.is_empty(),
        healed: fault.healed.is_some(),
    }
}

/// `text` with each IPv4 address replaced by `<ip>`.
fn without_addresses(text: &str) -> String {
    let mut clean = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(start);
        let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
        let (number, after) = number.split_at(end);
        let word = number.trim_end_matches('.');
        clean.push_str(before);
        clean.push_str(if word.parse::<IpAddr>().is_ok() { "<ip>" } else { word });
        clean.push_str(number.strip_prefix(word).unwrap_or_default());
        rest = after;
    }
    clean + rest
}

fn node_maps(summary: &Summary, places: &Places) -> BTreeMap<String, BTreeMap<String, Backends>> {
    let mut nodes = BTreeMap::new();
    for (node, maps) in &summary.nodes {
        if let Some(last) = maps::last_state(summary, maps) {
            nodes.insert(node.to_string(), services(&node.cluster, &last.state, places));
        }
    }
    nodes
}

fn services(cluster: &str, state: &MapState, places: &Places) -> BTreeMap<String, Backends> {
    let mut by_name: BTreeMap<String, Vec<Backends>> = BTreeMap::new();
    for (frontend, content) in &state.frontends {
        let mut backends = Backends { inactive: content.inactive.len(), ..Backends::default() };
        for address in &content.active {
            match places.cluster_of(address) {
                Some(home) if home == cluster => backends.local += 1,
                Some(_) => backends.remote += 1,
                None => backends.elsewhere += 1,
            }
        }
        by_name.entry(places.service_name(cluster, frontend)).or_default().push(backends);
    }
    let mut services = BTreeMap::new();
    for (name, mut list) in by_name {
        list.sort_unstable();
        for (position, backends) in list.into_iter().enumerate() {
            let numbered = if position == 0 { name.clone() } else { format!("{name} ({})", position + 1) };
            services.insert(numbered, backends);
        }
    }
    services
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_out_of_texts_and_other_numbers_stay() {
        assert_eq!(without_addresses("alpha: 2 pods at 10.1.1.2, 10.1.2.13."), "alpha: 2 pods at <ip>, <ip>.");
        assert_eq!(without_addresses("version 1.2 of 3"), "version 1.2 of 3");
    }
}
