//! Agents beside each other, for programs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{AgentsDiff, Row, StepDiff};
use crate::yaml::{YamlError, write};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Report<'d> {
    api_version: &'static str,
    kind: &'static str,
    scenario: &'d str,
    agents: &'d [String],
    /// All agents did the same in every step.
    same: bool,
    verdicts: BTreeMap<&'d str, &'static str>,
    steps: Vec<Step<'d>>,
    times: Rows<'d>,
}

/// Values by what they are of, and by agent.
type Rows<'d> = BTreeMap<&'d str, BTreeMap<&'d str, &'d str>>;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Step<'d> {
    name: &'d str,
    same: bool,
    outcomes: BTreeMap<&'d str, &'static str>,
    maps_identical: bool,
    /// Where maps differ, what each agent's held.
    maps: Rows<'d>,
    answers_identical: bool,
    answers: Rows<'d>,
    times: Rows<'d>,
}

pub(super) fn yaml(diff: &AgentsDiff) -> Result<String, YamlError> {
    write(&Report {
        api_version: "meshbed.dev/v1alpha1",
        kind: "AgentsDiff",
        scenario: &diff.scenario,
        agents: &diff.agents,
        same: diff.same(),
        verdicts: by_agent(diff, &diff.verdicts),
        steps: diff.steps.iter().map(|one| step(diff, one)).collect(),
        times: rows(diff, &diff.times),
    })
}

/// The JSON Schema of the YAML, as checked in under `harness/report/schema/`.
pub fn schema() -> String {
    crate::schema::of::<Report<'_>>("meshbed comparison of agents")
}

fn step<'d>(diff: &'d AgentsDiff, step: &'d StepDiff) -> Step<'d> {
    Step {
        name: &step.name,
        same: step.same(),
        outcomes: by_agent(diff, &step.outcomes),
        maps_identical: step.maps_identical,
        maps: rows(diff, &step.maps),
        answers_identical: step.answers_identical,
        answers: rows(diff, &step.answers),
        times: rows(diff, &step.times),
    }
}

fn by_agent<'d>(diff: &'d AgentsDiff, values: &[&'static str]) -> BTreeMap<&'d str, &'static str> {
    diff.agents.iter().map(String::as_str).zip(values.iter().copied()).collect()
}

fn rows<'d>(diff: &'d AgentsDiff, rows: &'d [Row]) -> Rows<'d> {
    let values =
        |row: &'d Row| diff.agents.iter().map(String::as_str).zip(row.values.iter().map(String::as_str)).collect();
    rows.iter().map(|row| (row.of.as_str(), values(row))).collect()
}
