//! `report.md`: what `$GITHUB_STEP_SUMMARY` shows, and what is pasted into an issue.

mod syntax;

use meshbed_events::{RunRecord, StepOutcome, Verdict};

use crate::{Ending, Summary, findings, words};

pub(crate) use syntax::{Table, code, inline, put};

/// Findings that are listed; a summary on GitHub is a megabyte at most.
const FINDINGS_MAX: usize = 100;
/// Entries of maps in the table: the oldest ones.
const STALE_MAX: usize = 30;

/// The whole report.
pub fn report(record: &RunRecord) -> String {
    let summary = Summary::of(record);
    let mut text = head(&summary);
    for part in [failures(&summary), steps(&summary), stopwatches(&summary), stale(&summary), legs(&summary)] {
        if !part.is_empty() {
            text.push('\n');
            text.push_str(&part);
        }
    }
    text
}

fn head(summary: &Summary) -> String {
    let info = &summary.info;
    let mut text = format!(
        "# {} {}: {}\n\n",
        verdict_sign(summary.verdict()),
        inline(&info.scenario),
        words::verdict_text(summary.verdict())
    );
    if !info.question.is_empty() {
        put(&mut text, format_args!("> {}\n\n", inline(&info.question)));
    }
    put(&mut text, format_args!("{}\n\n", words::ending_sentence(summary.ending)));
    let facts = [
        ("agent", &info.agent),
        ("topology", &info.topology),
        ("environment", &info.environment),
        ("kernel", &info.kernel),
        ("run", &info.run),
    ];
    let mut facts: Vec<String> = facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name} {}", code(value)))
        .collect();
    facts.push(format!("seed {}", code(&info.seed.to_string())));
    if info.repeat > 0 {
        facts.push(format!("repeat {}", info.repeat + 1));
    }
    put(&mut text, format_args!("{}\n\n", facts.join(" · ")));
    let total = &summary.total;
    let took = words::duration(std::time::Duration::from_micros(summary.duration.0));
    put(
        &mut text,
        format_args!(
            "{} of {} passed in {took}; {}, {} failed, {} wrong\n",
            summary.steps_with(StepOutcome::Passed),
            words::count(summary.steps.len() as u64, "step"),
            words::count(total.requests, "request"),
            total.failed(),
            summary.violations.len()
        ),
    );
    text
}

fn verdict_sign(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Passed) => "✅",
        Some(Verdict::Failed | Verdict::TimedOut | Verdict::Environment) => "❌",
        Some(Verdict::Invalid | Verdict::Interrupted) | None => "⚠️",
    }
}

fn failures(summary: &Summary) -> String {
    let found = findings::all(summary);
    let passed = matches!(summary.ending, Ending::Finished { verdict: Verdict::Passed, .. });
    if passed && found.is_empty() {
        return String::new();
    }
    let mut text = "## What went wrong\n\n".to_owned();
    for finding in found.iter().take(FINDINGS_MAX) {
        let step = finding.step.as_deref().map(|name| format!("**{}**: ", inline(name))).unwrap_or_default();
        let place =
            finding.place.as_ref().map(|place| format!(" ({})", code(&words::place(place)))).unwrap_or_default();
        put(&mut text, format_args!("- {step}{}{place}\n", inline(&finding.text)));
    }
    let hidden = found.len().saturating_sub(FINDINGS_MAX);
    if hidden > 0 {
        put(&mut text, format_args!("- and {hidden} more\n"));
    }
    for note in &summary.notes {
        put(&mut text, format_args!("- {} {}\n", note.at, inline(&note.text)));
    }
    put(&mut text, format_args!("\nRun it again with {}\n", code(&words::reproduction(&summary.info))));
    text
}

fn steps(summary: &Summary) -> String {
    let mut table = Table::new(&["", "#", "step", "took", "settled after", "requests", "answered by", "errors"]);
    for step in &summary.steps {
        let mut all = crate::Tally::default();
        for tally in step.clients.values() {
            all.add(&tally.transition);
            all.add(&tally.steady);
        }
        let answers: Vec<_> =
            all.answers.iter().map(|(cluster, count)| format!("{} {count}", inline(cluster))).collect();
        table.row([
            step_sign(summary, step).to_owned(),
            (step.index + 1).to_string(),
            inline(&step.name),
            words::maybe_duration(step.duration()),
            words::maybe_duration(step.settle_time()),
            all.requests.to_string(),
            answers.join(", "),
            all.error_words(),
        ]);
    }
    if summary.steps.is_empty() { String::new() } else { format!("## Steps\n\n{}", table.finish()) }
}

fn step_sign(summary: &Summary, step: &crate::Step) -> &'static str {
    match step.outcome {
        Some(StepOutcome::Passed) if summary.violations_of(step.index).next().is_none() => "✅",
        Some(StepOutcome::Skipped) => "➖",
        Some(StepOutcome::Invalid) | None => "⚠️",
        Some(StepOutcome::Passed | StepOutcome::Failed | StepOutcome::TimedOut) => "❌",
    }
}

fn stopwatches(summary: &Summary) -> String {
    if summary.stopwatches.is_empty() {
        return String::new();
    }
    let columns = [
        "step",
        "fault",
        "detected",
        "last answer of the dead",
        "first answer",
        "last error",
        "lost",
        "maps right",
        "on node",
    ];
    let mut table = Table::new(&columns);
    for one in &summary.stopwatches {
        let offset = |at| words::offset(one.injected, at);
        table.row([
            (one.step + 1).to_string(),
            inline(&summary.stopwatch_title(one)),
            offset(one.detected),
            offset(one.last_answer_of_dead),
            offset(one.first_answer_after),
            offset(one.last_error),
            one.requests_lost.to_string(),
            offset(one.last_map_right),
            one.last_map_node.as_deref().map_or_else(|| words::NOTHING.to_owned(), inline),
        ]);
    }
    format!("## Stopwatch\n\nTimes are relative to the injection of the fault.\n\n{}", table.finish())
}

fn stale(summary: &Summary) -> String {
    if summary.stale.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "## Stale and missing map entries\n\n{} were wrong for a time; at most {} stale, {} missing.\n\n",
        words::counted_entries(summary.stale.len()),
        words::maybe_duration(summary.stale_max()),
        words::maybe_duration(summary.missing_max())
    );
    let mut table = Table::new(&["node", "service", "backend", "kind", "since", "age", ""]);
    for entry in summary.oldest_stale(STALE_MAX) {
        let difference = &entry.difference;
        table.row([
            inline(&entry.node.to_string()),
            difference.service.as_deref().map_or_else(|| inline(&difference.frontend), inline),
            difference.backend.as_deref().map_or_else(|| words::NOTHING.to_owned(), inline),
            words::difference_text(difference.kind).to_owned(),
            entry.since.to_string(),
            words::duration(entry.age),
            if entry.until.is_none() { "to the end".to_owned() } else { String::new() },
        ]);
    }
    text.push_str(&table.finish());
    let hidden = summary.stale.len().saturating_sub(STALE_MAX);
    if hidden > 0 {
        put(&mut text, format_args!("\nand {hidden} younger ones\n"));
    }
    text
}

fn legs(summary: &Summary) -> String {
    let legs = summary.changes.legs();
    if legs.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["leg", "changes", "p50", "p90", "p99", "max"]);
    for (leg, times) in &legs {
        table.row([
            leg.as_str().to_owned(),
            times.count().to_string(),
            words::maybe_duration(times.duration(50.0)),
            words::maybe_duration(times.duration(90.0)),
            words::maybe_duration(times.duration(99.0)),
            words::maybe_duration(times.longest()),
        ]);
    }
    let changes = words::count(summary.changes.len() as u64, "change");
    format!("## Propagation\n\n{changes} of services, from the API to the maps.\n\n{}", table.finish())
}
