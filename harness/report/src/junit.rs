//! `junit.xml`, as GitHub, GitLab and Jenkins read it.

use std::time::Duration;

use meshbed_events::{RunRecord, StepOutcome, Verdict};
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite, XmlString};

use crate::{Step, Summary, findings, words};

/// Findings listed in one test case; a broken agent causes one a request.
const FINDINGS_MAX: usize = 100;

/// A report could not be written as XML.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the report as JUnit XML")]
pub struct JunitError {
    #[source]
    source: quick_junit::SerializeError,
}

impl JunitError {
    /// Names the failure.
    pub(crate) fn of(written: Result<String, quick_junit::SerializeError>) -> Result<String, Self> {
        written.map_err(|source| Self { source })
    }
}

/// One suite, one case a step; a case of its own when the mesh did not come up or the run ended between steps.
pub fn report(record: &RunRecord) -> Result<String, JunitError> {
    let summary = Summary::of(record);
    let time = Duration::from_micros(summary.duration.0);
    let mut report = Report::new("meshbed");
    report.set_time(time);
    report.add_test_suite(suite(&summary, time));
    JunitError::of(report.to_string())
}

fn suite(summary: &Summary, time: Duration) -> TestSuite {
    let info = &summary.info;
    let environment = if info.environment.is_empty() { "unknown" } else { &info.environment };
    let mut suite = TestSuite::new(format!("meshbed.{environment}.{}", info.scenario));
    suite.set_time(time);
    // The library wants a type of chrono for its own attribute; ours is RFC 3339 already.
    if !info.started.is_empty() {
        suite.extra.insert(XmlString::new("timestamp"), XmlString::new(&info.started));
    }
    let properties = [
        ("run", &info.run),
        ("scenario", &info.scenario_file),
        ("topology", &info.topology),
        ("environment", &info.environment),
        ("kernel", &info.kernel),
        ("agent", &info.agent),
        ("version", &info.version),
    ];
    suite.add_property(Property::new("seed", info.seed.to_string()));
    suite.add_property(Property::new("repeat", info.repeat.to_string()));
    suite.add_properties(properties.map(|(name, value)| Property::new(name, value)));
    suite.add_property(Property::new("verdict", words::verdict_text(summary.verdict())));
    suite.add_property(Property::new("reproduce", words::reproduction(info)));
    if let Some(case) = bring_up(summary) {
        suite.add_test_case(case);
    }
    suite.add_test_cases(summary.steps.iter().map(|step| case(summary, step)));
    if let Some(case) = outside(summary) {
        suite.add_test_case(case);
    }
    suite
}

/// The case that fails when the run ended before its first step; without it such a run would have no failure.
fn bring_up(summary: &Summary) -> Option<TestCase> {
    let began = summary.steps.iter().any(|step| step.started.is_some());
    if began || summary.verdict() == Some(Verdict::Passed) {
        return None;
    }
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message(words::ending_sentence(summary.ending)).set_type(words::verdict_text(summary.verdict()));
    let reached = summary.progress.iter().chain(&summary.notes);
    let lines: Vec<_> = reached.map(|note| format!("{} {}", note.at, note.text)).collect();
    status.set_description(lines.join("\n"));
    let mut case = TestCase::new("mesh comes up", status);
    place(summary, &mut case, None);
    case.set_time(Duration::from_micros(summary.duration.0));
    Some(case)
}

/// The case that fails for what the oracle found between steps.
fn outside(summary: &Summary) -> Option<TestCase> {
    let lines = limited(findings::violations(summary, None));
    if lines.is_empty() {
        return None;
    }
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_message("wrong answers or errors between steps").set_type("violation").set_description(lines.join("\n"));
    let mut case = TestCase::new("between steps", status);
    place(summary, &mut case, None);
    Some(case)
}

fn case(summary: &Summary, step: &Step) -> TestCase {
    let details = details(summary, step);
    let mut case = TestCase::new(&step.name, status(summary, step, &details));
    let line = failed_line(step).or_else(|| line_of(&summary.info.scenario_file, &details).map(str::to_owned));
    place(summary, &mut case, line.as_deref());
    case.set_assertions(step.expectations.len());
    let until_end = || Some(summary.duration.since(step.started?));
    case.set_time(step.duration().or_else(until_end).unwrap_or_default());
    if let Some(settle) = step.settle_time() {
        case.add_property(Property::new("settle-time", words::duration(settle)));
    }
    case
}

fn status(summary: &Summary, step: &Step, details: &[String]) -> TestCaseStatus {
    let kind = match step.outcome {
        // A violation may be found after the step's verdict: its answer came late.
        Some(StepOutcome::Passed) if summary.violations_of(step.index).next().is_none() => {
            return TestCaseStatus::success();
        }
        Some(StepOutcome::Skipped) => return TestCaseStatus::skipped(),
        Some(StepOutcome::Passed | StepOutcome::Failed | StepOutcome::TimedOut) => NonSuccessKind::Failure,
        Some(StepOutcome::Invalid) | None => NonSuccessKind::Error,
    };
    let mut status = TestCaseStatus::non_success(kind);
    let message = match (step.outcome, details.first()) {
        (None, _) => words::ending_sentence(summary.ending),
        (_, Some(first)) => first.as_str(),
        (outcome, None) => words::outcome_text(outcome),
    };
    status.set_message(message).set_type(words::outcome_text(step.outcome));
    let command = format!("reproduce with: {}", words::reproduction(&summary.info));
    let lines: Vec<_> = details.iter().cloned().chain([command]).collect();
    status.set_description(lines.join("\n"));
    status
}

/// What did not go well in a step, one line a finding.
fn details(summary: &Summary, step: &Step) -> Vec<String> {
    limited(findings::of_step(summary, step).into_iter().map(|finding| finding.text).collect())
}

/// The first lines, and how many there are more.
fn limited(mut lines: Vec<String>) -> Vec<String> {
    let hidden = lines.len().saturating_sub(FINDINGS_MAX);
    lines.truncate(FINDINGS_MAX);
    lines.extend((hidden > 0).then(|| format!("and {hidden} more")));
    lines
}

fn place(summary: &Summary, case: &mut TestCase, line: Option<&str>) {
    case.set_classname(format!("mesh.{}", summary.info.scenario));
    if !summary.info.scenario_file.is_empty() {
        case.extra.insert(XmlString::new("file"), XmlString::new(&summary.info.scenario_file));
    }
    if let Some(line) = line {
        case.extra.insert(XmlString::new("line"), XmlString::new(line));
    }
}

/// The line of the scenario file where the first failed expectation stands, or the step.
fn failed_line(step: &Step) -> Option<String> {
    let place = step.failed_expectations().find_map(|one| one.place.as_ref()).or(step.place.as_ref())?;
    (place.line > 0).then(|| place.line.to_string())
}

/// The line of the scenario file that a finding names as `file:line`.
fn line_of<'d>(file: &str, details: &'d [String]) -> Option<&'d str> {
    if file.is_empty() {
        return None;
    }
    details.iter().find_map(|detail| {
        let (_, behind) = detail.split_once(file)?;
        let digits = behind.strip_prefix(':')?;
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits.get(..end).filter(|line| !line.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_taken_from_findings() {
        let findings = ["scenarios/failover.yaml:41:5 answers: …".to_owned()];
        assert_eq!(line_of("scenarios/failover.yaml", &findings), Some("41"));
        assert_eq!(line_of("scenarios/other.yaml", &findings), None);
    }
}
