//! Differences in what happened.

use std::collections::{BTreeMap, BTreeSet};

use super::{Aspect, Difference};
use crate::places::{Places, meaning_text};
use crate::{Ending, Step, Summary, maps, words};

/// Written where one run has nothing.
const ABSENT: &str = "absent";

/// Facts by their aspect and what they are of; two runs are the same when these are.
type Facts = BTreeMap<(Aspect, String), String>;

/// All differences, by aspect and in the order of steps.
pub(super) fn differences(summaries: &[Summary; 2], places: &[Places; 2]) -> Vec<Difference> {
    let left = facts(&summaries[0], &places[0]);
    let right = facts(&summaries[1], &places[1]);
    let keys: BTreeSet<_> = left.keys().chain(right.keys()).collect();
    let differing = keys.into_iter().filter(|key| left.get(*key) != right.get(*key));
    let value = |facts: &Facts, key: &(Aspect, String)| facts.get(key).cloned().unwrap_or_else(|| ABSENT.to_owned());
    differing
        .map(|key| Difference { aspect: key.0, of: key.1.clone(), left: value(&left, key), right: value(&right, key) })
        .collect()
}

fn facts(summary: &Summary, places: &Places) -> Facts {
    let mut facts = Facts::new();
    let mut add = |aspect, of: String, value: String| {
        facts.insert((aspect, of), value);
    };
    add(Aspect::Scenario, "scenario".into(), summary.info.scenario.clone());
    add(Aspect::Scenario, "topology".into(), summary.info.topology.clone());
    add(Aspect::Verdict, "run".into(), verdict(summary));
    add(Aspect::Violations, "the oracle found".into(), violations(summary));
    for (name, step) in named(&summary.steps) {
        add(Aspect::Steps, name.clone(), words::outcome_text(step.outcome).to_owned());
        for (text, held) in expectations(step) {
            add(Aspect::Expectations, format!("{name}: {text}"), held);
        }
        for (client, tally) in step.by_cluster() {
            let of = format!("{name}: clients of {client}");
            if tally.steady.requests > 0 {
                add(Aspect::Answers, of.clone(), list(tally.steady.answers.keys().map(String::as_str)));
                add(Aspect::Errors, of, list(tally.steady.errors.keys().map(|kind| kind.as_str())));
            }
        }
    }
    for (number, fault) in summary.faults.iter().enumerate() {
        let step = fault.step.map_or_else(String::new, |step| format!(" of step {}", step + 1));
        let name = if fault.name.is_empty() { &fault.kind } else { &fault.name };
        let witnessed = if fault.witnesses.is_empty() { "without witness" } else { "witnessed" };
        let healed = if fault.healed.is_some() { "healed" } else { "never healed" };
        add(Aspect::Faults, format!("{} {name}{step}", number + 1), format!("{witnessed}, {healed}"));
    }
    for (node, content) in &summary.nodes {
        let Some(last) = maps::last_state(summary, content) else { continue };
        for (service, homes) in places.meaning(&node.cluster, &last.state) {
            add(Aspect::Maps, format!("{node}: {service}"), meaning_text(Some(&homes)));
        }
    }
    facts
}

fn verdict(summary: &Summary) -> String {
    let verdict = words::verdict_text(summary.verdict());
    match summary.ending {
        Ending::Finished { exit_code, .. } => format!("{verdict}, exit code {exit_code}"),
        Ending::CutOff => verdict.to_owned(),
    }
}

fn violations(summary: &Summary) -> String {
    if summary.violations.is_empty() { "nothing wrong".to_owned() } else { "wrong answers or errors".to_owned() }
}

/// Steps by a name that is the same in both runs even when one has more of them: equal names are numbered.
fn named(steps: &[Step]) -> Vec<(String, &Step)> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut named = Vec::new();
    for step in steps {
        let count = seen.entry(&step.name).or_default();
        *count += 1;
        let name = if *count == 1 { step.name.clone() } else { format!("{} ({count})", step.name) };
        named.push((name, step));
    }
    named
}

fn expectations(step: &Step) -> Vec<(String, String)> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut told = Vec::new();
    for expectation in &step.expectations {
        let count = seen.entry(&expectation.text).or_default();
        *count += 1;
        let text = if *count == 1 { expectation.text.clone() } else { format!("{} ({count})", expectation.text) };
        told.push((text, if expectation.held() { "held".to_owned() } else { "failed".to_owned() }));
    }
    told
}

fn list<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let words: Vec<_> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
