//! A harness that cannot see a broken agent proves nothing: each planted defect must turn the run red and be named.

use crate::meshbed::{Machine, beside, meshbed, skip, text};

/// Runs failover with an agent that has the defect; it must fail and say where.
fn must_fail_naming(defect: &str, names: &[&str]) {
    if skip() {
        return;
    }
    let machine = Machine::now();
    beside("mesh-agent-planted");
    let reports = tempfile::tempdir().expect("a temporary folder");
    let output = meshbed()
        .args(["run", "failover", "--agent", "mesh-agent-planted"])
        .args(["--agent-env", &format!("MESH_AGENT_DEFECT={defect}"), "--reports"])
        .arg(reports.path())
        .output()
        .expect("meshbed runs");
    let told = text(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for name in names {
        assert!(told.contains(name), "`{name}` is not named:\n{told}");
    }
    machine.assert_as_before();
}

#[test]
fn root_dropped_remote_backends_are_found() {
    must_fail_naming("remote-backends-dropped", &["alpha/alpha-1", "default/rebel-base", "10.2."]);
}

#[test]
fn root_kept_dead_backends_are_found() {
    must_fail_naming("dead-backends-kept", &["alpha/alpha-1", "default/rebel-base", "10.1."]);
}

#[test]
fn root_ignored_shared_is_found() {
    must_fail_naming("shared-ignored", &["alpha/alpha-1", "default/rebel-base", "10.2."]);
}
