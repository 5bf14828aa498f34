//! Two or more agents on one scenario, beside each other: `meshbed diff-agents`.

mod markdown;
mod text;
mod yaml;

use std::collections::BTreeMap;

use meshbed_events::{Micros, RunRecord};

use crate::places::{Meaning, Places, meaning_text};
use crate::{Step, Summary, words};

pub use yaml::schema;

/// What a row tells of a stopwatch.
type Told = fn(&meshbed_events::Stopwatch) -> String;

/// How several agents behaved in the same scenario. Lists of values have one for each agent, in the order of `agents`.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentsDiff {
    /// Names of the agents.
    pub agents: Vec<String>,
    /// The scenario, as the first record says.
    pub scenario: String,
    /// How each agent's run ended.
    pub verdicts: Vec<&'static str>,
    /// The steps, by name, in the order of the first record that has them.
    pub steps: Vec<StepDiff>,
    /// Times and counts of whole runs.
    pub times: Vec<Row>,
}

/// One step under all agents.
#[derive(Clone, Debug, PartialEq)]
pub struct StepDiff {
    /// Its name.
    pub name: String,
    /// How it ended; `absent` where a run lacks it.
    pub outcomes: Vec<&'static str>,
    /// Whether every node's maps meant the same at its end.
    pub maps_identical: bool,
    /// What each agent's maps held, where they differ.
    pub maps: Vec<Row>,
    /// Whether the same clusters answered steady requests, and the same kinds of errors met them.
    pub answers_identical: bool,
    /// Who answered each cluster's clients.
    pub answers: Vec<Row>,
    /// How long it took to settle, and what its faults cost.
    pub times: Vec<Row>,
}

/// One fact about every agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Of what.
    pub of: String,
    /// The values.
    pub values: Vec<String>,
}

impl Row {
    fn new(of: impl Into<String>, values: Vec<String>) -> Self {
        Self { of: of.into(), values }
    }

    /// Whether all agents have the same value.
    pub fn identical(&self) -> bool {
        self.values.windows(2).all(|pair| pair[0] == pair[1])
    }
}

/// One agent's run.
struct Run {
    summary: Summary,
    places: Places,
}

impl AgentsDiff {
    /// Compares the runs of agents, given with the agents' names.
    pub fn of(records: &[(String, RunRecord)]) -> Self {
        let runs: Vec<Run> = records
            .iter()
            .map(|(_, record)| Run { summary: Summary::of(record), places: Places::of(record) })
            .collect();
        let mut names: Vec<&str> = Vec::new();
        for step in runs.iter().flat_map(|run| &run.summary.steps) {
            if !names.contains(&step.name.as_str()) {
                names.push(&step.name);
            }
        }
        Self {
            agents: records.iter().map(|(name, _)| name.clone()).collect(),
            scenario: runs.first().map(|run| run.summary.info.scenario.clone()).unwrap_or_default(),
            verdicts: runs.iter().map(|run| words::verdict_text(run.summary.verdict())).collect(),
            steps: names.into_iter().map(|name| step(name, &runs)).collect(),
            times: whole(&runs),
        }
    }

    /// Whether all agents did the same in every step, however long it took.
    pub fn same(&self) -> bool {
        let verdicts = self.verdicts.windows(2).all(|pair| pair[0] == pair[1]);
        verdicts && self.steps.iter().all(StepDiff::same)
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        text::text(self)
    }

    /// For a pull request.
    pub fn markdown(&self) -> String {
        markdown::markdown(self)
    }

    /// For programs.
    pub fn yaml(&self) -> Result<String, crate::yaml::YamlError> {
        yaml::yaml(self)
    }
}

impl StepDiff {
    /// Whether all agents did the same in it.
    pub fn same(&self) -> bool {
        let outcomes = self.outcomes.windows(2).all(|pair| pair[0] == pair[1]);
        outcomes && self.maps_identical && self.answers_identical
    }
}

fn step(name: &str, runs: &[Run]) -> StepDiff {
    let steps: Vec<Option<&Step>> =
        runs.iter().map(|run| run.summary.steps.iter().find(|step| step.name == name)).collect();
    let maps = maps(&steps, runs);
    let answers = answers(&steps);
    StepDiff {
        name: name.to_owned(),
        outcomes: steps.iter().map(|step| step.map_or("absent", |step| words::outcome_text(step.outcome))).collect(),
        maps_identical: maps.is_empty(),
        maps,
        answers_identical: answers.iter().all(Row::identical),
        answers,
        times: times(&steps, runs),
    }
}

/// The rows in which the agents' maps differ at the end of a step.
fn maps(steps: &[Option<&Step>], runs: &[Run]) -> Vec<Row> {
    let states: Vec<BTreeMap<String, Meaning>> =
        steps.iter().zip(runs).map(|(step, run)| at_end(run, step.and_then(|step| step.finished))).collect();
    let mut places: Vec<(String, String)> = Vec::new();
    for (node, meaning) in states.iter().flatten() {
        places.extend(meaning.keys().map(|service| (node.clone(), service.clone())));
    }
    places.sort_unstable();
    places.dedup();
    let row = |(node, service): (String, String)| {
        let homes = |state: &BTreeMap<String, Meaning>| {
            meaning_text(state.get(&node).and_then(|meaning| meaning.get(&service)))
        };
        Row::new(format!("{node}: {service}"), states.iter().map(homes).collect())
    };
    places.into_iter().map(row).filter(|row| !row.identical()).collect()
}

/// What each node's maps meant at `end`; nothing when the step did not end.
fn at_end(run: &Run, end: Option<Micros>) -> BTreeMap<String, Meaning> {
    let Some(end) = end else { return BTreeMap::new() };
    let mut nodes = BTreeMap::new();
    for (node, maps) in &run.summary.nodes {
        if let Some(last) = maps.changes.iter().rev().find(|change| change.at <= end) {
            nodes.insert(node.to_string(), run.places.meaning(&node.cluster, &last.state));
        }
    }
    nodes
}

/// Who answered each cluster's clients once the step had settled.
fn answers(steps: &[Option<&Step>]) -> Vec<Row> {
    let tallies: Vec<_> = steps.iter().map(|step| step.map(Step::by_cluster).unwrap_or_default()).collect();
    let mut clusters: Vec<&String> = tallies.iter().flat_map(BTreeMap::keys).collect();
    clusters.sort_unstable();
    clusters.dedup();
    let row = |cluster: &&String| {
        let value = |tallies: &BTreeMap<String, crate::ClientTally>| {
            let Some(tally) = tallies.get(*cluster).map(|tally| &tally.steady) else { return "no request".to_owned() };
            let answers = tally.answers.keys().cloned();
            let errors = tally.errors.keys().map(|kind| format!("{} errors", kind.as_str()));
            let words: Vec<_> = answers.chain(errors).collect();
            if words.is_empty() { "no steady request".to_owned() } else { words.join(", ") }
        };
        Row::new(format!("clients of {cluster}"), tallies.iter().map(value).collect())
    };
    clusters.iter().map(row).collect()
}

fn times(steps: &[Option<&Step>], runs: &[Run]) -> Vec<Row> {
    let of_steps = |time: fn(&Step) -> Option<std::time::Duration>| {
        steps.iter().map(|step| words::maybe_duration(step.and_then(time))).collect()
    };
    let mut rows = vec![Row::new("settled after", of_steps(Step::settle_time))];
    let stopwatches: Vec<Vec<_>> = steps
        .iter()
        .zip(runs)
        .map(|(step, run)| {
            let of_step = |one: &&meshbed_events::Stopwatch| step.is_some_and(|step| step.index == one.step);
            run.summary.stopwatches.iter().filter(of_step).collect()
        })
        .collect();
    let most = stopwatches.iter().map(Vec::len).max().unwrap_or(0);
    let parts: [(&str, Told); 5] = [
        ("detected", |one| words::offset(one.injected, one.detected)),
        ("first answer", |one| words::offset(one.injected, one.first_answer_after)),
        ("last error", |one| words::offset(one.injected, one.last_error)),
        ("lost", |one| one.requests_lost.to_string()),
        ("maps right", |one| words::offset(one.injected, one.last_map_right)),
    ];
    for fault in 0..most {
        let number = if most > 1 { format!("fault {}: ", fault + 1) } else { String::new() };
        for (name, part) in parts {
            let value = |of_run: &Vec<&meshbed_events::Stopwatch>| {
                of_run.get(fault).map_or_else(|| words::NOTHING.to_owned(), |one| part(one))
            };
            rows.push(Row::new(format!("{number}{name}"), stopwatches.iter().map(value).collect()));
        }
    }
    rows
}

/// Times and counts of whole runs.
fn whole(runs: &[Run]) -> Vec<Row> {
    let of = |name: &str, value: fn(&Summary) -> String| {
        Row::new(name, runs.iter().map(|run| value(&run.summary)).collect())
    };
    let mut rows = vec![
        of("mesh ready", |summary| summary.mesh_ready.map_or_else(|| words::NOTHING.to_owned(), |at| at.to_string())),
        of("wrong answers or errors", |summary| summary.violations.len().to_string()),
        of("requests failed", |summary| summary.total.failed().to_string()),
        of("oldest stale entry", |summary| words::maybe_duration(summary.stale_max())),
        of("oldest missing entry", |summary| words::maybe_duration(summary.missing_max())),
    ];
    let legs: Vec<_> = runs.iter().map(|run| run.summary.changes.legs()).collect();
    for leg in crate::Leg::ALL {
        if legs.iter().any(|legs| legs.contains_key(&leg)) {
            let value = |legs: &BTreeMap<crate::Leg, crate::Distribution>| {
                words::maybe_duration(legs.get(&leg).and_then(|times| times.duration(50.0)))
            };
            rows.push(Row::new(format!("{} p50", leg.as_str()), legs.iter().map(value).collect()));
        }
    }
    rows
}
