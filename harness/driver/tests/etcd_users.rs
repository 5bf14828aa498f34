//! Who may read and write what in the etcds of a mesh, tried with etcd's own `etcdctl`: needs root, and Debian's
//! `etcd-server` and `etcd-client`.

use std::path::Path;

use meshbed_driver::{CertificateName, ClusterState, Mesh, RunState, command_in_netns, up_network_and_etcd};
use meshbed_scenario::Topology;

use crate::support::{self, assert_gone, is_root, options};

const ABSENT: &str = "/nonexistent/meshbed";
/// What a mesh's etcd holds, copies of remote clusters included: a key of each kind, and something that is none of Cilium's.
const KEYS: [&str; 9] = [
    "cilium/.heartbeat",
    "cilium/cache/services/v1/beta/default/web",
    "cilium/cluster-config/alpha",
    "cilium/cluster-config/alphabet",
    "cilium/cluster-config/beta",
    "cilium/state/services/v1/alpha/default/web",
    "cilium/synced/alpha/services",
    "cilium/synced/beta/services",
    "else",
];

async fn mesh(tls: &str) -> Mesh {
    let text = format!("{}{tls}", support::topology().text());
    let topology = Topology::parse(&text, "two-clusters.yaml").unwrap();
    up_network_and_etcd(&topology, options(Path::new(ABSENT)), |_| {}).await.unwrap()
}

/// Runs `etcdctl` on `cluster` with the certificate called `certificate` of the cluster `of`: its output, or its last words.
fn etcdctl(cluster: &ClusterState, of: &ClusterState, certificate: &str, line: &str) -> Result<String, String> {
    let mut command = command_in_netns(&cluster.netns, None, "etcdctl");
    command.env("ETCDCTL_API", "3").args(["--endpoints", &cluster.etcd_endpoint]).args(["--command-timeout", "3s"]);
    for (flag, file) in [
        ("--cacert", cluster.pki.join("ca.crt")),
        ("--cert", of.pki.join(format!("{certificate}.crt"))),
        ("--key", of.pki.join(format!("{certificate}.key"))),
    ] {
        command.arg(flag).arg(file);
    }
    let output = command.args(line.split(' ').map(|word| if word == "''" { "" } else { word })).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn fill(cluster: &ClusterState) {
    for key in KEYS {
        assert_eq!(etcdctl(cluster, cluster, "etcd-client-root", &format!("put {key} value")), Ok("OK".to_owned()));
    }
}

#[track_caller]
fn assert_denied(outcome: Result<String, String>, what: &str) {
    let refused = outcome.expect_err(what);
    assert!(refused.contains("permission denied"), "{what}: {refused}");
}

/// That `certificate` may read exactly the ranges in `may`, none of those in `may_not`, and write nothing.
#[track_caller]
fn assert_reads(cluster: &ClusterState, certificate: &str, may: &[(&str, usize)], may_not: &[&str]) {
    let ask = |line: &str| etcdctl(cluster, cluster, certificate, line);
    for (range, expected) in may {
        let found =
            ask(&format!("get --keys-only {range}")).unwrap_or_else(|error| panic!("{certificate}: {range}: {error}"));
        assert_eq!(found.lines().filter(|line| !line.is_empty()).count(), *expected, "{certificate}: {range}: {found}");
    }
    for range in may_not {
        assert_denied(ask(&format!("get --keys-only {range}")), &format!("{certificate}: get {range}"));
    }
    for key in KEYS {
        for line in [format!("put {key} other"), format!("del {key}"), format!("del --prefix {key}")] {
            assert_denied(ask(&line), &format!("{certificate}: {line}"));
        }
    }
    for line in ["user list", "role list", "user add more --no-password", "user grant-role remote root", "auth disable"]
    {
        assert_denied(ask(line), &format!("{certificate}: {line}"));
    }
}

/// What agents of other clusters may read of alpha, and no more.
#[track_caller]
fn assert_remote(cluster: &ClusterState, certificate: &str) {
    let may = [
        ("--prefix cilium/.heartbeat", 1),
        ("--prefix cilium/state/", 1),
        ("--prefix cilium/state/services/v1/alpha/", 1),
        ("cilium/cluster-config/alpha", 1),
        ("--prefix cilium/synced/alpha/", 1),
        ("cilium/state/absent", 0),
    ];
    let may_not = [
        "--prefix ''",
        "--from-key ''",
        "--prefix cilium/",
        "--prefix cilium/stat",
        "cilium/state/ cilium/synced/",
        "--prefix cilium/cache/",
        "cilium/cache/services/v1/beta/default/web",
        "--prefix cilium/cluster-config/",
        // A range that begins like the cluster's own name, and the cluster whose name does.
        "--prefix cilium/cluster-config/alpha",
        "cilium/cluster-config/alphabet",
        "cilium/cluster-config/beta",
        "--prefix cilium/synced/",
        "--prefix cilium/synced/beta/",
        "else",
    ];
    assert_reads(cluster, certificate, &may, &may_not);
}

fn alpha(state: &RunState) -> &ClusterState {
    &state.clusters[0]
}

#[tokio::test]
async fn root_remote_reads_only_what_it_may() {
    if !is_root() {
        return;
    }
    let mesh = mesh("").await;
    let alpha = alpha(mesh.state());
    fill(alpha);
    assert_remote(alpha, "remote");
    let rest = etcdctl(alpha, alpha, "etcd-client-root", "get --prefix --keys-only ''").unwrap();
    assert_eq!(rest.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>(), KEYS, "and changed nothing");
    mesh.down().await.unwrap();
}

#[tokio::test]
async fn root_local_reads_copies_and_admin_does_everything() {
    if !is_root() {
        return;
    }
    let mesh = mesh("").await;
    let alpha = alpha(mesh.state());
    fill(alpha);
    let may = [
        ("cilium/.heartbeat", 1),
        ("--prefix cilium/cache/", 1),
        ("--prefix cilium/cluster-config/", 3),
        ("--prefix cilium/synced/", 2),
    ];
    let may_not = ["--prefix ''", "--prefix cilium/", "--prefix cilium/state/", "else"];
    assert_reads(alpha, "etcd-client-local", &may, &may_not);

    let admin = |line: &str| etcdctl(alpha, alpha, "etcd-client-admin", line).unwrap();
    assert_eq!(admin("get --prefix --keys-only ''").lines().filter(|line| !line.is_empty()).count(), KEYS.len());
    assert_eq!(admin("put cilium/state/more value"), "OK");
    assert!(admin("lease grant 60").contains("granted with TTL(60s)"));
    assert_eq!(admin("user list"), "admin-alpha\nlocal-alpha\nremote\nremote-beta\nroot");
    mesh.down().await.unwrap();
}

/// Whatever happens to an etcd, it goes on checking.
#[tokio::test]
async fn root_users_outlive_an_etcd() {
    if !is_root() {
        return;
    }
    let mesh = mesh("").await;
    let (control, alpha) = (mesh.control(), alpha(mesh.state()));
    fill(alpha);
    control.kill("etcd-alpha").await.unwrap();
    control.start("etcd-alpha").await.unwrap();
    assert_remote(alpha, "remote");
    control.restart("etcd-alpha").await.unwrap();
    assert_remote(alpha, "remote");
    for _ in 0..2 {
        control.reset_etcd("alpha").await.unwrap();
        let rest = etcdctl(alpha, alpha, "etcd-client-root", "get --prefix --keys-only ''");
        assert_eq!(rest, Ok(String::new()), "everything is gone");
        fill(alpha);
        assert_remote(alpha, "remote");
    }
    mesh.down().await.unwrap();
}

#[tokio::test]
async fn root_each_cluster_has_a_user_of_its_own() {
    if !is_root() {
        return;
    }
    let mesh = mesh("tls: {ca: mesh, authMode: cluster}\n").await;
    let [alpha, beta] = &mesh.state().clusters[..] else { panic!("two clusters") };
    fill(alpha);
    assert_remote(alpha, "remote-beta");
    assert!(!alpha.pki.join("remote.crt").exists());
    let node = mesh.state().node("beta", "beta-1").unwrap();
    let config = std::fs::read_to_string(node.clustermesh_dir.join("alpha")).unwrap();
    assert!(config.contains("/alpha/pki/remote-beta.crt\n"), "{config}");
    // One authority signs for all, so alpha believes that these are who they say. They are no users of it.
    for certificate in ["etcd-client-admin", "etcd-client-local", "remote-alpha"] {
        let read = "get --prefix cilium/.heartbeat";
        assert_denied(etcdctl(alpha, beta, certificate, read), certificate);
        etcdctl(beta, beta, certificate, read).unwrap();
    }
    etcdctl(alpha, beta, "etcd-client-root", "get else").expect("the harness is the same everywhere");
    let run = mesh.state().run.clone();
    mesh.down().await.unwrap();
    assert_gone(&run);
}

#[tokio::test]
async fn root_certificates_are_rotated_under_a_running_etcd() {
    if !is_root() {
        return;
    }
    for (tls, remote) in [("", "remote"), ("tls: {ca: mesh, authMode: cluster}\n", "remote-beta")] {
        let mesh = mesh(tls).await;
        let (control, alpha) = (mesh.control(), alpha(mesh.state()));
        fill(alpha);
        let pid = control.pid("etcd-alpha").await.unwrap();
        let mut shown = vec![control.presented_serial("alpha").await.unwrap()];
        for _ in 0..2 {
            let [rotated] = &control.rotate("alpha", CertificateName::EtcdServer).await.unwrap()[..] else {
                panic!("one certificate")
            };
            assert_eq!(rotated.before, shown[shown.len() - 1]);
            assert_ne!(rotated.after, rotated.before);
            shown.push(control.presented_serial("alpha").await.unwrap());
            assert_eq!(rotated.after, shown[shown.len() - 1], "it is shown from the next handshake on");
        }
        for name in CertificateName::CLIENTS {
            let file = name.file_names(alpha).remove(0);
            let key = || std::fs::read(alpha.pki.join(format!("{file}.key"))).unwrap();
            let before = key();
            let rotated = control.rotate("alpha", name).await.unwrap();
            assert!(rotated.len() == 1 && rotated.iter().all(|one| one.before != one.after), "{rotated:?}");
            assert_ne!(key(), before, "the key is another one, too");
            etcdctl(alpha, alpha, &file, "get cilium/.heartbeat").unwrap();
        }
        assert_remote(alpha, remote);
        assert_eq!(control.pid("etcd-alpha").await.unwrap(), pid, "nobody was restarted");
        assert!(!alpha.pki.join("saved").exists(), "there is nothing to put back");
        mesh.down().await.unwrap();
    }
}
