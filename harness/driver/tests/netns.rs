//! The environment itself, with etcd as the only program: needs root, and Debian's `etcd-server`.

use std::{fs, net::Ipv4Addr, path::Path, time::Duration};

use etcd_client::{Certificate, Identity, TlsOptions};
use meshbed_driver::{
    Mesh, NodeState, ProcessRole, RunState, command_in_netns, command_in_node, down, find_run, in_netns, leftovers,
    orphans, preflight, runs, up_network_and_etcd,
};

use crate::support::{
    CONNECT_DEADLINE, assert_gone, etcd_options, is_root, options, progress, round_trip, talk, topology, try_reading,
};

const ABSENT: &str = "/nonexistent/meshbed";
async fn mesh() -> Mesh {
    up_network_and_etcd(&topology(), options(Path::new(ABSENT)), progress()).await.unwrap()
}

fn node<'a>(state: &'a RunState, cluster: &str, node: &str) -> &'a NodeState {
    state.node(cluster, node).unwrap()
}

#[tokio::test]
async fn root_every_node_reaches_every_other() {
    if !is_root() {
        return;
    }
    let mesh = mesh().await;
    let state = mesh.state();
    let nodes: Vec<_> = state.clusters.iter().flat_map(|cluster| &cluster.nodes).collect();
    for from in &nodes {
        for to in &nodes {
            let client = talk(&from.netns, &to.netns, to.ip);
            assert_eq!(client.ip(), from.ip, "nothing on the way may hide who asks");
        }
        for cluster in &state.clusters {
            let client = talk(&from.netns, &cluster.netns, cluster.control_plane_ip);
            assert_eq!(client.ip(), from.ip);
        }
    }
    mesh.down().await.unwrap();
}

/// A bridge takes the lowest address of its ports unless it has one of its own, and then nobody finds it for seconds.
#[tokio::test]
async fn root_who_joins_a_segment_changes_nothing_for_the_others() {
    if !is_root() {
        return;
    }
    let mesh = mesh().await;
    let alpha = &mesh.state().clusters[0];
    // Only whoever is not the lowest itself would lose its way: one of two at least.
    let everybody_arrives = || {
        for from in &alpha.nodes {
            assert_eq!(talk(&from.netns, &alpha.netns, alpha.control_plane_ip).ip(), from.ip);
        }
    };
    everybody_arrives();
    let lowest = "ip link add lowest address 00:00:00:00:00:01 type veth peer name other";
    for line in [lowest, "ip link set lowest master br0 up", "ip link set other up"] {
        let mut words = line.split(' ');
        let mut command = command_in_netns(&alpha.netns, None, words.next().unwrap());
        assert!(command.args(words).status().unwrap().success(), "{line}");
    }
    let begin = std::time::Instant::now();
    everybody_arrives();
    // A lost SYN is sent again after a second: none was lost.
    assert!(begin.elapsed() < Duration::from_secs(1), "it took {:?}", begin.elapsed());
    mesh.down().await.unwrap();
}

/// What a kubelet does for a pod, by hand.
fn add_pod(node: &NodeState, pod: &Path, ip: Ipv4Addr, gateway: Ipv4Addr) {
    let name = pod.file_name().unwrap().to_str().unwrap();
    let run = |netns: Option<&Path>, line: &str| {
        let mut words = line.split(' ');
        let program = words.next().unwrap();
        let mut command = match netns {
            Some(netns) => command_in_netns(netns, None, program),
            None => std::process::Command::new(program),
        };
        assert!(command.args(words).status().unwrap().success(), "{line}");
    };
    run(None, &format!("ip netns add {name}"));
    run(Some(&node.netns), &format!("ip link add lxc1 type veth peer name eth0 netns {name}"));
    run(Some(&node.netns), "ip link set lxc1 up");
    run(Some(&node.netns), &format!("ip address replace {gateway}/32 dev lo"));
    run(Some(&node.netns), &format!("ip route add {ip}/32 dev lxc1"));
    run(Some(pod), &format!("ip address add {ip}/32 dev eth0"));
    run(Some(pod), "ip link set eth0 up");
    run(Some(pod), &format!("ip route add default via {gateway} dev eth0 onlink"));
}

#[tokio::test]
async fn root_pods_reach_pods_of_other_clusters() {
    if !is_root() {
        return;
    }
    let mesh = mesh().await;
    let state = mesh.state();
    let (alpha, beta) = (node(state, "alpha", "alpha-1"), node(state, "beta", "beta-2"));
    let path = |node: &NodeState| format!("{}-0a1b2c3d", node.netns.display());
    let (client, server) = (path(alpha), path(beta));
    let (client, server) = (Path::new(&client), Path::new(&server));
    let (client_ip, server_ip) = (Ipv4Addr::new(10, 1, 1, 2), Ipv4Addr::new(10, 2, 2, 2));
    add_pod(alpha, client, client_ip, Ipv4Addr::new(10, 1, 1, 1));
    add_pod(beta, server, server_ip, Ipv4Addr::new(10, 2, 2, 1));

    assert_eq!(talk(client, server, server_ip).ip(), client_ip);
    assert_eq!(talk(&state.clusters[0].netns, server, server_ip).ip(), state.clusters[0].control_plane_ip);

    let run = state.run.clone();
    let found = leftovers(&run).unwrap();
    assert!(found.iter().any(|what| what.contains("link lxc1 in")), "{found:?}");
    assert!(found.iter().any(|what| what == &format!("namespace {}", client.display())), "{found:?}");
    mesh.down().await.unwrap();
    assert_gone(&run);
}

#[tokio::test]
async fn root_etcd_answers_those_with_a_certificate() {
    if !is_root() {
        return;
    }
    let mesh = mesh().await;
    let state = mesh.state();
    let (alpha, beta) = (&state.clusters[0], &state.clusters[1]);
    let from = &node(state, "alpha", "alpha-1").netns;
    for name in ["etcd-client-root", "etcd-client-admin"] {
        assert_eq!(round_trip(from, &beta.etcd_endpoint, etcd_options(beta, name)), Ok("value".to_owned()), "{name}");
    }
    for name in ["remote", "etcd-client-local"] {
        let refused = round_trip(from, &beta.etcd_endpoint, etcd_options(beta, name)).unwrap_err();
        assert!(refused.contains("permission denied"), "{name}: {refused}");
        try_reading(from, &beta.etcd_endpoint, etcd_options(beta, name)).unwrap();
    }
    let foreign = etcd_options(alpha, "remote").with_tls(
        TlsOptions::new().ca_certificate(Certificate::from_pem(fs::read(beta.pki.join("ca.crt")).unwrap())).identity(
            Identity::from_pem(
                fs::read(alpha.pki.join("remote.crt")).unwrap(),
                fs::read(alpha.pki.join("remote.key")).unwrap(),
            ),
        ),
    );
    let refused = try_reading(from, &beta.etcd_endpoint, foreign).unwrap_err();
    assert!(!refused.contains("permission denied"), "it does not even get so far: {refused}");
    let config = fs::read_to_string(node(state, "alpha", "alpha-1").clustermesh_dir.join("beta")).unwrap();
    assert!(config.starts_with("endpoints:\n- https://172.18.2.2:2379\n"), "{config}");
    assert!(!node(state, "alpha", "alpha-1").clustermesh_dir.join("alpha").exists());
    mesh.down().await.unwrap();
}

#[tokio::test]
async fn root_nothing_is_left_after_down() {
    if !is_root() {
        return;
    }
    let mesh = mesh().await;
    let state = mesh.state().clone();
    assert!(runs().unwrap().contains(&state), "what is stored is what is known");
    assert!(!state.is_abandoned() && state.ready);
    assert!(orphans().unwrap().iter().all(|orphan| orphan.run != state.run));
    let found = leftovers(&state.run).unwrap();
    for what in ["process ", "namespace ", "link eth0 in", "mount ", "cgroup ", "directory "] {
        assert!(found.iter().any(|found| found.starts_with(what)), "no `{what}` in {found:#?}");
    }
    let start = std::time::Instant::now();
    mesh.down().await.unwrap();
    eprintln!("down took {:?}", start.elapsed());
    assert_gone(&state.run);
    assert_eq!(find_run(&state.run).unwrap(), None);
    down(&state.run).await.unwrap();
}

#[tokio::test]
async fn root_down_after_the_harness_was_killed() {
    if !is_root() {
        return;
    }
    let mesh = mesh().await;
    let run = mesh.state().run.clone();
    // A harness that is killed runs no destructors.
    std::mem::forget(mesh);
    down(&run).await.unwrap();
    assert_gone(&run);
}

#[tokio::test]
async fn root_orphans_without_run_json_are_found_and_removed() {
    if !is_root() {
        return;
    }
    let mesh = mesh().await;
    let state = mesh.state().clone();
    std::mem::forget(mesh);
    fs::remove_file(state.run_dir.join("run.json")).unwrap();
    assert_eq!(find_run(&state.run).unwrap(), None);
    assert!(orphans().unwrap().iter().any(|orphan| orphan.run == state.run));
    down(&state.run).await.unwrap();
    assert_gone(&state.run);
}

#[tokio::test]
async fn root_dropping_takes_down() {
    if !is_root() {
        return;
    }
    let mesh = mesh().await;
    let run = mesh.state().run.clone();
    drop(mesh);
    assert_gone(&run);
}

#[tokio::test(flavor = "multi_thread")]
async fn root_giving_up_midway_leaves_nothing() {
    if !is_root() {
        return;
    }
    for after_ms in [0, 1, 3, 5, 10, 15, 20, 30, 50, 80] {
        let options = options(Path::new(ABSENT));
        let run = options.run.clone();
        let topology = topology();
        let bringing_up = up_network_and_etcd(&topology, options, |_| {});
        let outcome = tokio::time::timeout(Duration::from_millis(after_ms), bringing_up).await;
        eprintln!("after {after_ms} ms: {}", if outcome.is_ok() { "was up" } else { "given up" });
        drop(outcome);
        assert_gone(&run);
    }
}

#[tokio::test]
async fn root_kept_runs_stay_until_down() {
    if !is_root() {
        return;
    }
    let state = mesh().await.keep().unwrap();
    assert!(state.kept);
    assert_eq!(find_run(&state.run).unwrap().as_ref(), Some(&state));
    assert!(state.processes.iter().all(|process| process.identity.is_alive()));
    down(&state.run).await.unwrap();
    assert_gone(&state.run);
}

#[tokio::test]
async fn root_ends_are_told_and_processes_start_again() {
    if !is_root() {
        return;
    }
    let mesh = mesh().await;
    let before = mesh.state().process("etcd-alpha").unwrap().clone();
    assert_eq!(before.role, ProcessRole::Etcd);
    mesh.restart("etcd-alpha").await.unwrap();
    let now = mesh.control().state();
    let after = now.process("etcd-alpha").unwrap().clone();
    assert_ne!(before.identity, after.identity);
    assert!(!before.identity.is_alive() && after.identity.is_alive());
    assert_eq!(find_run(&mesh.state().run).unwrap(), Some(now));

    let killed = mesh.state().process("etcd-beta").unwrap().identity.pid.to_string();
    assert!(std::process::Command::new("kill").args(["-KILL", &killed]).status().unwrap().success());
    let exited = tokio::time::timeout(CONNECT_DEADLINE, mesh.exited()).await.unwrap();
    assert_eq!(exited.name, "etcd-beta", "the restart of the other one was no news");
    assert!(exited.status.contains("signal: 9"), "{exited:?}");
    assert!(!exited.log.tail.is_empty());
    assert!(mesh.restart("etcd-gamma").await.is_err());
    mesh.restart("etcd-beta").await.unwrap();
    mesh.down().await.unwrap();
}

#[tokio::test]
async fn root_two_runs_do_not_meet() {
    if !is_root() {
        return;
    }
    let (first, second) = tokio::join!(mesh(), mesh());
    let (gone, stays) = (first.state().run.clone(), second.state().clone());
    first.down().await.unwrap();
    assert_gone(&gone);
    let (from, to) = (node(&stays, "alpha", "alpha-1"), node(&stays, "beta", "beta-1"));
    talk(&from.netns, &to.netns, to.ip);
    assert!(stays.processes.iter().all(|process| process.identity.is_alive()));
    second.down().await.unwrap();
    assert_gone(&stays.run);
}

#[tokio::test]
async fn root_nodes_have_a_bpffs_of_their_own() {
    if !is_root() {
        return;
    }
    let mesh = mesh().await;
    let (first, second) = (node(mesh.state(), "alpha", "alpha-1"), node(mesh.state(), "alpha", "alpha-2"));
    let in_node = |node: &NodeState, script: &str| {
        let output = command_in_node(node, "sh").args(["-c", script]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    in_node(first, "mkdir /sys/fs/bpf/tc");
    assert!(first.bpf_root.join("tc").is_dir(), "seen from the machine");
    assert!(!second.bpf_root.join("tc").exists());
    assert!(!in_node(second, "ls /sys/fs/bpf").contains("tc"));
    assert!(!Path::new("/sys/fs/bpf/tc").exists(), "the machine's own bpffs is left alone");
    let cgroup = in_node(first, "grep ^0:: /proc/self/cgroup");
    assert!(cgroup.trim_end().ends_with("/alpha/alpha-1"), "{cgroup}");

    // A kubelet pins its pods' namespaces from within the node's mount namespace; the machine must see them.
    let pod = format!("{}-0a1b2c3d", first.netns.display());
    in_node(first, &format!("ip netns add {}", pod.rsplit_once('/').unwrap().1));
    let links = in_netns(Path::new(&pod), || fs::read_to_string("/proc/thread-self/net/dev")).unwrap();
    assert!(links.contains("lo:") && !links.contains("eth0:"), "{links}");
    let run = mesh.state().run.clone();
    mesh.down().await.unwrap();
    assert_gone(&run);
}

#[tokio::test]
async fn root_processes_of_others_are_named() {
    if !is_root() {
        return;
    }
    let mesh = mesh().await;
    let run = mesh.state().run.clone();
    // As `ip netns exec` would: in the namespace, but not in the run's cgroup.
    let mut foreign = command_in_netns(&node(mesh.state(), "alpha", "alpha-1").netns, None, "cat")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let error = mesh.down().await.unwrap_err();
    let kind = std::error::Error::source(&error).unwrap().to_string();
    assert!(kind.contains(&format!("process {} (cat)", foreign.id())), "{kind}");
    drop(foreign.stdin.take());
    foreign.wait().unwrap();
    assert_gone(&run);
}

#[test]
fn root_preflight_names_what_is_missing_and_nothing_else() {
    if !is_root() {
        return;
    }
    // It tries mounts over `/run`, in mount namespaces that nobody else is in.
    let mounts = || {
        let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        table.lines().filter(|line| line.split(' ').nth(4) == Some("/run")).count()
    };
    let before = mounts();
    let mut programs = options(Path::new("/bin/true")).programs;
    assert_eq!(preflight(&programs), []);
    programs.etcd = "etcd-that-is-not-there".into();
    let missing = preflight(&programs);
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].what.contains("etcd-that-is-not-there"));
    assert_eq!(mounts(), before);
}
