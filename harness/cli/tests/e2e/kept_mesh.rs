//! A mesh that stays up, used with tools that we did not write.

use std::{
    path::Path,
    process::{Command, Output},
};

use crate::meshbed::{assert_nothing_left, meshbed, skip, text};

/// Takes the mesh down however the test ends.
struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        let output = meshbed().arg("down").output().expect("meshbed runs");
        assert!(output.status.success() || std::thread::panicking(), "{}", text(&output));
    }
}

fn succeed(output: Output) -> String {
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn kubectl(kubeconfig: &Path, arguments: &[&str]) -> String {
    let output = Command::new("kubectl").arg("--kubeconfig").arg(kubeconfig).args(arguments).output();
    succeed(output.expect("kubectl is there"))
}

fn kubectl_is_missing() -> bool {
    let missing = Command::new("kubectl").arg("version").arg("--client").output().is_err();
    if missing {
        eprintln!("skipped: kubectl is not installed");
    }
    missing
}

#[test]
fn root_kept_mesh_serves_kubectl_exec_and_bpftool() {
    if skip() || kubectl_is_missing() {
        return;
    }
    succeed(meshbed().arg("up").output().expect("meshbed runs"));
    let down = Down;
    let folder = tempfile::tempdir().expect("a temporary folder");
    for cluster in ["alpha", "beta"] {
        let config = succeed(meshbed().args(["kubeconfig", cluster]).output().expect("meshbed runs"));
        std::fs::write(folder.path().join(cluster), config).expect("the folder is writable");
    }
    let manifests = crate::meshbed::project().join("fixtures/manifests/star-wars");
    for cluster in ["alpha", "beta"] {
        let config = folder.path().join(cluster);
        for file in ["services.yaml".to_owned(), format!("{cluster}.yaml")] {
            kubectl(&config, &["apply", "-f", &manifests.join(file).display().to_string()]);
        }
        kubectl(&config, &["rollout", "status", "--timeout=30s", "deployment/rebel-base"]);
        kubectl(&config, &["rollout", "status", "--timeout=30s", "deployment/x-wing"]);
        kubectl(&config, &["annotate", "service", "rebel-base", "service.cilium.io/global=true"]);
    }
    describe_shows_local_endpoints_only(&folder.path().join("alpha"));
    both_clusters_answer();
    let status = succeed(meshbed().arg("status").output().expect("meshbed runs"));
    assert!(status.contains("cluster alpha (ID 1)") && status.contains("rebel-base-"), "{status}");
    drop(down);
    assert_nothing_left();
}

fn describe_shows_local_endpoints_only(kubeconfig: &Path) {
    let described = kubectl(kubeconfig, &["describe", "service", "rebel-base"]);
    let endpoints = described.lines().find(|line| line.starts_with("Endpoints:")).expect("describe lists endpoints");
    assert!(endpoints.contains("10.1.") && !endpoints.contains("10.2."), "{described}");
}

/// Asks until both clusters have answered; a fresh annotation needs a moment to arrive.
fn both_clusters_answer() {
    let mut answers = String::new();
    let both = |answers: &str| answers.contains("Cluster-1") && answers.contains("Cluster-2");
    for _ in 0..ASKED_MAX {
        let output = meshbed().args(["exec", "alpha/x-wing", "--", "curl", "-s", "rebel-base"]).output();
        answers.push_str(&succeed(output.expect("meshbed runs")));
        if both(&answers) {
            return;
        }
    }
    panic!("after {ASKED_MAX} requests only these answers:\n{answers}");
}

/// Chance that one of two equally likely answers never comes in so many requests: below one in a billion.
const ASKED_MAX: usize = 40;
