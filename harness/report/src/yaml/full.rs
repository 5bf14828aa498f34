//! The shape of `report.yaml`.

use std::collections::BTreeMap;

use meshbed_events::{MapDifference, MapState, Micros, SourcePlace};
use schemars::JsonSchema;
use serde::Serialize;

use super::Percentiles;
use crate::{ClientTally, Ending, Latency, NodeMaps, Summary, Tally, maps, words};

/// A time or duration in milliseconds, exact to the microsecond.
type Millis = f64;

/// Differences of one wrong interval that are written; a map may be wrong in each of its entries.
const DIFFERENCES_MAX: usize = 20;

/// Entries of maps that are listed: the oldest. A mesh of hundreds of services has thousands after each fault.
const STALE_MAX: usize = 500;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Report<'s> {
    api_version: &'static str,
    kind: &'static str,
    run: Run<'s>,
    result: RunResult,
    steps: Vec<StepReport<'s>>,
    faults: Vec<FaultReport<'s>>,
    stopwatches: Vec<StopwatchReport<'s>>,
    violations: Vec<ViolationReport<'s>>,
    stale: Stale<'s>,
    propagation: Propagation,
    maps: BTreeMap<String, NodeReport<'s>>,
    notes: Vec<NoteReport<'s>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
    agent: &'s str,
    seed: u64,
    repeat: u32,
    links: &'s [String],
    reproduce: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RunResult {
    verdict: &'static str,
    exit_code: Option<u8>,
    meaning: &'static str,
    duration_ms: Millis,
    mesh_ready_ms: Option<Millis>,
    wrong: usize,
    requests: Counts,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StepReport<'s> {
    name: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    outcome: &'static str,
    started_ms: Option<Millis>,
    duration_ms: Option<Millis>,
    settle_ms: Option<Millis>,
    expectations: Vec<ExpectationReport<'s>>,
    clients: Vec<ClientReport<'s>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExpectationReport<'s> {
    expectation: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    held: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    findings: &'s [String],
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClientReport<'s> {
    cluster: &'s str,
    pod: &'s str,
    service: &'s str,
    transition: Counts,
    steady: Counts,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Counts {
    requests: u64,
    answers: BTreeMap<String, u64>,
    errors: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_latency: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_latency: Option<Quantiles>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Quantiles {
    p50_ms: Millis,
    p99_ms: Millis,
    max_ms: Millis,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FaultReport<'s> {
    fault: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'s str,
    step: Option<usize>,
    kind: &'s str,
    target: &'s str,
    pods: &'s [String],
    injected_ms: Millis,
    healed_ms: Option<Millis>,
    #[serde(skip_serializing_if = "str::is_empty")]
    heal_witness: &'s str,
    witnesses: Vec<NoteReport<'s>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StopwatchReport<'s> {
    fault: u32,
    step: usize,
    target: &'s str,
    injected_ms: Millis,
    /// When the mesh had noticed; this and the following are relative to the injection.
    detected_ms: Option<Millis>,
    last_answer_of_dead_ms: Option<Millis>,
    first_answer_after_ms: Option<Millis>,
    last_error_ms: Option<Millis>,
    requests_lost: u64,
    last_map_right_ms: Option<Millis>,
    last_map_node: Option<&'s str>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ViolationReport<'s> {
    step: Option<usize>,
    message: &'s str,
    times: u64,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NodeReport<'s> {
    changes: usize,
    longest_wrong_ms: Option<Millis>,
    wrong: Vec<WrongReport<'s>>,
    last: Option<LastMaps<'s>>,
}

/// What a node's maps held when the last step ended.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LastMaps<'s> {
    frontends: BTreeMap<&'s str, FrontendReport<'s>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    defects: &'s [String],
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FrontendReport<'s> {
    active: &'s [String],
    inactive: &'s [String],
}

/// Entries of maps that were wrong or missing.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stale<'s> {
    /// The greatest age of an entry that was there and should not have been.
    stale_max_ms: Option<Millis>,
    /// The greatest age of an entry that was missing.
    missing_max_ms: Option<Millis>,
    /// How many there were.
    count: usize,
    /// The oldest of them, oldest first.
    entries: Vec<StaleReport<'s>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StaleReport<'s> {
    node: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'s str>,
    frontend: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'s str>,
    since_ms: Millis,
    /// Absent when it was still wrong at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<Millis>,
    age_ms: Millis,
    message: &'s str,
}

/// How long changes of services took on their way from the API to the maps.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Propagation {
    changes: usize,
    legs: Vec<LegReport>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LegReport {
    leg: &'static str,
    times: Percentiles,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrongReport<'s> {
    from_ms: Millis,
    until_ms: Option<Millis>,
    differences: Vec<&'s str>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
            stale: stale(summary),
            propagation: propagation(summary),
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
        agent: &info.agent,
        seed: info.seed,
        repeat: info.repeat,
        links: &info.links,
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
        place: place(step.place.as_ref()),
        outcome: words::outcome_text(step.outcome),
        started_ms: step.started.map(at),
        duration_ms: step.duration().map(words::millis),
        settle_ms: step.settle_time().map(words::millis),
        expectations: step
            .expectations
            .iter()
            .map(|one| ExpectationReport {
                expectation: &one.text,
                place: place(one.place.as_ref()),
                held: one.held(),
                findings: &one.findings,
            })
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
    Some(Quantiles {
        p50_ms: words::millis(latency.p50()?),
        p99_ms: words::millis(latency.p99()?),
        max_ms: words::millis(latency.max()?),
    })
}

fn fault(fault: &crate::Fault) -> FaultReport<'_> {
    FaultReport {
        fault: fault.id,
        name: &fault.name,
        step: fault.step,
        kind: &fault.kind,
        target: &fault.target,
        pods: &fault.pods,
        injected_ms: at(fault.injected),
        healed_ms: fault.healed.map(at),
        heal_witness: &fault.heal_witness,
        witnesses: fault.witnesses.iter().map(note).collect(),
    }
}

fn stopwatch(stopwatch: &meshbed_events::Stopwatch) -> StopwatchReport<'_> {
    let relative = |time: Micros| words::round(words::offset_ms(stopwatch.injected, time));
    StopwatchReport {
        fault: stopwatch.fault,
        step: stopwatch.step,
        target: &stopwatch.target,
        injected_ms: at(stopwatch.injected),
        detected_ms: stopwatch.detected.map(relative),
        last_answer_of_dead_ms: stopwatch.last_answer_of_dead.map(relative),
        first_answer_after_ms: stopwatch.first_answer_after.map(relative),
        last_error_ms: stopwatch.last_error.map(relative),
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
        differences: interval.differences.iter().take(DIFFERENCES_MAX).map(message).collect(),
    });
    NodeReport {
        changes: maps.changes.len(),
        longest_wrong_ms: maps.longest_wrong(summary.duration).map(words::millis),
        wrong: wrong.collect(),
        last: maps::last_state(summary, maps).map(|change| last(&change.state)),
    }
}

fn last(state: &MapState) -> LastMaps<'_> {
    let frontends = state.frontends.iter().map(|(address, content)| {
        (address.as_str(), FrontendReport { active: &content.active, inactive: &content.inactive })
    });
    LastMaps { frontends: frontends.collect(), defects: &state.defects }
}

fn stale(summary: &Summary) -> Stale<'_> {
    Stale {
        stale_max_ms: summary.stale_max().map(words::millis),
        missing_max_ms: summary.missing_max().map(words::millis),
        count: summary.stale.len(),
        entries: summary.oldest_stale(STALE_MAX).into_iter().map(entry).collect(),
    }
}

fn entry(entry: &crate::StaleEntry) -> StaleReport<'_> {
    let difference = &entry.difference;
    StaleReport {
        node: entry.node.to_string(),
        kind: words::difference_text(difference.kind),
        service: difference.service.as_deref(),
        frontend: &difference.frontend,
        backend: difference.backend.as_deref(),
        since_ms: at(entry.since),
        until_ms: entry.until.map(at),
        age_ms: words::millis(entry.age),
        message: &difference.message,
    }
}

fn propagation(summary: &Summary) -> Propagation {
    let legs = summary.changes.legs();
    let leg = |(leg, times): (&crate::Leg, &crate::Distribution)| {
        Some(LegReport { leg: leg.as_str(), times: Percentiles::of(times)? })
    };
    Propagation { changes: summary.changes.len(), legs: legs.iter().filter_map(leg).collect() }
}

fn place(place: Option<&SourcePlace>) -> Option<String> {
    place.map(words::place)
}

fn message(difference: &MapDifference) -> &str {
    &difference.message
}

fn note(note: &crate::Note) -> NoteReport<'_> {
    NoteReport { at_ms: at(note.at), text: &note.text }
}

fn at(time: Micros) -> Millis {
    words::round(time.as_millis_f64())
}
