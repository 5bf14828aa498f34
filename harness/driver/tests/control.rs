//! Control over a mesh that runs, with a script in place of all programs but etcd. Needs root, etcd, Perl, iproute2 and
//! bpftool.

use std::{
    fs,
    io::Read,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use meshbed_driver::{
    Authority, CertificateName, Control, ControlError, ControlErrorKind, Link, Mesh, ProcessError, RunState, UpOptions,
    Validity, command_in_netns, command_in_node, down, find_run, up,
};
use meshbed_scenario::AgentSpec;
use tokio::time::timeout;

use crate::support::{
    self, assert_gone, etcd_options, is_root, options, round_trip, script, talk, topology, try_reading, try_talk,
};

/// How long nothing must happen for a test to believe that nothing happens.
const NOTHING: Duration = Duration::from_millis(100);

/// A mesh of scripts, and the script's folder; `None` without root or Perl.
async fn mesh() -> Option<(Mesh, tempfile::TempDir)> {
    mesh_with(|_, _| {}).await
}

async fn mesh_with(change: impl FnOnce(&mut UpOptions, &Path)) -> Option<(Mesh, tempfile::TempDir)> {
    let (directory, script) = script().filter(|_| is_root())?;
    let mut options = options(&script);
    change(&mut options, directory.path());
    Some((up(&topology(), options, |_| {}).await.unwrap(), directory))
}

async fn assert_quiet(mesh: &Mesh) {
    let exited = timeout(NOTHING, mesh.exited()).await;
    assert!(exited.is_err(), "what is done on purpose is no failure: {exited:?}");
}

async fn take_down(mesh: Mesh) {
    let run = mesh.state().run.clone();
    mesh.down().await.unwrap();
    assert_gone(&run);
}

/// What the script says to those who connect to the API server on the machine; `None` if it says nothing in time.
fn greeting(state: &RunState) -> std::io::Result<Option<String>> {
    let mut stream = TcpStream::connect(state.clusters[0].api_host_url.strip_prefix("https://").unwrap())?;
    stream.set_read_timeout(Some(NOTHING))?;
    let mut text = String::new();
    Ok(stream.read_to_string(&mut text).ok().map(|_| text))
}

fn process_error<T: std::fmt::Debug>(result: Result<T, ControlError>) -> ProcessError {
    match result.unwrap_err().kind {
        ControlErrorKind::Process(error) => error,
        other => panic!("not about a process: {other:?}"),
    }
}

#[tokio::test]
async fn root_processes_end_and_start_again() {
    let Some((mesh, directory)) = mesh_with(|options, directory| {
        options.env.push(("IGNORE_TERM".to_owned(), directory.join("ignore").display().to_string()));
    })
    .await
    else {
        return;
    };
    let control = mesh.control().clone();
    let agent = "agent-alpha-1";
    let before = control.pid(agent).await.unwrap().unwrap();
    let ended = control.kill(agent).await.unwrap();
    assert_eq!((ended.process.as_str(), ended.pid), (agent, before));
    assert!(!Path::new(&format!("/proc/{before}")).exists(), "not even a zombie is left");
    assert_eq!(control.pid(agent).await.unwrap(), None);
    assert!(matches!(process_error(control.kill(agent).await), ProcessError::NotRunning { .. }));
    let started = control.start(agent).await.unwrap();
    assert_eq!(control.pid(agent).await.unwrap(), Some(started.pid));
    assert!(matches!(process_error(control.start(agent).await), ProcessError::Running { .. }));
    assert!(control.is_running("no-such-thing").await.is_err());

    control.stop("exporter-beta", Duration::from_secs(5)).await.unwrap();
    fs::write(directory.path().join("ignore"), "").unwrap();
    control.start("exporter-beta").await.unwrap();
    let stubborn = control.stop("exporter-beta", NOTHING).await;
    assert!(matches!(process_error(stubborn), ProcessError::NotEnded { .. }));
    assert!(control.is_running("exporter-beta").await.unwrap());
    control.kill("exporter-beta").await.unwrap();

    let state = control.state();
    assert_eq!(greeting(&state).unwrap().as_deref(), Some("greetings"));
    control.kill("apiserver-alpha").await.unwrap();
    let refused = greeting(&state).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "nobody listens while it is gone");
    control.start("apiserver-alpha").await.unwrap();
    assert_eq!(greeting(&state).unwrap().as_deref(), Some("greetings"), "on the same port");
    assert_eq!(find_run(&state.run).unwrap(), Some(control.state()), "what is known is stored");
    assert_quiet(&mesh).await;
    take_down(mesh).await;
}

#[tokio::test]
async fn root_suspended_processes_stand_still() {
    let Some((mesh, _directory)) = mesh().await else { return };
    let control = mesh.control();
    let suspended = control.suspend("apiserver-alpha").await.unwrap();
    assert!(suspended.threads >= 1);
    assert!(control.is_running("apiserver-alpha").await.unwrap());
    assert_eq!(greeting(mesh.state()).unwrap(), None, "the kernel accepts, and nobody answers");
    // etcd has many threads.
    assert!(control.suspend("etcd-alpha").await.unwrap().threads > 3);
    control.resume("etcd-alpha").await.unwrap();
    control.resume("apiserver-alpha").await.unwrap();
    assert_eq!(greeting(mesh.state()).unwrap().as_deref(), Some("greetings"));
    control.suspend("apiserver-alpha").await.unwrap();
    control.kill("apiserver-alpha").await.unwrap();
    assert!(matches!(process_error(control.suspend("apiserver-alpha").await), ProcessError::NotRunning { .. }));
    assert_quiet(&mesh).await;
    take_down(mesh).await;
}

#[tokio::test]
async fn root_frozen_nodes_stand_still() {
    let Some((mesh, _directory)) = mesh().await else { return };
    let control = mesh.control();
    let node = mesh.state().node("alpha", "alpha-1").unwrap();
    let events = || fs::read_to_string(node.cgroup.join("cgroup.events")).unwrap();
    let frozen = control.freeze_node("alpha-1").await.unwrap();
    assert_eq!((frozen.processes, frozen.cgroup.as_path()), (2, node.cgroup.as_path()), "kubelet and agent");
    assert!(events().contains("frozen 1"));
    control.thaw_node("alpha-1").await.unwrap();
    assert!(events().contains("frozen 0"));

    let pod = node.cgroup.join("pods/pod-x");
    fs::create_dir(&pod).unwrap();
    let mut process =
        command_in_netns(&node.netns, Some(&pod), "cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    assert_eq!(control.freeze(&pod).await.unwrap().processes, 1);
    let emptied = control.kill_all(&pod).await.unwrap();
    assert_eq!(emptied.killed, [process.id()], "the frozen die, too");
    process.wait().unwrap();
    assert!(control.freeze(Path::new("/nonexistent")).await.is_err());
    assert_quiet(&mesh).await;
    take_down(mesh).await;
}

/// Everything that decides where packets go in a namespace.
fn dump(netns: &Path) -> String {
    let mut text = String::new();
    for line in ["-o address show", "-o route show table all", "-o rule show"] {
        let output = command_in_netns(netns, None, "ip").args(line.split(' ')).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text += &String::from_utf8(output.stdout).unwrap();
    }
    text
}

/// Talks until it works. For some seconds after a cable was plugged in, neighbours that were being looked for in vain
/// still count as absent, as on any Ethernet.
fn talk_again(from: &Path, to: &Path, address: std::net::Ipv4Addr) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while let Err(error) = try_talk(from, to, address) {
        assert!(std::time::Instant::now() < deadline, "{error:?}");
    }
}

#[tokio::test]
async fn root_cables_are_pulled_and_plugged() {
    let Some((mesh, _directory)) = mesh().await else { return };
    let (control, state) = (mesh.control(), mesh.state());
    let node = |cluster, node| state.node(cluster, node).unwrap();
    let (first, second, remote) = (node("alpha", "alpha-1"), node("alpha", "alpha-2"), node("beta", "beta-1"));
    let namespaces = [&first.netns, &second.netns, &state.clusters[0].netns, &state.wan_netns];
    let before = namespaces.map(|netns| dump(netns));
    talk(&first.netns, &second.netns, second.ip);
    talk(&remote.netns, &first.netns, first.ip);

    let seen = control.node_link("alpha-1", Link::Down).await.unwrap();
    assert_eq!((seen.interface.as_str(), seen.carrier), ("eth0", false));
    assert!(try_talk(&first.netns, &second.netns, second.ip).is_err(), "nothing leaves");
    assert!(try_talk(&remote.netns, &first.netns, first.ip).is_err(), "nothing arrives");
    talk(&remote.netns, &second.netns, second.ip);
    assert!(control.node_link("alpha-1", Link::Up).await.unwrap().carrier);
    talk_again(&remote.netns, &first.netns, first.ip);

    let seen = control.cluster_link("alpha", Link::Down).await.unwrap();
    assert_eq!((seen.interface.as_str(), seen.carrier, &seen.netns), ("cluster1", false, &state.wan_netns));
    assert!(try_talk(&remote.netns, &first.netns, first.ip).is_err());
    talk(&first.netns, &second.netns, second.ip);
    assert!(control.cluster_link("alpha", Link::Up).await.unwrap().carrier);
    talk_again(&remote.netns, &first.netns, first.ip);
    for (netns, before) in namespaces.iter().zip(before) {
        assert_eq!(dump(netns), before, "everything is as it was in {}", netns.display());
    }
    take_down(mesh).await;
}

#[tokio::test]
async fn root_nodes_crash_and_boot() {
    let Some((mesh, _directory)) = mesh().await else { return };
    let (control, state) = (mesh.control(), mesh.state());
    let node = state.node("alpha", "alpha-1").unwrap();
    let peer = state.node("alpha", "alpha-2").unwrap();
    let before = dump(&node.netns);
    // What an agent and a kubelet leave: a pinned map, and the namespace of a pod with a link.
    let in_node = |line: &str| {
        let mut words = line.split(' ');
        let status = command_in_node(node, words.next().unwrap()).args(words).status().unwrap();
        assert!(status.success(), "{line}");
    };
    in_node("bpftool map create /sys/fs/bpf/map type array key 4 value 4 entries 1 name test");
    let pod = PathBuf::from(format!("{}-0a1b2c3d", node.netns.display()));
    assert!(
        Command::new("ip")
            .args(["netns", "add", pod.file_name().unwrap().to_str().unwrap()])
            .status()
            .unwrap()
            .success()
    );
    in_node("ip link add lxc1 type veth peer name lxc2");
    let agent = control.pid("agent-alpha-1").await.unwrap().unwrap();

    let crashed = control.crash_node("alpha-1").await.unwrap();
    assert!(!crashed.link.carrier && crashed.emptied.killed.contains(&agent), "{crashed:?}");
    assert_eq!((crashed.pins, crashed.namespaces), (1, 2), "{crashed:?}");
    assert!(!node.netns.exists() && !pod.exists() && !node.cgroup.exists());
    assert!(!node.bpf_root.join("map").exists());
    assert!(!control.is_running("kubelet-alpha-1").await.unwrap());
    assert!(matches!(control.crash_node("alpha-1").await.unwrap_err().kind, ControlErrorKind::SwitchedOff(_)));
    assert!(control.freeze_node("alpha-1").await.is_err());
    assert!(control.state().switched_off.contains("alpha-1"));
    assert_quiet(&mesh).await;

    let booted = control.boot_node("alpha-1").await.unwrap();
    assert!(booted.link.carrier && booted.started.len() == 2, "{booted:?}");
    assert_eq!(dump(&node.netns), before, "address and routes are as they were");
    assert!(matches!(control.boot_node("alpha-1").await.unwrap_err().kind, ControlErrorKind::SwitchedOn(_)));
    talk_again(&peer.netns, &node.netns, node.ip);
    talk_again(&state.node("beta", "beta-1").unwrap().netns, &node.netns, node.ip);
    assert!(control.is_running("kubelet-alpha-1").await.unwrap() && control.is_running("agent-alpha-1").await.unwrap());

    // A cable that was pulled stays pulled.
    control.node_link("alpha-1", Link::Down).await.unwrap();
    control.crash_node("alpha-1").await.unwrap();
    assert!(!control.boot_node("alpha-1").await.unwrap().link.carrier);
    assert!(control.node_link("alpha-1", Link::Up).await.unwrap().carrier);
    assert_quiet(&mesh).await;
    take_down(mesh).await;
}

/// Value of the key that [`round_trip`] puts, without putting it.
fn look(state: &RunState, cluster: usize) -> Result<String, String> {
    let cluster = &state.clusters[cluster];
    support::get(&cluster.netns, &cluster.etcd_endpoint, etcd_options(cluster, "etcd-client-admin"))
}

fn put(state: &RunState, cluster: usize) {
    let cluster = &state.clusters[cluster];
    round_trip(&cluster.netns, &cluster.etcd_endpoint, etcd_options(cluster, "etcd-client-admin")).unwrap();
}

#[tokio::test]
async fn root_clusters_crash_and_boot() {
    let Some((mesh, _directory)) = mesh().await else { return };
    let (control, state) = (mesh.control(), mesh.state());
    put(state, 0);
    control.crash_node("alpha-2").await.unwrap();
    let crashed = control.crash_cluster("alpha").await.unwrap();
    assert_eq!((crashed.nodes.len(), crashed.control_plane.killed.len()), (1, 3), "{crashed:?}");
    assert!(!crashed.link.carrier);
    for name in ["etcd-alpha", "apiserver-alpha", "exporter-alpha", "agent-alpha-1"] {
        assert!(!control.is_running(name).await.unwrap(), "{name}");
    }
    assert!(control.is_running("etcd-beta").await.unwrap());
    assert_quiet(&mesh).await;

    let booted = control.boot_cluster("alpha").await.unwrap();
    assert_eq!((booted.control_plane.len(), booted.nodes.len()), (3, 2), "{booted:?}");
    assert_eq!(look(state, 0), Ok("value".to_owned()), "etcd has its old data");
    let (alpha, beta) = (state.node("alpha", "alpha-2").unwrap(), state.node("beta", "beta-1").unwrap());
    talk(&beta.netns, &alpha.netns, alpha.ip);
    assert_quiet(&mesh).await;
    take_down(mesh).await;
}

#[tokio::test]
async fn root_an_etcd_loses_everything() {
    let Some((mesh, _directory)) = mesh().await else { return };
    let (control, state) = (mesh.control(), mesh.state());
    put(state, 0);
    let first = control.reset_etcd("alpha").await.unwrap();
    assert_ne!(first.before, first.after);
    assert_eq!(look(state, 0), Err("absent".to_owned()));
    let second = control.reset_etcd("alpha").await.unwrap();
    assert_eq!(second.before, first.after);
    assert!(second.after != first.after && second.after != first.before, "{second:?}");
    assert_eq!(control.etcd_cluster_id("alpha").await.unwrap(), second.after);
    control.restart("etcd-alpha").await.unwrap();
    assert_eq!(control.etcd_cluster_id("alpha").await.unwrap(), second.after, "a restart changes nothing");
    assert_quiet(&mesh).await;
    take_down(mesh).await;
}

#[tokio::test]
async fn root_certificates_run_out_and_come_back() {
    let Some((mesh, _directory)) = mesh().await else { return };
    let (control, state) = (mesh.control(), mesh.state());
    let cluster = &state.clusters[0];
    let files = || {
        let entries = fs::read_dir(&cluster.pki).unwrap().flatten().filter(|entry| entry.path().is_file());
        let mut files: Vec<_> = entries.map(|entry| (entry.path(), fs::read(entry.path()).unwrap())).collect();
        files.sort();
        files
    };
    let connect = || try_reading(&cluster.netns, &cluster.etcd_endpoint, etcd_options(cluster, "remote"));
    let before = files();
    connect().unwrap();
    let cases = [
        (CertificateName::EtcdServer, Validity::Expired, Authority::Own),
        (CertificateName::EtcdServer, Validity::Usual, Authority::Foreign),
        (CertificateName::Remote, Validity::Expired, Authority::Own),
        (CertificateName::Remote, Validity::NotYet, Authority::Own),
        (CertificateName::Remote, Validity::Usual, Authority::Foreign),
        (CertificateName::Ca, Validity::Usual, Authority::Foreign),
    ];
    for case in cases {
        let (name, validity, authority) = case;
        let reissued = control.reissue("alpha", name, validity, authority).await.unwrap();
        assert!(connect().is_err(), "{case:?}");
        let restored = control.restore_certificates("alpha").await.unwrap();
        assert_eq!(restored, reissued.files, "certificate before key: {case:?}");
        assert_eq!(files(), before, "byte for byte: {case:?}");
        connect().unwrap_or_else(|error| panic!("after {case:?}: {error}"));
    }
    // Another one that is good, and the original authority signs although it was replaced.
    control.reissue("alpha", CertificateName::Ca, Validity::Usual, Authority::Foreign).await.unwrap();
    control.reissue("alpha", CertificateName::Remote, Validity::Usual, Authority::Own).await.unwrap();
    assert_eq!(control.restore_certificates("alpha").await.unwrap().len(), 4);
    control.reissue("alpha", CertificateName::Remote, Validity::Usual, Authority::Own).await.unwrap();
    assert_ne!(files(), before);
    connect().unwrap();
    control.restore_certificates("alpha").await.unwrap();
    assert!(control.restore_certificates("alpha").await.unwrap().is_empty(), "there is nothing to put back");
    take_down(mesh).await;
}

#[tokio::test]
async fn root_configurations_of_remote_clusters_change() {
    let Some((mesh, _directory)) = mesh().await else { return };
    let control = mesh.control();
    let config = control.mesh_config("alpha-1", "beta").unwrap();
    let before = config.read().await.unwrap().unwrap();
    assert!(before.contains("https://172.18.2.2:2379"));
    assert_eq!(config.write("garbage").await.unwrap().as_deref(), Some("garbage"));
    assert_eq!(config.remove().await.unwrap().as_deref(), Some("garbage"));
    assert_eq!(config.write(&before).await.unwrap(), Some(before));
    let folder = &mesh.state().node("alpha", "alpha-1").unwrap().clustermesh_dir;
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "no draft is where agents look");
    assert_eq!(control.mesh_config("alpha-1", "unheard-of").unwrap().read().await.unwrap(), None);
    assert!(control.mesh_config("alpha-9", "beta").is_err());
    assert!(control.mesh_config("alpha-1", "../../x").is_err());
    take_down(mesh).await;
}

#[tokio::test]
async fn root_a_kept_mesh_is_controlled_by_others() {
    let Some((mesh, _directory)) = mesh().await else { return };
    let run = mesh.state().run.clone();
    let refused = Control::attach(&run).await.unwrap_err();
    assert!(matches!(refused.kind, ControlErrorKind::Owned { .. }), "{refused:?}");
    mesh.keep().unwrap();
    let control = Control::attach(&run).await.unwrap();
    control.kill("agent-beta-1").await.unwrap();
    control.crash_node("alpha-1").await.unwrap();
    control.kill("apiserver-alpha").await.unwrap();
    drop(control);

    let control = Control::attach(&run).await.unwrap();
    assert!(!control.is_running("agent-beta-1").await.unwrap());
    let started = control.start("agent-beta-1").await.unwrap();
    control.start("apiserver-alpha").await.unwrap();
    assert_eq!(greeting(&control.state()).unwrap().as_deref(), Some("greetings"));
    control.boot_node("alpha-1").await.unwrap();
    drop(control);
    let again = Control::attach(&run).await.unwrap();
    assert_eq!(again.pid("agent-beta-1").await.unwrap(), Some(started.pid), "it outlives whoever started it");
    again.kill("agent-beta-1").await.unwrap();
    down(&run).await.unwrap();
    assert_gone(&run);
    assert!(matches!(Control::attach(&run).await.unwrap_err().kind, ControlErrorKind::NoRun));
}

/// Everything that a description can ask for, by an agent that is a shell script.
const STRANGER: &str = r#"
apiVersion: meshbed.dev/v1alpha1
kind: Agent
name: stranger
description: An agent that is none.
roles:
  setup:
    command: [sh, -c, "echo set up {cluster} {clusterId}; touch {state}/set-up"]
  node:
    command: [sh, "{state}/etc/agent.sh", "{node}", "{nodeIp}"]
    env: {GREETING: "hello {cluster}"}
    files:
    - path: "{state}/etc/agent.sh"
      content: |
        echo "$GREETING from $@ ${{0##*/}} $1"
        grep ^0:: /proc/self/cgroup
        test -e "$(dirname "$0")/../../../exporter/set-up" || exit 4
        echo "pid in root: $(cat {cgroup}/agent/cgroup.procs | wc -l)"
        mkdir -p {bpf}/own/maps && echo "own $(cd {cgroup} && ls -d agent kubelet pods | wc -l)"
        exec sleep 1000
    ready: {exists: "{bpf}/own/maps"}
    timeout: 10s
  exporter:
    command: [perl, -e, "use IO::Socket::INET; my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1:9000', Listen => 5, ReuseAddr => 1); while (my $c = $l->accept) {{ <$c>; print $c \"HTTP/1.1 200 OK\\r\\n\\r\\n\" }}"]
    ready: {http: "http://127.0.0.1:9000/healthz"}
pins: own/maps
capabilities: []
signals: {stop: INT}
needs: {cgroupNamespace: true}
"#;

#[tokio::test]
async fn root_any_agent_is_started_by_its_description() {
    let agent = AgentSpec::parse(STRANGER, "stranger.yaml").unwrap();
    let Some((mesh, _directory)) = mesh_with(|options, _| options.agent = agent).await else { return };
    let (control, state) = (mesh.control(), mesh.state());
    let log = |name: &str| fs::read_to_string(state.logs_dir.join(format!("{name}.log"))).unwrap();
    assert_eq!(log("setup-beta"), "set up beta 2\n");
    let text = log("agent-beta-1");
    assert!(text.contains("hello beta from beta-1 172.18.2.11 agent.sh beta-1\n"), "{text}");
    assert!(text.contains("0::/agent\n"), "the node's cgroup is the root: {text}");
    assert!(text.contains("own 3\n"), "{text}");
    let node = state.node("beta", "beta-1").unwrap();
    assert!(node.pins.is_dir() && node.pins == node.bpf_root.join("own/maps"));
    assert!(state.process("exporter-alpha").is_some() && state.process("setup-alpha").is_none());

    // `sleep` ends by SIGINT as by any other signal; what is asked for is what is sent.
    assert_eq!(state.process("agent-beta-1").unwrap().launch.stop_signal, 2);
    control.restart("agent-beta-1").await.unwrap();
    // It is ready at once, by the folder that the first one left: its greeting comes a moment later.
    let greeted_twice = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while log("agent-beta-1").matches("hello beta").count() < 2 {
            tick.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), greeted_twice).await.expect("it greets again");
    control.crash_node("beta-1").await.unwrap();
    assert!(!node.pins.exists());
    control.boot_node("beta-1").await.unwrap();
    assert!(node.pins.is_dir());
    assert_quiet(&mesh).await;
    take_down(mesh).await;
}

#[tokio::test]
async fn root_an_agent_that_does_not_come_up_says_why() {
    let Some((_directory, script)) = script().filter(|_| is_root()) else { return };
    for (from, to, expected) in [
        ("touch {state}/set-up", "echo no luck; exit 3", "`setup-"),
        ("mkdir -p {bpf}/own/maps &&", "", "was not ready within 300ms"),
        (
            "ready: {exists: \"{bpf}/own/maps\"}\n    timeout: 10s",
            "ready: {exec: [\"false\"]}\n    timeout: 300ms",
            "was not ready within 300ms",
        ),
    ] {
        let text = STRANGER.replace(from, to).replace("timeout: 10s", "timeout: 300ms");
        let mut options = options(&script);
        options.agent = AgentSpec::parse(&text, "stranger.yaml").unwrap();
        let run = options.run.clone();
        let error = up(&topology(), options, |_| {}).await.unwrap_err();
        let mut chain = String::new();
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = source {
            chain += &format!("{error}: ");
            source = error.source();
        }
        assert!(chain.contains(expected), "{chain}");
        assert_gone(&run);
    }
}
