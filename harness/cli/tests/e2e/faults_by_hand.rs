//! Faults that a person injects into a mesh that was kept, and the live view of it.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use nix::{sys::signal::Signal, unistd::Pid};

use crate::meshbed::{self, Down, Machine, meshbed, run_folder, skip, text};

fn run(arguments: &[&str]) -> Output {
    meshbed().args(arguments).output().expect("meshbed runs")
}

fn succeed(arguments: &[&str]) -> String {
    meshbed::succeed(meshbed().args(arguments))
}

/// Runs it, expects this exit code, and returns everything that it said.
fn fail(code: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output));
    text(&output)
}

fn up() -> Down {
    succeed(&["up"]);
    Down
}

/// Number of the agent's process on a node, as the kernel has it: it is the only one in its cgroup.
fn agent(node: &str) -> Option<i32> {
    let procs = cgroup_of_run().join("alpha").join(node).join("agent/cgroup.procs");
    let pids = std::fs::read_to_string(&procs).expect("the node has a cgroup for its agent");
    pids.lines().next().map(|pid| pid.parse().expect("a process number"))
}

/// The cgroup of the only run.
fn cgroup_of_run() -> PathBuf {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the mount table is readable");
    let roots = mounts.lines().filter(|line| line.split(' ').nth(2) == Some("cgroup2"));
    let roots = roots.map(|line| Path::new(line.split(' ').nth(1).expect("a mount has a target")).join("meshbed"));
    let mut runs = roots.flat_map(|root| std::fs::read_dir(root).into_iter().flatten().flatten());
    runs.find(|entry| entry.path().is_dir()).expect("the mesh is up").path()
}

/// Whether there is such a process; one that ended and was not waited for yet is gone.
fn exists(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

const KILL: &str = "agentKill: {nodes: [alpha-1]}";

#[test]
fn root_fault_by_hand_takes_effect_is_listed_and_healed() {
    if skip() {
        return;
    }
    let machine = Machine::now();
    let down = up();
    let before = agent("alpha-1").expect("the agent runs");
    let told = succeed(&["fault", "inject", KILL, "--as", "dead"]);
    assert!(told.contains("witness: ") && told.contains(&before.to_string()), "{told}");
    assert!(!exists(before), "the agent is gone");
    assert_eq!(agent("alpha-1"), None);
    let listed = succeed(&["fault", "list"]);
    assert!(listed.contains("dead") && listed.contains("in force") && listed.contains(&before.to_string()), "{listed}");
    let status = succeed(&["status"]);
    assert!(status.contains("fault dead: "), "{status}");

    let again = fail(2, &["fault", "inject", "nodeFreeze: {node: alpha-2}", "--as", "dead"]);
    assert!(again.contains("there is a fault `dead` already"), "{again}");
    let unknown = fail(2, &["fault", "heal", "deed"]);
    assert!(unknown.contains("in force: dead"), "{unknown}");

    let healed = succeed(&["fault", "heal", "dead"]);
    let after = agent("alpha-1").expect("the agent runs again");
    assert!(healed.contains(&after.to_string()) && after != before, "{healed}");
    assert!(!succeed(&["fault", "list"]).contains("dead"));
    drop(down);
    machine.assert_as_before();
}

#[test]
fn root_mesh_with_faults_in_force_leaves_nothing() {
    if skip() {
        return;
    }
    let machine = Machine::now();
    let down = up();
    succeed(&["fault", "inject", KILL]);
    succeed(&["fault", "inject", "partition: {from: alpha, to: beta, both: true}"]);
    let listed = succeed(&["fault", "list"]);
    assert!(listed.contains("agent-kill") && listed.contains("partition"), "{listed}");
    let holders = std::fs::read_to_string(cgroup_of_run().join("faults/cgroup.procs")).expect("there are holders");
    let holders: Vec<i32> = holders.lines().map(|pid| pid.parse().expect("a process number")).collect();
    assert_eq!(holders.len(), 2);
    drop(down);
    assert!(holders.into_iter().all(|pid| !exists(pid)), "holders end with the mesh");
    machine.assert_as_before();
}

#[test]
fn root_wrong_faults_are_refused_and_change_nothing() {
    if skip() {
        return;
    }
    let machine = Machine::now();
    let down = up();
    let told = fail(2, &["fault", "inject", "podKill: {clusters: [alfa], deployment: rebel-base}"]);
    assert!(told.contains("1:22") && told.contains("unknown cluster `alfa`") && told.contains("alpha"), "{told}");
    assert!(fail(2, &["fault", "inject", "podKil: {}"]).contains("did you mean `podKill`"));
    let told = fail(4, &["fault", "inject", "podKill: {clusters: [alpha], deployment: rebel-base}"]);
    assert!(told.contains("has no ready pods"), "{told}");
    fail(2, &["fault", "inject", KILL, "--as", "../x"]);
    assert_eq!(succeed(&["fault", "list"]), "");
    drop(down);
    fail(2, &["fault", "list"]);
    machine.assert_as_before();
}

#[test]
fn root_watch_without_a_terminal_prints_changes() {
    if skip() {
        return;
    }
    let machine = Machine::now();
    let down = up();
    let mut command = meshbed();
    let mut watch = command.arg("watch").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("meshbed runs");
    let mut lines = BufReader::new(watch.stdout.take().expect("it was piped")).lines();
    let mut until = |what: &str| {
        let found = lines.by_ref().map(|line| line.expect("it is text")).find(|line| line.contains(what));
        assert!(found.is_some(), "it ended before it said `{what}`");
    };
    until("node alpha-1: ready");
    succeed(&["fault", "inject", KILL, "--as", "dead"]);
    until("fault dead: ");
    succeed(&["fault", "heal", "dead"]);
    until("fault dead: healed");
    drop(down);
    until("the mesh was taken down");
    let mut rest = String::new();
    watch.stderr.take().expect("it was piped").read_to_string(&mut rest).expect("it is text");
    let status = watch.wait().expect("it can be waited for");
    assert_eq!((status.code(), rest.as_str()), (Some(0), ""));
    machine.assert_as_before();
}

/// On a terminal, another screen is left with `q`. `script` of util-linux makes the terminal.
#[test]
fn root_watch_leaves_the_terminal_as_it_was() {
    if skip() {
        return;
    }
    let machine = Machine::now();
    let down = up();
    let program = env!("CARGO_BIN_EXE_meshbed");
    let mut command = Command::new("script");
    command.args(["-qec", &format!("{program} watch; stty -a"), "/dev/null"]).env("TERM", "xterm");
    let Ok(mut script) = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        eprintln!("skipped: script is not installed");
        return;
    };
    let mut output = BufReader::new(script.stdout.take().expect("it was piped"));
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("map entries") {
        let mut byte = [0];
        assert_eq!(output.read(&mut byte).expect("it is readable"), 1, "{}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    let keyboard = script.stdin.as_mut().expect("it was piped");
    std::io::Write::write_all(keyboard, b"q").expect("it reads keys");
    output.read_to_end(&mut seen).expect("it is readable");
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("\x1b[?1049h") && seen.contains("\x1b[?1049l"), "{seen}");
    assert!(seen.contains(" icanon") && seen.contains(" echo "), "{seen}");
    assert!(script.wait().expect("it can be waited for").success());
    drop(down);
    machine.assert_as_before();
}

/// Who interrupts `inject` before it is done leaves no fault behind.
#[test]
fn root_interrupted_inject_leaves_no_fault() {
    if skip() {
        return;
    }
    let machine = Machine::now();
    let down = up();
    let mut command = meshbed();
    command.args(["fault", "inject", KILL, "--as", "dead"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut inject = command.spawn().expect("meshbed runs");
    let file = run_folder().join("faults/dead.json");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !file.exists() && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    let pid = Pid::from_raw(i32::try_from(inject.id()).expect("a process number"));
    nix::sys::signal::kill(pid, Signal::SIGINT).expect("it was not waited for yet");
    let was_interrupted = inject.wait().expect("it can be waited for").code() != Some(0);
    if was_interrupted {
        while file.exists() && std::time::Instant::now() < deadline {
            std::thread::park_timeout(std::time::Duration::from_millis(10));
        }
        assert!(!file.exists() && agent("alpha-1").is_some(), "the fault was undone");
    }
    drop(down);
    machine.assert_as_before();
}
