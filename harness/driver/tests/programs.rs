//! A whole mesh, with a script in place of our own programs: who is started where, with what, and what happens when
//! one does not come up. Needs root, etcd and Perl (every Debian has `perl-base`).

use std::{error::Error as _, fs, io::Read, net::TcpStream, os::unix::fs::MetadataExt};

use meshbed_driver::{OnFailure, RunState, down, find_run, up};

use crate::support::{assert_gone, is_root, options, progress, script, topology};

fn log(state: &RunState, process: &str) -> String {
    fs::read_to_string(&state.process(process).unwrap().log).unwrap()
}

#[tokio::test]
async fn root_every_program_runs_in_its_place() {
    let Some((_directory, script)) = script().filter(|_| is_root()) else { return };
    let mesh = up(&topology(), options(&script), progress()).await.unwrap();
    let state = mesh.state();
    let mut names: Vec<_> = state.processes.iter().map(|process| process.name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "agent-alpha-1",
        "agent-alpha-2",
        "agent-beta-1",
        "agent-beta-2",
        "apiserver-alpha",
        "apiserver-beta",
        "etcd-alpha",
        "etcd-beta",
        "exporter-alpha",
        "exporter-beta",
        "kubelet-alpha-1",
        "kubelet-alpha-2",
        "kubelet-beta-1",
        "kubelet-beta-2",
        "wan",
    ];
    assert_eq!(names, expected);

    let node = state.node("beta", "beta-2").unwrap();
    for (process, cgroup) in [("agent-beta-2", "agent"), ("kubelet-beta-2", "kubelet")] {
        let log = log(state, process);
        let netns = fs::metadata(&node.netns).unwrap().ino();
        assert!(log.contains(&format!("netns: {netns}\n")), "{log}");
        assert!(log.contains("session: own\n"), "{log}");
        assert!(log.contains(&format!("/{}/beta/beta-2/{cgroup}\n", state.run)), "{log}");
        let bpf_device = fs::metadata(&node.bpf_root).unwrap().dev();
        let device = format!(" {}:{} ", bpf_device >> 8, bpf_device & 0xff);
        assert!(log.contains(&device), "another bpffs than {device} in {log}");
    }
    let wan = log(state, "wan");
    assert!(wan.contains(&format!("netns: {}\n", fs::metadata(&state.wan_netns).unwrap().ino())), "{wan}");
    assert!(wan.contains(&format!("/{}\n", state.run)), "in the run's cgroup, so that the sweep ends it: {wan}");
    assert!(log(state, "agent-beta-2").contains("arguments: run --cluster-name beta --cluster-id 2"));
    let exporter = log(state, "exporter-alpha");
    assert!(exporter.contains(&format!("/{}/alpha/control-plane\n", state.run)), "{exporter}");

    for cluster in &state.clusters {
        let mut stream = TcpStream::connect(cluster.api_host_url.strip_prefix("https://").unwrap()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "greetings", "the listener on the machine is the API server's");
    }
    let run = state.run.clone();
    mesh.down().await.unwrap();
    assert_gone(&run);
}

#[tokio::test]
async fn root_agents_and_servers_start_again() {
    let Some((_directory, script)) = script().filter(|_| is_root()) else { return };
    let mesh = up(&topology(), options(&script), |_| {}).await.unwrap();
    let before = mesh.state().process("agent-alpha-1").unwrap().identity;
    mesh.restart_agent("alpha-1").await.unwrap();
    let after = mesh.control().state().process("agent-alpha-1").unwrap().identity;
    assert!(before != after && after.is_alive());
    // The listener on the machine is still there for the second one.
    mesh.restart("apiserver-alpha").await.unwrap();
    TcpStream::connect(mesh.state().clusters[0].api_host_url.strip_prefix("https://").unwrap()).unwrap();
    mesh.down().await.unwrap();
}

#[tokio::test]
async fn root_a_program_that_fails_is_told_and_everything_removed() {
    let Some((_directory, script)) = script().filter(|_| is_root()) else { return };
    let mut options = options(&script);
    options.env.push(("FAIL".to_owned(), "1".to_owned()));
    let run = options.run.clone();
    let error = up(&topology(), options, |_| {}).await.unwrap_err();
    let source = error.source().and_then(|kind| kind.source()).unwrap().to_string();
    assert!(source.contains("ended before it was ready (exit status: 3)"), "{source}");
    assert!(source.contains("cannot go on"), "the log is part of the error, because it is removed: {source}");
    assert_gone(&run);
}

#[tokio::test]
async fn root_a_run_that_failed_can_be_kept() {
    let Some((_directory, script)) = script().filter(|_| is_root()) else { return };
    let mut options = options(&script);
    options.agent = options.agent.with_program("/nonexistent/agent");
    options.on_failure = OnFailure::Keep;
    let run = options.run.clone();
    up(&topology(), options.clone(), |_| {}).await.unwrap_err();
    let state = find_run(&run).unwrap().unwrap();
    assert!(state.kept && !state.ready);
    assert!(state.process("etcd-alpha").is_some());
    let error = up(&topology(), options, |_| {}).await.unwrap_err();
    assert!(error.source().unwrap().to_string().contains("exists already"), "{error:?}");
    assert_eq!(find_run(&run).unwrap(), Some(state), "the failed second one left the first one alone");
    down(&run).await.unwrap();
    assert_gone(&run);
}
