//! Wrong files, wrong words, a machine that cannot do it.

use std::process::Command;

use crate::meshbed::{meshbed, project, skip, text};

fn lint(content: &str) -> std::process::Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("broken.yaml");
    std::fs::write(&path, content).expect("the folder is writable");
    meshbed().arg("lint").arg(&path).output().expect("meshbed runs")
}

#[test]
fn all_findings_of_a_topology_come_at_once() {
    let output = lint(
        "apiVersion: meshbed.dev/v1alpha1
kind: Topology
name: broken
clusters:
- name: this-name-is-longer-than-32-characters
  id: 1
  nodeCIDR: 172.18.1.0/24
  podCIDR: 10.1.0.0/16
  serviceCIDR: 10.101.0.0/16
  nodes: [{name: a-1}]
- name: beta
  id: 1
  nodeCIDR: 172.18.2.0/24
  podCIDR: 10.1.128.0/17
  serviceCIDR: 10.102.0.0/16
  nodez: [{name: b-1}]
",
    );
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let told = text(&output);
    for finding in ["5:9", "32", "12:7", "already used", "14:", "overlap", "16:3", "nodez", "did you mean"] {
        assert!(told.contains(finding), "`{finding}` is missing:\n{told}");
    }
}

#[test]
fn an_unknown_cluster_is_found_with_its_place() {
    let scenario = std::fs::read_to_string(project().join("scenarios/failover.yaml")).expect("it is there");
    let fixtures = project().canonicalize().expect("the project exists").join("fixtures");
    let broken = scenario
        .replace("../fixtures", &fixtures.display().to_string())
        .replace("answers: {in: beta, from: [beta]}", "answers: {in: betta, from: [beta]}");
    let output = lint(&broken);
    let told = text(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("betta") && told.contains("did you mean `beta`"), "{told}");
}

#[test]
fn an_unknown_scenario_is_a_usage_error_that_names_the_known_ones() {
    let output = meshbed().args(["run", "failovr"]).output().expect("meshbed runs");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("failover"), "{}", text(&output));
}

#[test]
fn root_without_root_the_environment_is_missing() {
    if skip() {
        return;
    }
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(env!("CARGO_BIN_EXE_meshbed"))
        .args(["run", "failover"])
        .current_dir(project())
        .output()
        .expect("setpriv is part of util-linux");
    // A folder of the way here may be closed to others: then nothing was tested.
    if output.status.code() == Some(126) || output.status.code() == Some(127) {
        eprintln!("skipped: {}", text(&output));
        return;
    }
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("root"), "{}", text(&output));
}
