//! The shape of `report.yaml`.

use std::collections::BTreeMap;
use std::time::Duration;

use meshbed_events::{MapState, Micros};
use serde::Serialize;

use crate::{ClientTally, Ending, Latency, NodeMaps, Summary, Tally, maps, words};

/// A time or duration in milliseconds, exact to the microsecond.
type Millis = f64;

/// Differences of one wrong interval that are written; a map may be wrong in each of its entries.
const DIFFERENCES_MAX: usize = 20;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report<'s> {
    api_version: &'static str,
    kind: &'static str,
    run: Run<'s>,
    result: RunResult,
    steps: Vec<StepReport<'s>>,
    faults: Vec<FaultReport<'s>>,
    stopwatches: Vec<StopwatchReport<'s>>,
    violations: Vec<ViolationReport<'s>>,
    maps: BTreeMap<String, NodeReport<'s>>,
    notes: Vec<NoteReport<'s>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'s> {
    id: &'s str,
    scenario: &'s str,
    question: &'s str,
    scenario_file: &'s str,
    topology: &'s str,
    environment: &'s str,
    kernel: &'s str,
    version: &'s str,
    started: &'s str,
    clusters: &'s BTreeMap<String, Vec<String>>,
    rate_per_second: u32,
    grace_ms: Millis,
    reproduce: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunResult {
    verdict: &'static str,
    exit_code: Option<u8>,
    meaning: &'static str,
    duration_ms: Millis,
    mesh_ready_ms: Option<Millis>,
    wrong: usize,
    requests: Counts,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StepReport<'s> {
    name: &'s str,
    outcome: &'static str,
    started_ms: Option<Millis>,
    duration_ms: Option<Millis>,
    settle_ms: Option<Millis>,
    expectations: Vec<ExpectationReport<'s>>,
    clients: Vec<ClientReport<'s>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExpectationReport<'s> {
    expectation: &'s str,
    held: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    findings: &'s [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientReport<'s> {
    cluster: &'s str,
    pod: &'s str,
    service: &'s str,
    transition: Counts,
    steady: Counts,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    requests: u64,
    answers: BTreeMap<String, u64>,
    errors: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_latency: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_latency: Option<Quantiles>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Quantiles {
    p50_ms: Millis,
    p99_ms: Millis,
    max_ms: Millis,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FaultReport<'s> {
    fault: u32,
    step: Option<usize>,
    kind: &'s str,
    target: &'s str,
    pods: &'s [String],
    injected_ms: Millis,
    healed_ms: Option<Millis>,
    witnesses: Vec<NoteReport<'s>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StopwatchReport<'s> {
    fault: u32,
    step: usize,
    target: &'s str,
    injected_ms: Millis,
    /// The following are relative to the injection.
    last_answer_of_dead_ms: Option<Millis>,
    first_answer_after_ms: Option<Millis>,
    requests_lost: u64,
    last_map_right_ms: Option<Millis>,
    last_map_node: Option<&'s str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ViolationReport<'s> {
    step: Option<usize>,
    message: &'s str,
    times: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeReport<'s> {
    changes: usize,
    longest_wrong_ms: Option<Millis>,
    wrong: Vec<WrongReport<'s>>,
    last: Option<&'s MapState>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrongReport<'s> {
    from_ms: Millis,
    until_ms: Option<Millis>,
    differences: &'s [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NoteReport<'s> {
    at_ms: Millis,
    text: &'s str,
}

impl<'s> Report<'s> {
    pub(super) fn of(summary: &'s Summary) -> Self {
        Self {
            api_version: "meshbed.dev/v1alpha1",
            kind: "Report",
            run: run(summary),
            result: result(summary),
            steps: summary.steps.iter().map(step).collect(),
            faults: summary.faults.iter().map(fault).collect(),
            stopwatches: summary.stopwatches.iter().map(stopwatch).collect(),
            violations: violations(summary),
            maps: summary.nodes.iter().map(|(name, maps)| (name.to_string(), node(summary, maps))).collect(),
            notes: summary.notes.iter().map(note).collect(),
        }
    }
}

fn run(summary: &Summary) -> Run<'_> {
    let info = &summary.info;
    Run {
        id: &info.run,
        scenario: &info.scenario,
        question: &info.question,
        scenario_file: &info.scenario_file,
        topology: &info.topology,
        environment: &info.environment,
        kernel: &info.kernel,
        version: &info.version,
        started: &info.started,
        clusters: &info.clusters,
        rate_per_second: info.rate_per_second,
        grace_ms: at(Micros(info.grace_us)),
        reproduce: words::reproduction(info),
    }
}

fn result(summary: &Summary) -> RunResult {
    RunResult {
        verdict: words::verdict_text(summary.verdict()),
        exit_code: match summary.ending {
            Ending::Finished { exit_code, .. } => Some(exit_code),
            Ending::CutOff => None,
        },
        meaning: words::ending_sentence(summary.ending),
        duration_ms: at(summary.duration),
        mesh_ready_ms: summary.mesh_ready.map(at),
        wrong: summary.violations.len(),
        requests: counts(&summary.total),
    }
}

fn step(step: &crate::Step) -> StepReport<'_> {
    StepReport {
        name: &step.name,
        outcome: words::outcome_text(step.outcome),
        started_ms: step.started.map(at),
        duration_ms: step.duration().map(millis),
        settle_ms: step.settle_time().map(millis),
        expectations: step
            .expectations
            .iter()
            .map(|one| ExpectationReport { expectation: &one.text, held: one.held(), findings: &one.findings })
            .collect(),
        clients: step.clients.iter().map(client).collect(),
    }
}

fn client<'s>((client, tally): (&'s crate::Client, &ClientTally)) -> ClientReport<'s> {
    ClientReport {
        cluster: &client.cluster,
        pod: &client.pod,
        service: &client.service,
        transition: counts(&tally.transition),
        steady: counts(&tally.steady),
    }
}

fn counts(tally: &Tally) -> Counts {
    Counts {
        requests: tally.requests,
        answers: tally.answers.clone(),
        errors: tally.errors.iter().map(|(kind, count)| (kind.as_str(), *count)).collect(),
        answer_latency: quantiles(&tally.answer_latency),
        error_latency: quantiles(&tally.error_latency),
    }
}

fn quantiles(latency: &Latency) -> Option<Quantiles> {
    Some(Quantiles { p50_ms: millis(latency.p50()?), p99_ms: millis(latency.p99()?), max_ms: millis(latency.max()?) })
}

fn fault(fault: &crate::Fault) -> FaultReport<'_> {
    FaultReport {
        fault: fault.id,
        step: fault.step,
        kind: &fault.kind,
        target: &fault.target,
        pods: &fault.pods,
        injected_ms: at(fault.injected),
        healed_ms: fault.healed.map(at),
        witnesses: fault.witnesses.iter().map(note).collect(),
    }
}

fn stopwatch(stopwatch: &meshbed_events::Stopwatch) -> StopwatchReport<'_> {
    let relative = |time: Micros| round(words::offset_ms(stopwatch.injected, time));
    StopwatchReport {
        fault: stopwatch.fault,
        step: stopwatch.step,
        target: &stopwatch.target,
        injected_ms: at(stopwatch.injected),
        last_answer_of_dead_ms: stopwatch.last_answer_of_dead.map(relative),
        first_answer_after_ms: stopwatch.first_answer_after.map(relative),
        requests_lost: stopwatch.requests_lost,
        last_map_right_ms: stopwatch.last_map_right.map(relative),
        last_map_node: stopwatch.last_map_node.as_deref(),
    }
}

fn violations(summary: &Summary) -> Vec<ViolationReport<'_>> {
    let steps = summary.steps.iter().map(|step| Some(step.index)).chain([None]);
    let of_step = |step: Option<usize>| {
        let messages = summary.violations.iter().filter(move |violation| violation.step == step);
        let counted = words::counted(messages.map(|violation| violation.message.as_str()));
        counted.into_iter().map(move |(message, times)| ViolationReport { step, message, times })
    };
    steps.flat_map(of_step).collect()
}

fn node<'s>(summary: &Summary, maps: &'s NodeMaps) -> NodeReport<'s> {
    let wrong = maps.wrong.iter().map(|interval| WrongReport {
        from_ms: at(interval.from),
        until_ms: interval.until.map(at),
        differences: interval.differences.get(..DIFFERENCES_MAX).unwrap_or(&interval.differences),
    });
    NodeReport {
        changes: maps.changes.len(),
        longest_wrong_ms: maps.longest_wrong(summary.duration).map(millis),
        wrong: wrong.collect(),
        last: maps::last_state(summary, maps).map(|change| &change.state),
    }
}

fn note(note: &crate::Note) -> NoteReport<'_> {
    NoteReport { at_ms: at(note.at), text: &note.text }
}

fn at(time: Micros) -> Millis {
    round(time.as_millis_f64())
}

fn millis(duration: Duration) -> Millis {
    round(duration.as_secs_f64() * 1e3)
}

/// Whole microseconds, so that no digits of binary rounding are written.
fn round(millis: Millis) -> Millis {
    (millis * 1e3).round() / 1e3
}
