//! Whatever happens to the harness, nothing stays on the machine.

use nix::sys::signal::Signal;
use test_case::test_case;

use crate::meshbed::{Machine, Running, meshbed, skip, text};

fn run(reports: &tempfile::TempDir) -> Running {
    let mut command = meshbed();
    command.args(["run", "failover", "--reports"]).arg(reports.path());
    Running::start(command)
}

#[test_case("certificates" ; "while the mesh comes up")]
#[test_case("mesh ready" ; "when the mesh is ready")]
#[test_case("( 2/" ; "in the middle of the steps")]
fn root_interrupted_run_leaves_nothing(moment: &str) {
    if skip() {
        return;
    }
    let machine = Machine::now();
    let reports = tempfile::tempdir().expect("a temporary folder");
    let mut running = run(&reports);
    running.until(moment);
    running.signal(Signal::SIGINT);
    assert_eq!(running.end(), Some(130));
    machine.assert_as_before();
}

#[test_case("certificates" ; "while the mesh comes up")]
#[test_case("( 1/" ; "in the middle of the steps")]
fn root_killed_harness_is_cleaned_up_by_down(moment: &str) {
    if skip() {
        return;
    }
    let machine = Machine::now();
    let reports = tempfile::tempdir().expect("a temporary folder");
    let mut running = run(&reports);
    running.until(moment);
    running.signal(Signal::SIGKILL);
    assert_eq!(running.end(), None);
    assert!(!machine.more().is_empty(), "a killed harness leaves its mesh; else this test proves nothing");
    let output = meshbed().arg("down").output().expect("meshbed runs");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    machine.assert_as_before();
    let again = meshbed().arg("down").output().expect("meshbed runs");
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
}
