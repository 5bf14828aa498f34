//! Repeats as YAML, for programs.

use schemars::JsonSchema;
use serde::Serialize;

use super::{FaultTimes, RepeatSummary, RunLine};
use crate::yaml::{Percentiles, YamlError, write};
use crate::{Distribution, words};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Report<'r> {
    api_version: &'static str,
    kind: &'static str,
    scenario: &'r str,
    question: &'r str,
    agent: &'r str,
    environment: &'r str,
    kernel: &'r str,
    /// Runs that passed.
    passed: usize,
    /// Some runs passed and others failed.
    flaky: bool,
    runs: Vec<Run<'r>>,
    expectations: Vec<Expectation<'r>>,
    faults: Vec<Fault<'r>>,
    /// Over all faults of all runs.
    all_faults: Fault<'r>,
    propagation: Vec<Leg>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_age: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_age: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mesh_ready: Option<Percentiles>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Run<'r> {
    id: &'r str,
    repeat: u32,
    seed: u64,
    verdict: &'static str,
    duration_ms: f64,
    #[serde(skip_serializing_if = "str::is_empty")]
    finding: &'r str,
    reproduce: &'r str,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Expectation<'r> {
    step: usize,
    step_name: &'r str,
    expectation: &'r str,
    held: u64,
    failed: u64,
    flaky: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    finding: &'r str,
}

/// Times since the injection.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fault<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<usize>,
    #[serde(skip_serializing_if = "str::is_empty")]
    target: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detected: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_answer: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maps_right: Option<Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_lost: Option<Counts>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Counts {
    runs: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    max: u64,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Leg {
    leg: &'static str,
    times: Percentiles,
}

/// `repeats.yaml`.
pub fn yaml(repeats: &RepeatSummary) -> Result<String, YamlError> {
    write(&Report {
        api_version: "meshbed.dev/v1alpha1",
        kind: "Repeats",
        scenario: &repeats.scenario,
        question: &repeats.question,
        agent: &repeats.agent,
        environment: &repeats.environment,
        kernel: &repeats.kernel,
        passed: repeats.passed(),
        flaky: repeats.flaky(),
        runs: repeats.runs.iter().map(run).collect(),
        expectations: repeats.expectations.iter().map(expectation).collect(),
        faults: repeats.faults.iter().map(|one| Fault { step: Some(one.step), ..fault(one) }).collect(),
        all_faults: fault(&repeats.all_faults),
        propagation: crate::Leg::ALL.into_iter().filter_map(|leg| leg_times(repeats, leg)).collect(),
        stale_age: Percentiles::of(&repeats.stale),
        missing_age: Percentiles::of(&repeats.missing),
        mesh_ready: Percentiles::of(&repeats.mesh_ready),
    })
}

fn run(run: &RunLine) -> Run<'_> {
    Run {
        id: &run.run,
        repeat: run.repeat,
        seed: run.seed,
        verdict: words::verdict_text(run.verdict),
        duration_ms: words::millis(run.duration),
        finding: &run.finding,
        reproduce: &run.reproduce,
    }
}

fn expectation(rate: &super::ExpectationRate) -> Expectation<'_> {
    Expectation {
        step: rate.step,
        step_name: &rate.step_name,
        expectation: &rate.text,
        held: rate.held,
        failed: rate.failed,
        flaky: rate.flaky(),
        finding: &rate.finding,
    }
}

fn fault(fault: &FaultTimes) -> Fault<'_> {
    Fault {
        step: None,
        target: &fault.title,
        detected: Percentiles::of(&fault.detected),
        first_answer: Percentiles::of(&fault.first_answer),
        last_error: Percentiles::of(&fault.last_error),
        maps_right: Percentiles::of(&fault.maps_right),
        requests_lost: counts(&fault.lost),
    }
}

fn counts(values: &Distribution) -> Option<Counts> {
    Some(Counts {
        runs: values.count(),
        p50: values.percentile(50.0)?,
        p90: values.percentile(90.0)?,
        p99: values.percentile(99.0)?,
        max: values.max()?,
    })
}

fn leg_times(repeats: &RepeatSummary, leg: crate::Leg) -> Option<Leg> {
    Some(Leg { leg: leg.as_str(), times: Percentiles::of(repeats.legs.get(&leg)?)? })
}

/// The JSON Schema of the YAML, as checked in under `harness/report/schema/`.
pub fn schema() -> String {
    crate::schema::of::<Report<'_>>("meshbed repeats")
}
