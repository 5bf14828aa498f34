//! Repeats for a terminal.

use owo_colors::OwoColorize as _;
use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Style};

use super::RepeatSummary;
use crate::terminal::{Colour, Styles, status_word};
use crate::words;

/// Runs that did not pass that are listed.
const RUNS_SHOWN: usize = 20;

/// Percentiles, expectations that did not always hold, runs that did not pass, and the summary line.
pub fn terminal(repeats: &RepeatSummary, colour: Colour) -> String {
    let styles = Styles::new(colour);
    let parts =
        [distributions(repeats), expectations(repeats, styles), runs(repeats, styles), summary(repeats, styles)];
    let present: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    present.join("\n\n") + "\n"
}

fn distributions(repeats: &RepeatSummary) -> String {
    let rows = repeats.distributions();
    if rows.is_empty() {
        return String::new();
    }
    let mut builder = Builder::default();
    builder.push_record(["over all repeats", "count", "p50", "p90", "p99", "max"]);
    for (name, times) in rows {
        let at = |percent| words::maybe_duration(times.duration(percent));
        let longest = words::maybe_duration(times.longest());
        builder.push_record([
            words::printable(&name),
            times.count().to_string(),
            at(50.0),
            at(90.0),
            at(99.0),
            longest,
        ]);
    }
    let mut table = builder.build();
    table.with(Style::rounded());
    table.modify(Columns::new(1..6), Alignment::right());
    let lost = &repeats.all_faults.lost;
    let lost = match (lost.percentile(50.0), lost.percentile(99.0), lost.max()) {
        (Some(p50), Some(p99), Some(max)) => format!("\nRequests lost to a fault: p50 {p50}, p99 {p99}, max {max}."),
        _ => String::new(),
    };
    format!("{table}{lost}")
}

fn expectations(repeats: &RepeatSummary, styles: Styles) -> String {
    let mut lines = Vec::new();
    for rate in repeats.expectations.iter().filter(|rate| rate.failed > 0) {
        let (word, style) = if rate.flaky() { ("FLAKY", styles.caution) } else { ("FAIL", styles.bad) };
        lines.push(format!(
            "{} [{:>3}/{:<3} held] {} {}: {}",
            status_word(word, style),
            rate.held,
            rate.held + rate.failed,
            rate.step + 1,
            words::printable(&rate.step_name),
            words::printable(&rate.text)
        ));
        lines.push(format!("               - {}", words::printable(&rate.finding)));
    }
    lines.join("\n")
}

fn runs(repeats: &RepeatSummary, styles: Styles) -> String {
    let bad: Vec<_> = repeats.runs.iter().filter(|run| run.verdict != Some(meshbed_events::Verdict::Passed)).collect();
    let mut lines = Vec::new();
    for run in bad.iter().take(RUNS_SHOWN) {
        lines.push(format!(
            "{} run {} (repeat {}, seed {}): {}",
            status_word(&words::verdict_text(run.verdict).to_uppercase(), styles.bad),
            words::printable(&run.run),
            run.repeat + 1,
            run.seed,
            words::printable(&run.finding)
        ));
        lines.push(format!("             reproduce with: {}", words::printable(&run.reproduce).style(styles.strong)));
    }
    if bad.len() > RUNS_SHOWN {
        lines.push(format!("             and {} more", bad.len() - RUNS_SHOWN));
    }
    lines.join("\n")
}

/// `Summary [ 123.000s] 100 runs: 99 passed, 1 failed, 1 flaky expectation`
fn summary(repeats: &RepeatSummary, styles: Styles) -> String {
    let time: f64 = repeats.runs.iter().map(|run| run.duration.as_secs_f64()).sum();
    let style = if repeats.passed() == repeats.runs.len() { styles.good } else { styles.bad };
    let mut parts: Vec<String> =
        repeats.verdicts().into_iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    let flaky = repeats.flaky_expectations().count();
    if flaky > 0 {
        parts.push(words::count(flaky as u64, "flaky expectation"));
    }
    let runs = words::count(repeats.runs.len() as u64, "run");
    format!("{} [{time:>8.3}s] {runs}: {}", status_word("Summary", style), parts.join(", "))
}
