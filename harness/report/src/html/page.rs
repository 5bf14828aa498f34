//! What the template shows, as texts.

use askama::Template;
use meshbed_events::{RunRecord, StepOutcome, Stopwatch, Verdict};

use super::bins::Bins;
use super::happenings::{Happenings, Kind};
use super::requests::Requests;
use super::svg::{look, short};
use super::{closeup, timeline, topology};
use crate::words::{self, NOTHING};
use crate::{Client, ClientTally, Summary, Tally};

/// Rows of clients in the table of steps: a page of a big mesh must stay small, and `report.yaml` has all.
const ROWS_MAX: usize = 800;
/// Entries of maps in the table: the oldest.
const STALE_MAX: usize = 40;
/// Findings of one expectation, and different violations, that are listed.
const FINDINGS_MAX: usize = 100;
/// Characters of a listed finding.
const FINDING_LENGTH: usize = 600;
/// Close-ups drawn: each is some 10 kB.
const CLOSEUPS_MAX: usize = 16;

/// The page: field names are what the template calls them.
#[derive(Template)]
#[template(path = "report.html")]
pub(super) struct Page {
    style: &'static str,
    script: &'static str,
    scenario: String,
    question: String,
    verdict: &'static str,
    verdict_class: &'static str,
    meaning: &'static str,
    reproduce: String,
    tiles: Vec<Tile>,
    failures: Vec<Failure>,
    legend: Vec<(String, String)>,
    began: bool,
    has_requests: bool,
    timeline: String,
    data: String,
    topology: String,
    links: Vec<String>,
    kinds: Vec<(&'static str, usize)>,
    sources: Vec<String>,
    lines: Vec<LineView>,
    lines_hidden: String,
    stale: Vec<StaleView>,
    stale_count: String,
    stale_max: String,
    missing_max: String,
    legs: Vec<(&'static str, [String; 5])>,
    clusters: Vec<String>,
    several_services: bool,
    steps: Vec<StepView>,
    rows_hidden: usize,
    stopwatches: Vec<StopwatchView>,
    closeups_hidden: usize,
    faults: Vec<FaultView>,
    nodes: Vec<NodeView>,
    notes: Vec<String>,
    facts: Vec<(&'static str, String)>,
}

struct LineView {
    millis: String,
    seconds: String,
    kind: &'static str,
    level: String,
    source: String,
    text: String,
}

struct StaleView {
    node: String,
    service: String,
    backend: String,
    kind: &'static str,
    since: String,
    age: String,
    open: bool,
}

struct Tile {
    name: &'static str,
    value: String,
    detail: String,
    class: &'static str,
}

struct Failure {
    step: Option<usize>,
    title: String,
    findings: Vec<String>,
}

struct StepView {
    number: usize,
    name: String,
    outcome: &'static str,
    class: &'static str,
    duration: String,
    settled: String,
    clients: Vec<ClientView>,
    expectations: Vec<ExpectationView>,
}

struct ClientView {
    cluster: String,
    pod: String,
    service: String,
    requests: u64,
    /// Class, start and width in percent of each part of the bar.
    shares: Vec<(String, String, String)>,
    answers: Vec<String>,
    errors_changing: String,
    errors_steady: String,
    p50: String,
    p99: String,
    max: String,
}

struct ExpectationView {
    text: String,
    held: bool,
    findings: Vec<String>,
}

struct StopwatchView {
    step: usize,
    target: String,
    detected: String,
    last_dead: String,
    last_error: String,
    first_after: String,
    lost: u64,
    map_right: String,
    node: String,
    drawing: String,
}

struct FaultView {
    name: String,
    injected: String,
    healed: String,
    witnesses: String,
    pods: String,
}

struct NodeView {
    name: String,
    changes: usize,
    times_wrong: usize,
    longest: String,
    open: bool,
}

impl Page {
    pub(super) fn of(record: &RunRecord, summary: &Summary) -> Self {
        let clusters = summary.clusters();
        let happenings = Happenings::of(record);
        let fine = Bins::fine(record, summary.duration);
        let mut rows_left = ROWS_MAX;
        let steps = summary.steps.iter().map(|step| step_view(summary, step, &clusters, &mut rows_left)).collect();
        let rows: usize = summary.steps.iter().map(|step| step.clients.len()).sum();
        Self {
            style: include_str!("../../templates/report.css"),
            script: include_str!("../../templates/report.js"),
            scenario: clean(&summary.info.scenario),
            question: clean(&summary.info.question),
            verdict: words::verdict_text(summary.verdict()),
            verdict_class: verdict_class(summary.verdict()),
            meaning: words::ending_sentence(summary.ending),
            reproduce: clean(&words::reproduction(&summary.info)),
            tiles: tiles(summary),
            failures: failures(summary),
            legend: clusters.iter().map(|cluster| (look(&clusters, cluster), clean(cluster))).collect(),
            began: summary.steps.iter().any(|step| step.started.is_some()),
            has_requests: summary.total.requests > 0,
            timeline: timeline::draw(record, summary, &happenings, &clusters),
            data: Requests::of(record, summary, &fine, &clusters).json(),
            topology: topology::draw(summary, &clusters),
            links: summary.info.links.iter().take(FINDINGS_MAX).map(|link| clean(link)).collect(),
            kinds: kinds(&happenings),
            sources: sources(&happenings),
            lines: happenings.lines.iter().map(line_view).collect(),
            lines_hidden: hidden(&happenings),
            stale: summary.oldest_stale(STALE_MAX).into_iter().map(stale_view).collect(),
            stale_count: words::counted_entries(summary.stale.len()),
            stale_max: words::maybe_duration(summary.stale_max()),
            missing_max: words::maybe_duration(summary.missing_max()),
            legs: legs(summary),
            several_services: words::several_services(summary),
            steps,
            rows_hidden: rows.saturating_sub(ROWS_MAX),
            stopwatches: stopwatches(record, summary),
            closeups_hidden: summary.stopwatches.len().saturating_sub(CLOSEUPS_MAX),
            faults: summary.faults.iter().map(fault_view).collect(),
            nodes: nodes(summary),
            notes: summary.notes.iter().map(|note| format!("{}  {}", note.at, clean(&note.text))).collect(),
            facts: facts(summary),
            clusters: clusters.iter().map(|cluster| clean(cluster)).collect(),
        }
    }
}

/// Kinds of lines that there are, and how many of each.
fn kinds(happenings: &Happenings) -> Vec<(&'static str, usize)> {
    let count = |kind: Kind| (kind.as_str(), happenings.matching(|line| line.kind == kind).len());
    Kind::ALL.into_iter().map(count).filter(|(_, count)| *count > 0).collect()
}

/// What the list leaves out, such as `12 lines (10 map, 2 log)`.
fn hidden(happenings: &Happenings) -> String {
    let all: usize = happenings.hidden.values().sum();
    let kinds: Vec<_> = happenings.hidden.iter().map(|(kind, count)| format!("{count} {}", kind.as_str())).collect();
    if all == 0 { String::new() } else { format!("{} ({})", words::count(all as u64, "line"), kinds.join(", ")) }
}

/// Nodes and processes that lines are of.
fn sources(happenings: &Happenings) -> Vec<String> {
    let wanted = happenings.matching(|line| matches!(line.kind, Kind::Log | Kind::Map | Kind::Wrong));
    let mut sources: Vec<String> = wanted.into_iter().map(|(_, line)| line.source.clone()).collect();
    sources.sort_unstable();
    sources.dedup();
    sources
}

fn line_view(line: &super::happenings::Line) -> LineView {
    let cluster = matches!(line.kind, Kind::Object).then(|| format!("{} ", line.cluster)).unwrap_or_default();
    LineView {
        millis: short(line.at.as_millis_f64()),
        seconds: format!("{:.3}", line.at.as_millis_f64() / 1e3),
        kind: line.kind.as_str(),
        level: match line.level.as_str() {
            "error" => "bad".to_owned(),
            "warn" => "caution".to_owned(),
            _ => String::new(),
        },
        source: format!("{cluster}{}", line.source),
        text: line.text.clone(),
    }
}

fn stale_view(entry: &crate::StaleEntry) -> StaleView {
    let difference = &entry.difference;
    StaleView {
        node: clean(&entry.node.to_string()),
        service: clean(difference.service.as_deref().unwrap_or(&difference.frontend)),
        backend: difference.backend.as_deref().map_or_else(|| NOTHING.to_owned(), clean),
        kind: words::difference_text(difference.kind),
        since: entry.since.to_string(),
        age: words::duration(entry.age),
        open: entry.until.is_none(),
    }
}

fn legs(summary: &Summary) -> Vec<(&'static str, [String; 5])> {
    let legs = summary.changes.legs();
    let row = |(leg, times): (&crate::Leg, &crate::Distribution)| {
        let at = |percent| words::maybe_duration(times.duration(percent));
        let longest = words::maybe_duration(times.longest());
        (leg.as_str(), [times.count().to_string(), at(50.0), at(90.0), at(99.0), longest])
    };
    legs.iter().map(row).collect()
}

/// The template escapes markup; this makes control characters visible and keeps the page small.
fn clean(text: &str) -> String {
    words::shortened(&words::printable(text), FINDING_LENGTH)
}

pub(crate) fn verdict_class(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Passed) => "good",
        Some(Verdict::Failed | Verdict::TimedOut | Verdict::Environment) => "bad",
        Some(Verdict::Invalid | Verdict::Interrupted) | None => "caution",
    }
}

fn outcome_class(outcome: Option<StepOutcome>) -> &'static str {
    match outcome {
        Some(StepOutcome::Passed) => "good",
        Some(StepOutcome::Failed | StepOutcome::TimedOut) => "bad",
        Some(StepOutcome::Invalid) | None => "caution",
        Some(StepOutcome::Skipped) => "quiet",
    }
}

fn tiles(summary: &Summary) -> Vec<Tile> {
    let passed = summary.steps_with(StepOutcome::Passed);
    let steps = summary.steps.len();
    let wrong = summary.violations.len();
    let lost: u64 = summary.stopwatches.iter().map(|stopwatch| stopwatch.requests_lost).sum();
    let slowest = |time: fn(&Stopwatch) -> Option<meshbed_events::Micros>| {
        let times = summary.stopwatches.iter().filter_map(|stopwatch| Some(time(stopwatch)?.since(stopwatch.injected)));
        words::maybe_duration(times.max())
    };
    let kills = words::count(summary.stopwatches.len() as u64, "fault");
    let mut tiles = vec![
        Tile {
            name: "steps passed",
            value: format!("{passed}/{steps}"),
            detail: format!("in {}", words::duration(std::time::Duration::from_micros(summary.duration.0))),
            class: if passed == steps { "good" } else { "bad" },
        },
        Tile {
            name: "requests",
            value: words::grouped(summary.total.requests),
            detail: format!(
                "{} answered, {} failed",
                words::grouped(summary.total.answered()),
                words::grouped(summary.total.failed())
            ),
            class: "",
        },
        Tile {
            name: "wrong",
            value: words::grouped(wrong as u64),
            detail: "answers or errors the oracle forbids".into(),
            class: if wrong == 0 { "good" } else { "bad" },
        },
    ];
    if !summary.stopwatches.is_empty() {
        tiles.extend([
            Tile {
                name: "lost to faults",
                value: words::grouped(lost),
                detail: format!("requests, in {kills}"),
                class: "",
            },
            Tile {
                name: "slowest takeover",
                value: slowest(|one| one.first_answer_after),
                detail: "fault to first answer of another backend".into(),
                class: "",
            },
            Tile {
                name: "slowest map",
                value: slowest(|one| one.last_map_right),
                detail: "fault to last node's map right".into(),
                class: "",
            },
        ]);
    }
    let up = words::maybe_duration(summary.mesh_ready.map(|at| std::time::Duration::from_micros(at.0)));
    tiles.push(Tile { name: "mesh up", value: up, detail: "from start of the run".into(), class: "" });
    tiles
}

fn failures(summary: &Summary) -> Vec<Failure> {
    let mut failures: Vec<Failure> = summary.steps.iter().filter_map(|step| step_failure(summary, step)).collect();
    let outside = violations(summary, None);
    if !outside.is_empty() {
        failures.push(Failure { step: None, title: "Between steps".into(), findings: outside });
    }
    if summary.verdict() != Some(Verdict::Passed) {
        for (node, maps) in &summary.nodes {
            let Some(open) = maps.wrong.last().filter(|interval| interval.until.is_none()) else { continue };
            let findings =
                open.differences.iter().take(FINDINGS_MAX).map(|difference| clean(&difference.message)).collect();
            failures.push(Failure {
                step: None,
                title: clean(&format!("Maps of {node} were wrong from {} to the end", open.from)),
                findings,
            });
        }
    }
    failures
}

fn step_failure(summary: &Summary, step: &crate::Step) -> Option<Failure> {
    let mut findings: Vec<String> = Vec::new();
    for expectation in step.failed_expectations() {
        let lines = expectation.findings.iter().take(FINDINGS_MAX);
        findings.extend(lines.map(|finding| clean(&format!("{}: {finding}", expectation.text))));
    }
    let unproven = summary.faults.iter().filter(|fault| fault.step == Some(step.index) && fault.witnesses.is_empty());
    findings.extend(unproven.map(|fault| clean(&format!("no witness of {}", fault.title()))));
    findings.extend(violations(summary, Some(step.index)));
    let well = matches!(step.outcome, Some(StepOutcome::Passed | StepOutcome::Skipped));
    let title = format!("{} {}: {}", step.index + 1, clean(&step.name), words::outcome_text(step.outcome));
    (!well || !findings.is_empty()).then_some(Failure { step: Some(step.index + 1), title, findings })
}

fn violations(summary: &Summary, step: Option<usize>) -> Vec<String> {
    let messages = summary.violations.iter().filter(|violation| violation.step == step);
    let counted = words::counted(messages.map(|violation| violation.message.as_str()));
    let hidden = counted.len().saturating_sub(FINDINGS_MAX);
    let shown = counted.into_iter().take(FINDINGS_MAX).map(|(message, times)| match times {
        1 => clean(message),
        _ => format!("{} ({times} times)", clean(message)),
    });
    shown.chain((hidden > 0).then(|| format!("and {hidden} more"))).collect()
}

fn step_view(summary: &Summary, step: &crate::Step, clusters: &[String], rows_left: &mut usize) -> StepView {
    let shown: Vec<_> =
        step.clients.iter().take(*rows_left).map(|(client, tally)| client_view(client, tally, clusters)).collect();
    *rows_left -= shown.len();
    let unhappy = summary.violations_of(step.index).next().is_some();
    StepView {
        number: step.index + 1,
        name: clean(&step.name),
        outcome: words::outcome_text(step.outcome),
        class: if unhappy { "bad" } else { outcome_class(step.outcome) },
        duration: words::maybe_duration(step.duration()),
        settled: words::maybe_duration(step.settle_time()),
        clients: shown,
        expectations: step.expectations.iter().map(expectation_view).collect(),
    }
}

fn expectation_view(expectation: &crate::Expectation) -> ExpectationView {
    let findings = expectation.findings.iter().take(FINDINGS_MAX).map(|finding| clean(finding)).collect();
    ExpectationView { text: clean(&expectation.text), held: expectation.held(), findings }
}

fn client_view(client: &Client, tally: &ClientTally, clusters: &[String]) -> ClientView {
    let total = tally.total();
    let answers =
        clusters.iter().map(|cluster| total.answers.get(cluster).map_or_else(|| NOTHING.to_owned(), u64::to_string));
    ClientView {
        cluster: clean(&client.cluster),
        pod: clean(&client.pod),
        service: clean(&client.service),
        requests: total.requests,
        shares: shares(&total, clusters),
        answers: answers.collect(),
        errors_changing: tally.transition.error_words(),
        errors_steady: tally.steady.error_words(),
        p50: words::maybe_duration(total.answer_latency.p50()),
        p99: words::maybe_duration(total.answer_latency.p99()),
        max: words::maybe_duration(total.answer_latency.max()),
    }
}

fn shares(total: &Tally, clusters: &[String]) -> Vec<(String, String, String)> {
    let answers =
        clusters.iter().map(|cluster| (look(clusters, cluster), total.answers.get(cluster).copied().unwrap_or(0)));
    let percent = |count: u64| count as f64 * 100.0 / total.requests.max(1) as f64;
    let mut shares = Vec::new();
    let mut from = 0;
    for (class, count) in answers.chain([("error".to_owned(), total.failed())]).filter(|(_, count)| *count > 0) {
        shares.push((class, short(percent(from)), short(percent(count))));
        from += count;
    }
    shares
}

fn stopwatches(record: &RunRecord, summary: &Summary) -> Vec<StopwatchView> {
    let view = |(position, stopwatch): (usize, &Stopwatch)| StopwatchView {
        step: stopwatch.step + 1,
        target: clean(&summary.stopwatch_title(stopwatch)),
        detected: words::offset(stopwatch.injected, stopwatch.detected),
        last_error: words::offset(stopwatch.injected, stopwatch.last_error),
        last_dead: words::offset(stopwatch.injected, stopwatch.last_answer_of_dead),
        first_after: words::offset(stopwatch.injected, stopwatch.first_answer_after),
        lost: stopwatch.requests_lost,
        map_right: words::offset(stopwatch.injected, stopwatch.last_map_right),
        node: stopwatch.last_map_node.as_deref().map_or_else(|| NOTHING.to_owned(), clean),
        drawing: if position < CLOSEUPS_MAX { closeup::draw(record, summary, stopwatch) } else { String::new() },
    };
    summary.stopwatches.iter().enumerate().map(view).collect()
}

fn fault_view(fault: &crate::Fault) -> FaultView {
    let witnesses: Vec<_> = fault.witnesses.iter().take(FINDINGS_MAX).map(|note| clean(&note.text)).collect();
    let pods: Vec<_> = fault.pods.iter().take(FINDINGS_MAX).map(|pod| clean(pod)).collect();
    FaultView {
        name: clean(&fault.title()),
        injected: fault.injected.to_string(),
        healed: match fault.healed {
            None => NOTHING.to_owned(),
            Some(at) if fault.heal_witness.is_empty() => at.to_string(),
            Some(at) => format!("{at}, {}", clean(&fault.heal_witness)),
        },
        witnesses: witnesses.join(", "),
        pods: pods.join(", "),
    }
}

fn nodes(summary: &Summary) -> Vec<NodeView> {
    let view = |(node, maps): (&crate::Node, &crate::NodeMaps)| NodeView {
        name: clean(&node.to_string()),
        changes: maps.changes.len(),
        times_wrong: maps.wrong.len(),
        longest: words::maybe_duration(maps.longest_wrong(summary.duration)),
        open: maps.wrong.last().is_some_and(|interval| interval.until.is_none()),
    };
    summary.nodes.iter().take(ROWS_MAX).map(view).collect()
}

fn facts(summary: &Summary) -> Vec<(&'static str, String)> {
    let info = &summary.info;
    let mesh: Vec<_> =
        info.clusters.iter().map(|(cluster, nodes)| format!("{cluster} ({})", nodes.join(", "))).collect();
    let came_up: Vec<_> = summary.progress.iter().map(|note| format!("{} {}", note.text, note.at)).collect();
    let facts = [
        ("run", info.run.clone()),
        ("started", info.started.clone()),
        ("scenario", info.scenario_file.clone()),
        ("topology", info.topology.clone()),
        ("clusters", mesh.join(", ")),
        ("environment", info.environment.clone()),
        ("kernel", info.kernel.clone()),
        ("agent", info.agent.clone()),
        ("seed", info.seed.to_string()),
        ("meshbed", info.version.clone()),
        ("rate", format!("{} requests/s for each client", info.rate_per_second)),
        ("grace of the oracle", words::duration(std::time::Duration::from_micros(info.grace_us))),
        ("came up", came_up.join(", ")),
        ("reproduce", words::reproduction(info)),
    ];
    facts.into_iter().map(|(name, value)| (name, clean(&value))).filter(|(_, value)| !value.is_empty()).collect()
}
