//! Against the real etcd of a mesh: needs root and Debian's `etcd-server`.
#![expect(clippy::print_stderr, reason = "tests tell why they skip")]

use std::{path::Path, time::Duration};

use meshbed_driver::{EtcdRole, KeyRange, Mesh, Programs, RunId, UpOptions, up_network_and_etcd};
use meshbed_etcd::{Etcd, EtcdErrorKind};
use meshbed_scenario::Topology;
use tokio::time::timeout;

const TOPOLOGY: &str = "\
apiVersion: meshbed.dev/v1alpha1
kind: Topology
name: one-cluster
clusters:
- name: alpha
  id: 1
  nodeCIDR: 172.18.1.0/24
  podCIDR: 10.1.0.0/16
  serviceCIDR: 10.101.0.0/16
  nodes: [{name: alpha-1}]
";
/// Long enough for whatever should happen.
const SOON: Duration = Duration::from_secs(5);

/// A mesh of etcd alone and a connection; `None` without root.
async fn mesh() -> Option<(Mesh, Etcd)> {
    if std::fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap() != 0 {
        eprintln!("skipped: needs root for namespaces, mounts and cgroups");
        return None;
    }
    let options = UpOptions::new(RunId::random().unwrap(), Programs::next_to(Path::new("/nonexistent/meshbed")));
    let topology = Topology::parse(TOPOLOGY, "one-cluster.yaml").unwrap();
    let mesh = up_network_and_etcd(&topology, options, |_| {}).await.unwrap();
    let etcd = Etcd::connect(&mesh.state().clusters[0]).await.unwrap();
    Some((mesh, etcd))
}

#[tokio::test]
async fn root_keys_are_read_written_and_watched() {
    let Some((mesh, etcd)) = mesh().await else { return };
    let empty = etcd.list("a/").await.unwrap();
    assert!(empty.entries.is_empty() && empty.revision > 0);
    let mut changes = etcd.watch("a/", Some(empty.revision)).await.unwrap();
    let first = etcd.put("a/1", b"one", None).await.unwrap();
    etcd.put("b/1", b"elsewhere", None).await.unwrap();
    let listed = etcd.list("a/").await.unwrap();
    let entry = etcd.get("a/1").await.unwrap().unwrap();
    assert_eq!(listed.entries, std::slice::from_ref(&entry));
    assert_eq!((entry.key.as_str(), entry.value.as_slice()), ("a/1", &b"one"[..]));
    assert_eq!((entry.mod_revision, entry.lease), (first, 0));
    assert_eq!(etcd.delete("a/1").await.unwrap(), Some(entry.clone()));
    assert_eq!(etcd.delete("a/1").await.unwrap(), None);

    let put = timeout(SOON, changes.next()).await.unwrap().unwrap();
    assert_eq!((put.entry, put.revision), (Some(entry), first));
    let gone = timeout(SOON, changes.next()).await.unwrap().unwrap();
    assert_eq!((gone.key.as_str(), gone.entry), ("a/1", None));
    assert!(gone.at >= put.at && gone.revision > put.revision, "the other key was no change here");
    mesh.down().await.unwrap();
}

#[tokio::test]
async fn root_history_is_forgotten() {
    let Some((mesh, etcd)) = mesh().await else { return };
    let old = etcd.put("a/1", b"one", None).await.unwrap();
    let compacted = etcd.compact().await.unwrap();
    assert!(compacted.revision > old);
    assert_eq!(etcd.list("").await.unwrap().entries.len(), 1, "keys stay, and no marker is left");
    let mut changes = etcd.watch("a/", Some(old - 1)).await.unwrap();
    assert_eq!(timeout(SOON, changes.next()).await.unwrap(), None, "a watch from before is ended");
    etcd.compact().await.unwrap();
    mesh.down().await.unwrap();
}

#[tokio::test]
async fn root_leases_are_lost() {
    let Some((mesh, etcd)) = mesh().await else { return };
    let nothing = etcd.revoke_leases("a/").await.unwrap_err();
    assert!(matches!(nothing.kind, EtcdErrorKind::NoLease), "{nothing:?}");
    let lease = etcd.grant_lease(SOON * 100).await.unwrap();
    etcd.put("a/1", b"one", Some(lease)).await.unwrap();
    etcd.put("b/1", b"two", Some(lease)).await.unwrap();
    etcd.put("a/2", b"stays", None).await.unwrap();
    assert_eq!(etcd.get("a/1").await.unwrap().unwrap().lease, lease);
    let revoked = etcd.revoke_leases("a/").await.unwrap();
    assert_eq!((revoked.leases, revoked.keys), (vec![lease], vec!["a/1".to_owned()]));
    let left: Vec<_> = etcd.list("").await.unwrap().entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!(left, ["a/2"], "all keys of the lease are gone");
    mesh.down().await.unwrap();
}

#[tokio::test]
async fn root_the_connection_comes_back_with_etcd() {
    let Some((mesh, etcd)) = mesh().await else { return };
    etcd.put("a/1", b"one", None).await.unwrap();
    mesh.control().kill("etcd-alpha").await.unwrap();
    let error = etcd.get("a/1").await.unwrap_err();
    assert_eq!(error.to_string(), "failed to get `a/1` in the etcd of cluster `alpha`");
    mesh.control().start("etcd-alpha").await.unwrap();
    // The first request after it may still meet the old connection.
    let again = async {
        let mut tries = tokio::time::interval(Duration::from_millis(20));
        loop {
            tries.tick().await;
            if let Ok(found) = etcd.get("a/1").await {
                return found;
            }
        }
    };
    assert_eq!(timeout(SOON, again).await.unwrap().unwrap().value, b"one");
    mesh.down().await.unwrap();
}

#[tokio::test]
async fn root_a_role_loses_a_right_and_gets_it_back() {
    let Some((mesh, etcd)) = mesh().await else { return };
    etcd.put("cilium/state/a", b"one", None).await.unwrap();
    let remote = Etcd::connect_as(&mesh.state().clusters[0], "remote").await.unwrap();
    assert_eq!(remote.list("cilium/state/").await.unwrap().entries.len(), 1);
    let state = KeyRange::prefix("cilium/state/");
    for _ in 0..2 {
        etcd.revoke_reading(EtcdRole::Remote, &state).await.unwrap();
        let refused = remote.list("cilium/state/").await.unwrap_err();
        assert!(refused.is_permission_denied(), "{refused:?}");
        remote.list("cilium/.heartbeat").await.expect("it has all other rights");
        etcd.grant_reading(EtcdRole::Remote, &state).await.unwrap();
        assert_eq!(remote.list("cilium/state/").await.unwrap().entries.len(), 1);
    }
    let key = KeyRange::Key("cilium/cluster-config/alpha".to_owned());
    remote.get("cilium/cluster-config/alpha").await.unwrap();
    etcd.revoke_reading(EtcdRole::Remote, &key).await.unwrap();
    assert!(remote.get("cilium/cluster-config/alpha").await.unwrap_err().is_permission_denied());
    etcd.grant_reading(EtcdRole::Remote, &key).await.unwrap();
    remote.get("cilium/cluster-config/alpha").await.unwrap();
    etcd.revoke_reading(EtcdRole::Remote, &KeyRange::prefix("cilium/")).await.expect_err("it has no such right");

    mesh.control().kill("etcd-alpha").await.unwrap();
    let gone = remote.list("cilium/state/").await.unwrap_err();
    assert!(!gone.is_permission_denied(), "nobody is there to refuse anything: {gone:?}");
    mesh.down().await.unwrap();
}
