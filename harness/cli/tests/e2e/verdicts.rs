//! Runs whose verdict is known: each ends with its exit code, and whatever it leaves is well-formed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use meshbed_events::{Event, RunRecord};
use nix::sys::signal::Signal;
use serde_json::Value;
use test_case::test_case;

use crate::meshbed::{Machine, Running, meshbed, project, skip, text};

/// Folder of the scenarios, from the project's.
const SCENARIOS: &str = "harness/cli/tests/scenarios";

fn scenario(name: &str) -> String {
    format!("{SCENARIOS}/{name}.yaml")
}

/// Scenario, more arguments, exit code, verdict in the report, and what the annotations say (nothing for a run that passed).
#[test_case("passes", &[], 0, "passed", "" ; "passed")]
#[test_case("expectation-fails", &[], 1, "failed", "answers" ; "an expectation fails")]
#[test_case("map-tampered", &[], 1, "failed", "alpha/alpha-1" ; "a map is tampered with")]
#[test_case("no-target", &[], 4, "invalid", "nobody" ; "a fault hits nothing")]
#[test_case("never-ready", &[], 5, "timed-out", "never-ready" ; "a deadline passes")]
#[test_case("passes", &["--agent", "harness/cli/tests/scenarios/agents/ends-at-once.yaml"], 3, "environment", "agent-"
            ; "an agent ends at once")]
fn root_verdict(name: &str, more: &[&str], code: i32, verdict: &str, annotated: &str) {
    if skip() {
        return;
    }
    let machine = Machine::now();
    let reports = tempfile::tempdir().expect("a temporary folder");
    let output = meshbed()
        .args(["run", &scenario(name), "--reports"])
        .arg(reports.path())
        .args(more)
        .output()
        .expect("meshbed runs");
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    let annotations = check_reports(&folder(reports.path()), verdict, code);
    if annotated.is_empty() {
        assert_eq!(annotations, "", "a run that passed has nothing to annotate");
    } else {
        assert!(annotations.contains(annotated), "`{annotated}` is not annotated:\n{annotations}");
    }
    machine.assert_as_before();
}

#[test]
fn root_verdict_of_an_interrupted_run() {
    if skip() {
        return;
    }
    let machine = Machine::now();
    let reports = tempfile::tempdir().expect("a temporary folder");
    let mut command = meshbed();
    command.args(["run", &scenario("endless"), "--reports"]).arg(reports.path());
    let mut running = Running::start(command);
    running.until("(1/2)");
    running.signal(Signal::SIGINT);
    assert_eq!(running.end(), Some(130));
    let annotations = check_reports(&folder(reports.path()), "interrupted", 130);
    assert!(annotations.starts_with("::warning"), "{annotations}");
    machine.assert_as_before();
}

/// What ends before there is a run leaves no report.
#[test_case(&["findings"], 2, &["deadline", "alpha", "podKill"] ; "a file with findings")]
#[test_case(&["passes", "--agent", "harness/cli/tests/scenarios/agents/missing.yaml"], 3, &["no-such-agent-program"]
            ; "a program of the agent is missing")]
fn root_verdict_without_a_run(arguments: &[&str], code: i32, told: &[&str]) {
    if skip() {
        return;
    }
    let machine = Machine::now();
    let reports = tempfile::tempdir().expect("a temporary folder");
    let output = meshbed()
        .args(["run", &scenario(arguments[0]), "--reports"])
        .arg(reports.path())
        .args(&arguments[1..])
        .output()
        .expect("meshbed runs");
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    for words in told {
        assert!(text(&output).contains(words), "`{words}` is not told:\n{}", text(&output));
    }
    assert_eq!(fs::read_dir(reports.path()).expect("it is readable").count(), 0, "there was no run to report");
    machine.assert_as_before();
}

/// The folder of the one run.
fn folder(reports: &Path) -> PathBuf {
    let mut runs = fs::read_dir(reports).expect("the run made a folder");
    let folder = runs.next().expect("there is one run").expect("it is readable").path();
    assert!(runs.next().is_none(), "there is only one run");
    folder
}

/// Checks that every report is well-formed and says the verdict; returns the annotations.
fn check_reports(folder: &Path, verdict: &str, code: i32) -> String {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
    };
    check_yaml(&read("report.yaml"), verdict, code);
    check_junit(&read("junit.xml"), code);
    let record = RunRecord::read(read("record.jsonl").as_bytes()).expect("the record is readable");
    let last = record.events.last().map(|stamped| &stamped.event);
    assert!(
        matches!(last, Some(Event::RunFinished { exit_code, .. }) if i32::from(*exit_code) == code),
        "the record ends with {last:?}"
    );
    let annotations = read("annotations.txt");
    for line in annotations.lines() {
        let (head, message) = line.strip_prefix("::").and_then(|line| line.split_once("::")).unwrap_or_default();
        assert!(head.starts_with("error") || head.starts_with("warning"), "no annotation: {line}");
        assert!(!message.is_empty(), "an annotation without words: {line}");
    }
    annotations
}

fn check_yaml(report: &str, verdict: &str, code: i32) {
    let report: Value = serde_saphyr::from_str(report).expect("the report is YAML");
    let schema: Value = serde_json::from_str(&meshbed_report::yaml::schema()).expect("the schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let errors: Vec<String> =
        validator.iter_errors(&report).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "report.yaml is not as its schema says:\n{}", errors.join("\n"));
    assert_eq!(report.pointer("/result/verdict").and_then(Value::as_str), Some(verdict), "{report:#}");
    assert_eq!(report.pointer("/result/exitCode").and_then(Value::as_i64), Some(code.into()), "{report:#}");
}

/// A run that did not pass has something red in JUnit, too.
fn check_junit(junit: &str, code: i32) {
    let report = quick_junit::Report::deserialize_from_str(junit).expect("junit.xml is JUnit");
    assert!(report.tests > 0, "{junit}");
    assert_eq!(report.failures + report.errors > 0, code != 0, "{junit}");
}

#[test]
fn scenarios_with_known_verdicts_are_valid_but_one() {
    let folder = project().join(SCENARIOS);
    for entry in fs::read_dir(&folder).expect("it is there").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let output = meshbed().arg("lint").arg(path.canonicalize().expect("it is there")).output().expect("it runs");
        let expected = if path.ends_with("findings.yaml") { 2 } else { 0 };
        assert_eq!(output.status.code(), Some(expected), "`{}`:\n{}", path.display(), text(&output));
    }
}
