//! Repeats as Markdown.

use meshbed_events::Verdict;

use super::RepeatSummary;
use crate::markdown::{Table, code, inline, put};
use crate::words;

/// Runs that did not pass that are listed.
const RUNS_MAX: usize = 50;

/// Verdict, flaky expectations, runs that did not pass, percentiles.
pub fn markdown(repeats: &RepeatSummary) -> String {
    let (passed, all) = (repeats.passed(), repeats.runs.len());
    let sign = if passed == all && all > 0 { "✅" } else { "❌" };
    let mut text =
        format!("# {sign} {}: {passed} of {} passed\n\n", inline(&repeats.scenario), words::count(all as u64, "run"));
    if !repeats.question.is_empty() {
        put(&mut text, format_args!("> {}\n\n", inline(&repeats.question)));
    }
    let facts = [("agent", &repeats.agent), ("environment", &repeats.environment), ("kernel", &repeats.kernel)];
    let facts: Vec<_> = facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name} {}", code(value)))
        .collect();
    put(&mut text, format_args!("{}\n", facts.join(" · ")));
    expectations(repeats, &mut text);
    runs(repeats, &mut text);
    distributions(repeats, &mut text);
    text
}

fn expectations(repeats: &RepeatSummary, text: &mut String) {
    let mut table = Table::new(&["", "step", "expectation", "held", "first finding"]);
    let mut rows = 0;
    for rate in repeats.expectations.iter().filter(|rate| rate.failed > 0) {
        rows += 1;
        table.row([
            if rate.flaky() { "flaky".to_owned() } else { "❌".to_owned() },
            format!("{} {}", rate.step + 1, inline(&rate.step_name)),
            inline(&rate.text),
            format!("{}/{} ({:.1} %)", rate.held, rate.held + rate.failed, rate.percent()),
            inline(&rate.finding),
        ]);
    }
    if rows > 0 {
        put(text, format_args!("\n## Expectations that did not always hold\n\n{}", table.finish()));
    }
}

fn runs(repeats: &RepeatSummary, text: &mut String) {
    let bad: Vec<_> = repeats.runs.iter().filter(|run| run.verdict != Some(Verdict::Passed)).collect();
    if bad.is_empty() {
        return;
    }
    let mut table = Table::new(&["run", "repeat", "seed", "verdict", "first finding", "reproduce with"]);
    for run in bad.iter().take(RUNS_MAX) {
        table.row([
            code(&run.run),
            (run.repeat + 1).to_string(),
            run.seed.to_string(),
            words::verdict_text(run.verdict).to_owned(),
            inline(&run.finding),
            code(&run.reproduce),
        ]);
    }
    put(text, format_args!("\n## Runs that did not pass\n\n{}", table.finish()));
    if bad.len() > RUNS_MAX {
        put(text, format_args!("\nand {} more\n", bad.len() - RUNS_MAX));
    }
}

fn distributions(repeats: &RepeatSummary, text: &mut String) {
    let rows = repeats.distributions();
    if rows.is_empty() {
        return;
    }
    let mut table = Table::new(&["", "count", "p50", "p90", "p99", "max"]);
    for (name, times) in rows {
        table.row([
            inline(&name),
            times.count().to_string(),
            words::maybe_duration(times.duration(50.0)),
            words::maybe_duration(times.duration(90.0)),
            words::maybe_duration(times.duration(99.0)),
            words::maybe_duration(times.longest()),
        ]);
    }
    put(text, format_args!("\n## Times over all repeats\n\n{}", table.finish()));
    let lost = &repeats.all_faults.lost;
    if let (Some(p50), Some(p99), Some(max)) = (lost.percentile(50.0), lost.percentile(99.0), lost.max()) {
        put(text, format_args!("\nRequests lost to a fault: p50 {p50}, p99 {p99}, max {max}.\n"));
    }
}
