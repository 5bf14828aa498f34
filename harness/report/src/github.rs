//! Workflow commands of GitHub Actions: lines on stdout that become annotations on the lines of a pull request.

use meshbed_events::{RunRecord, Verdict};

use crate::findings::{self, Finding};
use crate::{Summary, words};

/// Annotations of one run. GitHub shows ten of a kind for each step of a job; more only fill the log.
const ANNOTATIONS_MAX: usize = 50;

/// One `::error …` line for each finding, without line ends; empty when the run passed.
///
/// A run that proves nothing (invalid, interrupted, cut off) has a `::warning …`.
pub fn annotations(record: &RunRecord) -> Vec<String> {
    let summary = Summary::of(record);
    let found = findings::all(&summary);
    let mut lines: Vec<String> = found.iter().take(ANNOTATIONS_MAX).map(|finding| error(&summary, finding)).collect();
    let hidden = found.len().saturating_sub(ANNOTATIONS_MAX);
    let file = &summary.info.scenario_file;
    if hidden > 0 {
        lines.push(command("error", file, None, &title(&summary, None), &format!("and {hidden} more findings")));
    }
    let level = match summary.verdict() {
        Some(Verdict::Passed) => return lines,
        Some(Verdict::Failed | Verdict::TimedOut | Verdict::Environment) => "error",
        Some(Verdict::Invalid | Verdict::Interrupted) | None => "warning",
    };
    if lines.is_empty() || level == "warning" {
        let note = summary.notes.last().map(|note| format!(" {}", note.text)).unwrap_or_default();
        let message = format!("{}{note}\n{}", words::ending_sentence(summary.ending), reproduce(&summary));
        lines.push(command(level, file, None, &title(&summary, None), &message));
    }
    lines
}

fn error(summary: &Summary, finding: &Finding) -> String {
    let place = finding.place.as_ref().filter(|place| !place.file.is_empty());
    let file = place.map_or(summary.info.scenario_file.as_str(), |place| &place.file);
    let message = format!("{}\n{}", finding.text, reproduce(summary));
    let at = place.map(|place| (place.line, place.column));
    command("error", file, at, &title(summary, finding.step.as_deref()), &message)
}

fn title(summary: &Summary, step: Option<&str>) -> String {
    match step {
        Some(step) => format!("{}: {step}", summary.info.scenario),
        None => summary.info.scenario.clone(),
    }
}

fn reproduce(summary: &Summary) -> String {
    format!("reproduce with: {}", words::reproduction(&summary.info))
}

fn command(level: &str, file: &str, at: Option<(usize, usize)>, title: &str, message: &str) -> String {
    let mut properties = Vec::new();
    if !file.is_empty() {
        properties.push(format!("file={}", property(file)));
    }
    if let Some((line, column)) = at.filter(|(line, _)| *line > 0) {
        properties.push(format!("line={line}"));
        if column > 0 {
            properties.push(format!("col={column}"));
        }
    }
    properties.push(format!("title={}", property(title)));
    format!("::{level} {}::{}", properties.join(","), data(message))
}

/// What may stand behind the second `::`.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// What may stand between commas.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_ends_a_command() {
        let line = command("error", "a,b:c.yaml", Some((3, 5)), "50%: x", "one\r\ntwo, 100%::done");
        assert_eq!(line, "::error file=a%2Cb%3Ac.yaml,line=3,col=5,title=50%25%3A x::one%0D%0Atwo, 100%25::done");
    }
}
