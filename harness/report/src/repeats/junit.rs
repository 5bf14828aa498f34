//! Repeats as JUnit XML: a case for each expectation, with a rerun for each run in which it failed.

use std::time::Duration;

use quick_junit::{FlakyOrRerun, NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestRerun, TestSuite};

use super::{ExpectationRate, RepeatSummary};
use crate::junit::JunitError;
use crate::words;

/// Reruns written for one expectation: all say much the same.
const RERUNS_MAX: u64 = 10;

/// One suite; an expectation that held in some runs and failed in others is a failure with reruns, and has the
/// property `flaky`.
pub fn junit(repeats: &RepeatSummary) -> Result<String, JunitError> {
    let mut suite = TestSuite::new(format!("meshbed.repeats.{}", repeats.scenario));
    let time: Duration = repeats.runs.iter().map(|run| run.duration).sum();
    suite.set_time(time);
    suite.add_properties([
        Property::new("agent", &repeats.agent),
        Property::new("environment", &repeats.environment),
        Property::new("kernel", &repeats.kernel),
        Property::new("runs", repeats.runs.len().to_string()),
        Property::new("passed", repeats.passed().to_string()),
    ]);
    for rate in &repeats.expectations {
        suite.add_test_case(case(repeats, rate));
    }
    for run in repeats.runs.iter().filter(|run| run.verdict != Some(meshbed_events::Verdict::Passed)) {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(&run.finding).set_type(words::verdict_text(run.verdict));
        status.set_description(format!("{}\nreproduce with: {}", run.finding, run.reproduce));
        let mut case = TestCase::new(format!("run {} (repeat {})", run.run, run.repeat + 1), status);
        case.set_classname(format!("mesh.{}", repeats.scenario)).set_time(run.duration);
        suite.add_test_case(case);
    }
    let mut report = Report::new("meshbed");
    report.set_time(time);
    report.add_test_suite(suite);
    JunitError::of(report.to_string())
}

fn case(repeats: &RepeatSummary, rate: &ExpectationRate) -> TestCase {
    let status = if rate.failed == 0 {
        TestCaseStatus::success()
    } else {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        let message = format!("failed in {} of {} runs: {}", rate.failed, rate.held + rate.failed, rate.finding);
        status.set_message(&message).set_type(if rate.flaky() { "flaky" } else { "failed" });
        status.set_rerun_kind(if rate.flaky() { FlakyOrRerun::Flaky } else { FlakyOrRerun::Rerun });
        for _ in 1..rate.failed.min(RERUNS_MAX) {
            let mut rerun = TestRerun::new(NonSuccessKind::Failure);
            rerun.set_message(&rate.finding).set_type("failed");
            status.add_rerun(rerun);
        }
        status
    };
    let mut case = TestCase::new(format!("{}: {}", rate.step_name, rate.text), status);
    case.set_classname(format!("mesh.{}", repeats.scenario));
    if rate.flaky() {
        case.add_property(Property::new("flaky", format!("{:.1}% held", rate.percent())));
    }
    case
}
