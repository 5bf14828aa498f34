//! Each planted defect of reader and writer does what its name says. Without, the same steps come out right.

use std::time::Duration;

use etcd_client::CompactionOptions;
use mesh_kvstore::{Exporter, RemoteCluster, RemoteEvent, Write};
use mesh_planted::{Defect, plant_here};
use mesh_wire::{ClusterConfig, HEARTBEAT, Key, Layout, Resource};
use test_case::test_case;
use tokio::sync::mpsc;

use crate::{LIMIT, alpha, complete, event, exporter, id, put, reader, send, server::Etcd, service, soon, until};

/// What has not come after so long does not come: without the defect it takes a few milliseconds.
const SILENCE: Duration = Duration::from_millis(700);

/// The next event, or `-` when there is none.
async fn event_or_silence(events: &mut mpsc::Receiver<RemoteEvent>) -> String {
    tokio::time::timeout(SILENCE, event(events)).await.unwrap_or_else(|_| "-".to_owned())
}

/// An etcd with `web`, a canary and a heartbeat that nobody but the test changes, and a reader that knows it all.
async fn read_by_hand() -> Option<(Etcd, RemoteCluster, mpsc::Receiver<RemoteEvent>)> {
    let etcd = Etcd::start().await?;
    let mut client = etcd.client().await;
    let (key, value) = service("web", "10.1.1.1");
    client.put(key, value, None).await.expect("put");
    let config = ClusterConfig::exported(id(1), LIMIT).encode();
    client.put(Key::ClusterConfig(alpha()).to_string(), config, None).await.expect("put");
    client.put(Key::synced(Layout::State, &alpha(), Resource::Services).to_string(), "", None).await.expect("put");
    client.put(HEARTBEAT, "", None).await.expect("put");
    let (reader, mut events) = reader(&etcd);
    for expected in ["web=10.1.1.1", "synced"] {
        assert_eq!(event(&mut events).await, expected);
    }
    Some((etcd, reader, events))
}

/// A writer with `web` and `api`, all written.
async fn written(etcd: &Etcd) -> Exporter {
    let exporter = exporter(etcd);
    send(&exporter, [put("web", "10.1.1.1"), put("api", "10.1.1.2")].into_iter().chain(complete())).await;
    soon("all written", exporter.ready()).await;
    exporter
}

/// Names of the services in the etcd.
async fn services(etcd: &Etcd) -> Vec<String> {
    let keys = etcd.keys().await;
    let name = |key: &str| key.strip_prefix("cilium/state/services/v1/alpha/default/").map(str::to_owned);
    keys.iter().filter_map(|entry| name(entry.key_str().expect("text"))).collect()
}

#[test_case(None, "-" ; "right")]
#[test_case(Some(Defect::RemoteRemovedTooEarly), "web gone" ; "at once")]
#[test_case(Some(Defect::DeadClusterForgotten), "web gone" ; "after two seconds")]
#[tokio::test]
async fn etcd_that_is_gone(defect: Option<Defect>, expected: &str) {
    let _planting = plant_here(defect);
    let Some((mut etcd, reader, mut events)) = read_by_hand().await else { return };
    etcd.kill();
    until(&reader, "the first failure", |status| status.num_failures > 0).await;
    if defect == Some(Defect::DeadClusterForgotten) {
        assert_eq!(event_or_silence(&mut events).await, "-", "not at once");
    }
    // By then more than two seconds have passed.
    until(&reader, "many failures", |status| status.num_failures > 8).await;
    assert_eq!(event_or_silence(&mut events).await, expected);
}

#[test_case(None, "web=10.1.1.7" ; "right")]
#[test_case(Some(Defect::WatchStuckAfterCompaction), "-" ; "wrong")]
#[tokio::test]
async fn etcd_compacted_while_away(defect: Option<Defect>, expected: &str) {
    let _planting = plant_here(defect);
    let Some((mut etcd, reader, mut events)) = read_by_hand().await else { return };
    etcd.kill();
    until(&reader, "the failure", |status| status.num_failures > 0).await;
    etcd.restart_elsewhere().await;
    let mut client = etcd.client().await;
    for backend in ["10.1.1.6", "10.1.1.7"] {
        let (key, value) = service("web", backend);
        client.put(key, value, None).await.expect("put");
    }
    let revision = client.get(HEARTBEAT, None).await.expect("read").header().expect("header").revision();
    client.compact(revision, Some(CompactionOptions::new().with_physical())).await.expect("compacted");
    etcd.write_config();
    reader.reconnect();
    until(&reader, "ready again", |status| status.ready).await;
    let mut told = event(&mut events).await;
    if told == "synced" {
        told = event_or_silence(&mut events).await;
    }
    assert_eq!(told, expected);
}

#[test_case(None, "web=10.1.1.7" ; "right")]
#[test_case(Some(Defect::WatchStuckAfterCompaction), "web=10.1.1.7" ; "not compacted, not stuck")]
#[tokio::test]
async fn etcd_changed_while_away(defect: Option<Defect>, expected: &str) {
    let _planting = plant_here(defect);
    let Some((mut etcd, reader, mut events)) = read_by_hand().await else { return };
    etcd.kill();
    until(&reader, "the failure", |status| status.num_failures > 0).await;
    etcd.restart().await;
    let (key, value) = service("web", "10.1.1.7");
    etcd.client().await.put(key, value, None).await.expect("put");
    let mut told = event(&mut events).await;
    while told != expected {
        told = event(&mut events).await;
    }
}

#[test_case(None, "-" ; "right")]
#[test_case(Some(Defect::CanaryIgnored), "web=10.1.1.1" ; "wrong")]
#[tokio::test]
async fn etcd_without_canary(defect: Option<Defect>, expected: &str) {
    let _planting = plant_here(defect);
    let Some(etcd) = Etcd::start().await else { return };
    let exporter = exporter(&etcd);
    send(&exporter, [put("web", "10.1.1.1")]).await;
    soon("the service", async { while services(&etcd).await.is_empty() {} }).await;
    let (reader, mut events) = reader(&etcd);
    until(&reader, "the connection", |status| status.connected).await;
    assert_eq!(event_or_silence(&mut events).await, expected);
}

#[test_case(None, true ; "right")]
#[test_case(Some(Defect::ConfigChangeIgnored), false ; "wrong")]
#[tokio::test]
async fn etcd_that_moves(defect: Option<Defect>, found: bool) {
    let _planting = plant_here(defect);
    let Some((mut etcd, reader, _events)) = read_by_hand().await else { return };
    etcd.kill();
    until(&reader, "the failure", |status| status.num_failures > 0).await;
    etcd.restart_elsewhere().await;
    etcd.write_config();
    reader.reconnect();
    let status = until(&reader, "an end", |status| status.ready || status.num_failures > 5).await;
    assert_eq!(status.ready, found, "{status:?}");
}

#[test_case(None, true ; "right")]
#[test_case(Some(Defect::LeaseNotUsed), false ; "wrong")]
#[tokio::test]
async fn etcd_keys_have_leases(defect: Option<Defect>, expected: bool) {
    let _planting = plant_here(defect);
    let Some(etcd) = Etcd::start().await else { return };
    let _exporter = written(&etcd).await;
    let keys = etcd.keys().await;
    assert!(keys.iter().all(|entry| (entry.lease() != 0) == expected), "{keys:?}");
}

#[tokio::test]
async fn etcd_keys_vanish_when_their_lease_is_not_kept() {
    let _planting = plant_here(Defect::LeaseNotKept);
    let Some(etcd) = Etcd::start().await else { return };
    let _exporter = written(&etcd).await;
    let (key, _) = service("web", "");
    let mut watch = etcd.watch(&key).await;
    assert_eq!(soon("the end of the lease", watch.next()).await, None);
    let silence = tokio::time::timeout(SILENCE, watch.next()).await;
    assert!(silence.is_err(), "nobody notices: {silence:?}");
}

#[test_case(None, &["api", "web"] ; "right")]
#[test_case(Some(Defect::KeysNotRewritten), &[] ; "wrong")]
#[tokio::test]
async fn etcd_that_lost_its_data(defect: Option<Defect>, expected: &[&str]) {
    let _planting = plant_here(defect);
    let Some(mut etcd) = Etcd::start().await else { return };
    let _exporter = written(&etcd).await;
    etcd.kill();
    etcd.restart_empty().await;
    // Canaries come last.
    let canary = Key::synced(Layout::State, &alpha(), Resource::Identities).to_string();
    soon("the canaries", async { while !etcd.keys().await.iter().any(|entry| entry.key() == canary.as_bytes()) {} })
        .await;
    assert_eq!(services(&etcd).await, expected);
}

#[test_case(None, &["new", "web"] ; "right")]
#[test_case(Some(Defect::ExporterNeverDeletes), &["api", "new", "web"] ; "wrong")]
#[tokio::test]
async fn etcd_deletions(defect: Option<Defect>, expected: &[&str]) {
    let _planting = plant_here(defect);
    let Some(etcd) = Etcd::start().await else { return };
    let exporter = written(&etcd).await;
    let (key, _) = service("api", "");
    send(&exporter, [Write::Delete { key }, put("new", "10.1.1.3")]).await;
    soon("both written", async { while services(&etcd).await != expected {} }).await;
    // What an earlier life left is not pruned either.
    drop(exporter);
    let exporter = crate::exporter(&etcd);
    send(&exporter, [put("web", "10.1.1.1"), put("new", "10.1.1.3")].into_iter().chain(complete())).await;
    soon("all written", exporter.ready()).await;
    assert_eq!(services(&etcd).await, expected);
}

/// Whether a change is exported by a first and by a second exporter.
#[test_case(None, [true, true] ; "right")]
#[test_case(Some(Defect::ExporterMissesUpdatesAfterReconnect), [true, false] ; "wrong")]
#[tokio::test]
async fn etcd_updates_after_a_restart(defect: Option<Defect>, expected: [bool; 2]) {
    let _planting = plant_here(defect);
    let Some(etcd) = Etcd::start().await else { return };
    for (backend, expected) in [("10.1.1.8", expected[0]), ("10.1.1.9", expected[1])] {
        let exporter = written(&etcd).await;
        let (key, value) = service("web", backend);
        let mut watch = etcd.watch(&key).await;
        send(&exporter, [put("web", backend)]).await;
        let told = tokio::time::timeout(SILENCE, watch.next()).await.ok().flatten();
        assert_eq!(told, expected.then_some(value));
    }
}
