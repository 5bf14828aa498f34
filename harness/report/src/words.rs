//! Words and numbers as all reports write them.

use std::time::Duration;

use meshbed_events::{DifferenceKind, Micros, RunInfo, SourcePlace, StepOutcome, Verdict};

use crate::{Ending, Summary};

/// Written where a value is missing.
pub(crate) const NOTHING: &str = "–";

/// `1.234 ms`, `12.3 ms`, `1.234 s`: four digits at most, unit by size.
pub(crate) fn duration(duration: Duration) -> String {
    millis_text(duration.as_secs_f64() * 1e3)
}

/// The same of milliseconds, which may be negative.
pub(crate) fn millis_text(millis: f64) -> String {
    match millis {
        ..10.0 => format!("{millis:.2} ms"),
        10.0..1000.0 => format!("{millis:.1} ms"),
        _ => format!("{:.3} s", millis / 1e3),
    }
}

/// The same as [`duration`], or a dash.
pub(crate) fn maybe_duration(value: Option<Duration>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), duration)
}

/// `duration` in milliseconds, exact to the microsecond and without digits of binary rounding.
pub(crate) fn millis(duration: Duration) -> f64 {
    round(duration.as_secs_f64() * 1e3)
}

/// Milliseconds in whole microseconds.
pub(crate) fn round(millis: f64) -> f64 {
    (millis * 1e3).round() / 1e3
}

/// Milliseconds from `from` to `at`; negative when `at` is earlier.
pub(crate) fn offset_ms(from: Micros, at: Micros) -> f64 {
    at.as_millis_f64() - from.as_millis_f64()
}

/// `+1.9 ms` or `-0.4 ms`, relative to `from`; a dash when there is no such time.
pub(crate) fn offset(from: Micros, at: Option<Micros>) -> String {
    at.map_or_else(|| NOTHING.to_owned(), |at| format!("{:+.1} ms", offset_ms(from, at)))
}

/// `1 request`, `2 requests`.
pub(crate) fn count(number: u64, singular: &str) -> String {
    match number {
        1 => format!("1 {singular}"),
        _ => format!("{number} {singular}s"),
    }
}

/// `1 entry`, `2 entries`.
pub(crate) fn counted_entries(number: usize) -> String {
    if number == 1 { "1 entry".to_owned() } else { format!("{number} entries") }
}

/// `file:line:column`.
pub(crate) fn place(place: &SourcePlace) -> String {
    format!("{}:{}:{}", place.file, place.line, place.column)
}

/// The sort of a difference between maps and truth.
pub(crate) fn difference_text(kind: DifferenceKind) -> &'static str {
    match kind {
        DifferenceKind::MissingFrontend => "missing frontend",
        DifferenceKind::StrayFrontend => "stray frontend",
        DifferenceKind::MissingBackend => "missing backend",
        DifferenceKind::StaleBackend => "stale backend",
        DifferenceKind::ForeignBackend => "foreign backend",
        DifferenceKind::WrongSide => "wrong side",
        DifferenceKind::Duplicate => "duplicate",
        DifferenceKind::Affinity => "session affinity",
        DifferenceKind::Structure => "structure",
    }
}

/// The word of the status column.
pub(crate) fn outcome_word(outcome: Option<StepOutcome>) -> &'static str {
    match outcome {
        Some(StepOutcome::Passed) => "PASS",
        Some(StepOutcome::Failed) => "FAIL",
        Some(StepOutcome::TimedOut) => "TIMEOUT",
        Some(StepOutcome::Skipped) => "SKIP",
        Some(StepOutcome::Invalid) => "INVALID",
        None => "STOPPED",
    }
}

/// The outcome in a sentence.
pub(crate) fn outcome_text(outcome: Option<StepOutcome>) -> &'static str {
    match outcome {
        Some(StepOutcome::Passed) => "passed",
        Some(StepOutcome::Failed) => "failed",
        Some(StepOutcome::TimedOut) => "timed-out",
        Some(StepOutcome::Skipped) => "skipped",
        Some(StepOutcome::Invalid) => "invalid",
        None => "stopped",
    }
}

/// The verdict in a word.
pub(crate) fn verdict_text(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Passed) => "passed",
        Some(Verdict::Failed) => "failed",
        Some(Verdict::Environment) => "environment",
        Some(Verdict::Invalid) => "invalid",
        Some(Verdict::TimedOut) => "timed-out",
        Some(Verdict::Interrupted) => "interrupted",
        None => "cut-off",
    }
}

/// `12345` as `12 345`: a thin space every three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Whether requests went to more than one service, so that a row must say to which.
pub(crate) fn several_services(summary: &Summary) -> bool {
    let mut services = summary.steps.iter().flat_map(|step| step.clients.keys()).map(|client| &client.service);
    let first = services.next();
    services.any(|service| Some(service) != first)
}

/// What the ending means, as a full sentence.
pub(crate) fn ending_sentence(ending: Ending) -> &'static str {
    let Ending::Finished { verdict, .. } = ending else {
        return "The record stops without a verdict: the run was killed, or it still goes on.";
    };
    match verdict {
        Verdict::Passed => "Every expectation held, and the oracle found no wrong answer.",
        Verdict::Failed => "An expectation did not hold, or the oracle found a wrong answer.",
        Verdict::Environment => "The environment could not run this scenario.",
        Verdict::Invalid => "A fault has no witness that it took effect, so this run proves nothing.",
        Verdict::TimedOut => "A deadline passed before the mesh had settled.",
        Verdict::Interrupted => "The run was stopped before its end.",
    }
}

/// The command that runs the same again.
///
/// The run says it itself; for one that does not, `just e2e NAME` runs `scenarios/NAME.yaml`; every other file needs its path.
pub(crate) fn reproduction(info: &RunInfo) -> String {
    if !info.reproduce.is_empty() {
        return info.reproduce.clone();
    }
    let file = info.scenario_file.as_str();
    let stem = file.strip_suffix(".yaml").and_then(|path| {
        let (folder, stem) = path.rsplit_once('/')?;
        (folder == "scenarios" || folder.ends_with("/scenarios")).then_some(stem)
    });
    match (stem, file) {
        (Some(stem), _) => format!("just e2e {}", quoted(stem)),
        (None, "") => format!("just e2e {}", quoted(&info.scenario)),
        (None, file) => format!("meshbed run {}", quoted(file)),
    }
}

/// `word` as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// `text` without control characters: names and findings come from files and answers, and must not steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { clean.extend(c.escape_default()) } else { clean.push(c) }
    }
    clean
}

/// The same of a text of several lines, such as the end of a log: those after the first begin with `indent`.
pub(crate) fn printable_lines(text: &str, indent: &str) -> String {
    let lines: Vec<String> = text.lines().map(printable).collect();
    lines.join(&format!("\n{indent}"))
}

/// The first `limit` characters of `text`, with an ellipsis when some are missing.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some(_) => text.chars().take(limit.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Equal texts counted, in the order of their first appearance.
pub(crate) fn counted<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<(&'t str, u64)> {
    let mut order: Vec<(&str, u64)> = Vec::new();
    let mut positions = std::collections::BTreeMap::new();
    for text in texts {
        let position = *positions.entry(text).or_insert(order.len());
        match order.get_mut(position) {
            Some((_, count)) => *count += 1,
            None => order.push((text, 1)),
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_of_the_repository_are_reproduced_by_name() {
        let of = |file: &str| {
            reproduction(&RunInfo { scenario: "failover".into(), scenario_file: file.into(), ..RunInfo::default() })
        };
        assert_eq!(of("scenarios/failover.yaml"), "just e2e failover");
        assert_eq!(of("/src/meshbed/scenarios/failover.yaml"), "just e2e failover");
        assert_eq!(of("/tmp/my drill.yaml"), "meshbed run '/tmp/my drill.yaml'");
        assert_eq!(of("scenarios/regression/7-stale.yaml"), "meshbed run scenarios/regression/7-stale.yaml");
        assert_eq!(of(""), "just e2e failover");
    }

    #[test]
    fn durations_keep_their_size_in_view() {
        assert_eq!(duration(Duration::from_micros(412)), "0.41 ms");
        assert_eq!(duration(Duration::from_micros(12_345)), "12.3 ms");
        assert_eq!(duration(Duration::from_micros(1_204_000)), "1.204 s");
        assert_eq!(offset(Micros(2_000), Some(Micros(1_600))), "-0.4 ms");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\nc"), "a\\u{1b}[31mb\\nc");
    }

    #[test]
    fn long_texts_end_in_an_ellipsis() {
        assert_eq!(shortened("abcdef", 4), "abc…");
        assert_eq!(shortened("äöü", 3), "äöü");
    }
}
