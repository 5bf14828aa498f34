//! The tables, failures and summary at the end of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meshbed_events::{RunRecord, StepOutcome, Stopwatch, Verdict};
use owo_colors::OwoColorize;
use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Style};

use super::Colour;
use super::styles::{Styles, status_word};
use crate::words::{self, NOTHING};
use crate::{Client, ClientTally, Ending, Step, Summary};

/// Characters after which a step's name is wrapped.
const STEP_WIDTH: usize = 32;

/// Different violations of one step that are repeated at the end; a broken agent causes one a request.
const VIOLATIONS_SHOWN: usize = 10;

/// Entries of maps that are listed: the oldest.
const STALE_SHOWN: usize = 5;

/// The final tables, failures and summary line, in plain text.
pub fn table(record: &RunRecord) -> String {
    coloured_table(record, Colour::No)
}

/// The same as [`table`], with colours if wanted.
pub fn coloured_table(record: &RunRecord, colour: Colour) -> String {
    let summary = Summary::of(record);
    let styles = Styles::new(colour);
    let parts = [
        request_table(&summary),
        stopwatch_table(&summary),
        stale_table(&summary),
        leg_table(&summary),
        failures(&summary, styles),
        summary_line(&summary, styles),
    ];
    let present: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    present.join("\n\n") + "\n"
}

/// Requests, answers a cluster and errors, per step and client.
fn request_table(summary: &Summary) -> String {
    let clusters = summary.clusters();
    let names = Names::of(summary);
    let mut builder = Builder::default();
    let head = ["step", "client", "requests"].map(str::to_owned).into_iter();
    let answers = clusters.iter().map(|cluster| format!("from {cluster}"));
    let tail = ["errors changing", "errors steady", "p50", "p99"].map(str::to_owned);
    builder.push_record(head.chain(answers).chain(tail));
    let mut rows = 0;
    for step in &summary.steps {
        for (position, (client, tally)) in step.clients.iter().enumerate() {
            let name = if position == 0 { step_name(step) } else { String::new() };
            builder.push_record(request_row(name, names.client(client), tally, &clusters));
            rows += 1;
        }
    }
    if rows == 0 {
        return String::new();
    }
    let mut table = builder.build();
    let answers_end = 3 + clusters.len();
    table.with(Style::rounded());
    table.modify(Columns::new(2..answers_end), Alignment::right());
    table.modify(Columns::new(answers_end + 2..answers_end + 4), Alignment::right());
    table.to_string()
}

/// How clients are called in the table.
struct Names<'s> {
    several_services: bool,
    /// Names of pods without what their Deployment added, by cluster and full name, where that leaves them distinct.
    short: BTreeMap<(&'s str, &'s str), &'s str>,
}

impl<'s> Names<'s> {
    fn of(summary: &'s Summary) -> Self {
        let clients = summary.steps.iter().flat_map(|step| step.clients.keys());
        let pods: BTreeSet<_> = clients.map(|client| (client.cluster.as_str(), client.pod.as_str())).collect();
        let mut holders: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for (cluster, pod) in &pods {
            *holders.entry((cluster, deployment(pod))).or_default() += 1;
        }
        let distinct = pods.into_iter().filter(|(cluster, pod)| holders.get(&(*cluster, deployment(pod))) == Some(&1));
        let short = distinct.map(|(cluster, pod)| ((cluster, pod), deployment(pod))).collect();
        Self { several_services: words::several_services(summary), short }
    }

    fn client(&self, client: &Client) -> String {
        let pod = self.short.get(&(client.cluster.as_str(), client.pod.as_str())).copied().unwrap_or(&client.pod);
        let name = format!("{}/{}", words::printable(&client.cluster), words::printable(pod));
        if self.several_services { format!("{name}\n  to {}", words::printable(&client.service)) } else { name }
    }
}

/// `x-wing` of `x-wing-6d8f9c7b5-4xkzp`: a Deployment's pod has its ReplicaSet's hash and its own in its name.
fn deployment(pod: &str) -> &str {
    let mut parts = pod.rsplitn(3, '-').skip(2);
    parts.next().filter(|name| !name.is_empty()).unwrap_or(pod)
}

fn request_row(name: String, who: String, tally: &ClientTally, clusters: &[String]) -> Vec<String> {
    let total = tally.total();
    let mut row = vec![name, who, total.requests.to_string()];
    row.extend(clusters.iter().map(|cluster| match total.answers.get(cluster) {
        Some(count) => count.to_string(),
        None => NOTHING.to_owned(),
    }));
    row.push(tally.transition.error_words().replace(", ", "\n"));
    row.push(tally.steady.error_words().replace(", ", "\n"));
    row.push(words::maybe_duration(total.answer_latency.p50()));
    row.push(words::maybe_duration(total.answer_latency.p99()));
    row
}

/// `12 name`, wrapped at spaces.
fn step_name(step: &Step) -> String {
    let mut lines = vec![format!("{}", step.index + 1)];
    for word in words::printable(&step.name).split(' ') {
        let last = lines.last_mut().expect("the first line was put in above");
        if last.chars().count() + 1 + word.chars().count() > STEP_WIDTH {
            lines.push(format!("  {word}"));
        } else {
            last.push(' ');
            last.push_str(word);
        }
    }
    lines.join("\n")
}

/// What each fault cost, relative to its injection.
fn stopwatch_table(summary: &Summary) -> String {
    if summary.stopwatches.is_empty() {
        return String::new();
    }
    let mut builder = Builder::default();
    builder.push_record([
        "stopwatch",
        "detected",
        "last answer\nof the dead",
        "first answer\nafter",
        "last error",
        "lost",
        "last map right",
        "on node",
    ]);
    for stopwatch in &summary.stopwatches {
        builder.push_record(stopwatch_row(summary, stopwatch));
    }
    let mut table = builder.build();
    table.with(Style::rounded());
    table.modify(Columns::new(1..7), Alignment::right());
    format!("{table}\nTimes are relative to the injection of the fault.")
}

fn stopwatch_row(summary: &Summary, stopwatch: &Stopwatch) -> Vec<String> {
    let injected = stopwatch.injected;
    vec![
        format!("{} {}", stopwatch.step + 1, words::printable(&summary.stopwatch_title(stopwatch))),
        words::offset(injected, stopwatch.detected),
        words::offset(injected, stopwatch.last_answer_of_dead),
        words::offset(injected, stopwatch.first_answer_after),
        words::offset(injected, stopwatch.last_error),
        stopwatch.requests_lost.to_string(),
        words::offset(injected, stopwatch.last_map_right),
        stopwatch.last_map_node.as_deref().map_or_else(|| NOTHING.to_owned(), words::printable),
    ]
}

/// The entries of maps that were wrong for longest; empty when none was.
fn stale_table(summary: &Summary) -> String {
    if summary.stale.is_empty() {
        return String::new();
    }
    let mut builder = Builder::default();
    builder.push_record(["oldest wrong map entries", "node", "backend", "kind", "since", "age"]);
    for entry in summary.oldest_stale(STALE_SHOWN) {
        let difference = &entry.difference;
        let open = if entry.until.is_none() { ", to the end" } else { "" };
        builder.push_record([
            words::printable(difference.service.as_deref().unwrap_or(&difference.frontend)),
            words::printable(&entry.node.to_string()),
            difference.backend.as_deref().map_or_else(|| NOTHING.to_owned(), words::printable),
            words::difference_text(difference.kind).to_owned(),
            entry.since.to_string(),
            format!("{}{open}", words::duration(entry.age)),
        ]);
    }
    let mut table = builder.build();
    table.with(Style::rounded());
    table.modify(Columns::new(4..6), Alignment::right());
    let (stale, missing) = (summary.stale_max(), summary.missing_max());
    format!(
        "{table}\n{} in all; oldest stale {}, oldest missing {}.",
        words::counted_entries(summary.stale.len()),
        words::maybe_duration(stale),
        words::maybe_duration(missing)
    )
}

/// How long changes took on their way to the maps; empty when none was followed.
fn leg_table(summary: &Summary) -> String {
    let legs = summary.changes.legs();
    if legs.is_empty() {
        return String::new();
    }
    let mut builder = Builder::default();
    builder.push_record(["propagation", "count", "p50", "p90", "p99", "max"]);
    for (leg, times) in &legs {
        let at = |percent| words::maybe_duration(times.duration(percent));
        let longest = words::maybe_duration(times.longest());
        builder.push_record([leg.as_str().into(), times.count().to_string(), at(50.0), at(90.0), at(99.0), longest]);
    }
    let mut table = builder.build();
    table.with(Style::rounded());
    table.modify(Columns::new(1..6), Alignment::right());
    table.to_string()
}

/// Everything that did not go well, and how to see it again; empty when all did.
fn failures(summary: &Summary, styles: Styles) -> String {
    let mut lines = Vec::new();
    for step in &summary.steps {
        if !matches!(step.outcome, Some(StepOutcome::Passed | StepOutcome::Skipped))
            || summary.violations_of(step.index).next().is_some()
        {
            step_failure(summary, step, styles, &mut lines);
        }
    }
    let outside = summary.violations.iter().filter(|violation| violation.step.is_none());
    violations(outside.map(|violation| violation.message.as_str()), &mut lines);
    for (node, maps) in &summary.nodes {
        let Some(open) = maps.wrong.last().filter(|interval| interval.until.is_none()) else { continue };
        if summary.verdict() == Some(Verdict::Passed) {
            continue;
        }
        lines.push(format!("             maps of {node} were wrong from {} to the end:", open.from));
        lines.extend(
            open.differences
                .iter()
                .map(|difference| format!("               - {}", words::printable(&difference.message))),
        );
    }
    let passed = matches!(summary.ending, Ending::Finished { verdict: Verdict::Passed, .. });
    if passed && lines.is_empty() {
        return String::new();
    }
    if !passed {
        lines.insert(0, words::ending_sentence(summary.ending).style(styles.strong).to_string());
        lines.extend(summary.notes.iter().map(|note| {
            let text = words::printable_lines(&note.text, "             ");
            format!("        note [{:>8.3}s] {text}", seconds(note.at.0))
        }));
    }
    lines.push(format!("Reproduce with: {}", words::reproduction(&summary.info).style(styles.strong)));
    lines.join("\n")
}

fn step_failure(summary: &Summary, step: &Step, styles: Styles, lines: &mut Vec<String>) {
    let style = if step.outcome == Some(StepOutcome::Invalid) { styles.caution } else { styles.bad };
    // A late answer may be found wrong after its step had passed.
    let word = if step.outcome == Some(StepOutcome::Passed) { "WRONG" } else { words::outcome_word(step.outcome) };
    let word = status_word(word, style);
    let took = step.duration().unwrap_or_else(|| summary.duration.since(step.started.unwrap_or(summary.duration)));
    lines.push(format!(
        "{word} [{:>8.3}s] ({}/{}) {}",
        took.as_secs_f64(),
        step.index + 1,
        summary.steps.len(),
        words::printable(&step.name)
    ));
    for expectation in step.failed_expectations() {
        lines.push(format!("             expected: {}", words::printable(&expectation.text)));
        lines.extend(
            expectation.findings.iter().map(|finding| format!("               - {}", words::printable(finding))),
        );
    }
    for fault in summary.faults.iter().filter(|fault| fault.step == Some(step.index) && fault.witnesses.is_empty()) {
        lines.push(format!("             no witness: {}", words::printable(&fault.title())));
    }
    violations(summary.violations_of(step.index).map(|violation| violation.message.as_str()), lines);
}

fn violations<'m>(messages: impl Iterator<Item = &'m str>, lines: &mut Vec<String>) {
    let counted = words::counted(messages);
    if counted.is_empty() {
        return;
    }
    lines.push("             wrong answers or errors:".to_owned());
    for (message, count) in counted.iter().take(VIOLATIONS_SHOWN) {
        let times = if *count > 1 { format!(" ({count} times)") } else { String::new() };
        lines.push(format!("               - {}{times}", words::printable(message)));
    }
    let hidden = counted.len().saturating_sub(VIOLATIONS_SHOWN);
    if hidden > 0 {
        lines.push(format!("               - and {hidden} more"));
    }
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

/// `Summary [  12.300s] 14 steps run: 14 passed, 0 failed, 21034 requests, 0 wrong`
fn summary_line(summary: &Summary, styles: Styles) -> String {
    let skipped = summary.steps_with(StepOutcome::Skipped);
    let run = summary.steps.len() - skipped;
    let stopped = summary.steps.iter().filter(|step| step.outcome.is_none()).count();
    let mut parts = vec![
        format!("{} passed", summary.steps_with(StepOutcome::Passed)),
        format!("{} failed", summary.steps_with(StepOutcome::Failed)),
    ];
    let others = [
        (summary.steps_with(StepOutcome::TimedOut), "timed out"),
        (summary.steps_with(StepOutcome::Invalid), "invalid"),
        (stopped, "stopped"),
        (skipped, "skipped"),
    ];
    parts.extend(others.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}")));
    parts.push(words::count(summary.total.requests, "request"));
    parts.push(format!("{} wrong", summary.violations.len()));
    let style = match summary.verdict() {
        Some(Verdict::Passed) => styles.good,
        Some(Verdict::Invalid | Verdict::Interrupted) => styles.caution,
        _ => styles.bad,
    };
    if summary.info.repeat > 0 {
        parts.push(format!("repeat {}", summary.info.repeat + 1));
    }
    let time = seconds(summary.duration.0);
    let steps = words::count(run as u64, "step");
    format!("{} [{time:>8.3}s] {steps} run: {}", status_word("Summary", style), parts.join(", "))
}
