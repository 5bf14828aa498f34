//! Reader and writer against a real etcd with mutual TLS.
//!
//! Every test starts an etcd of its own; without an `etcd` on the path the tests say so and pass.

#[cfg(feature = "planted-defects")]
mod defects;
mod faults;
mod memory;
mod server;
mod store;

use std::time::Duration;

use etcd_client::{CompactionOptions, PutOptions};
use mesh_core::{LifecycleConfig, Patience, ServiceV2};
use mesh_kvstore::{
    ClusterIds, Decoded, EtcdConnector, Exporter, ExporterOptions, RemoteCluster, RemoteEvent, RemoteObject,
    RemoteOptions, RemoteStatus, Scope, Write,
};
use mesh_types::{ClusterId, ClusterName, MaxConnectedClusters, ServiceKey};
use mesh_wire::{ClusterConfig, HEARTBEAT, Key, Layout, Resource};
use tokio::sync::mpsc;

use server::Etcd;

/// Far above anything that happens here; only reached when something is broken.
const DEADLINE: Duration = Duration::from_secs(30);
const LIMIT: MaxConnectedClusters = MaxConnectedClusters::N255;

fn alpha() -> ClusterName {
    ClusterName::new("alpha").expect("valid")
}

fn id(raw: u16) -> ClusterId {
    ClusterId::new(raw, LIMIT).expect("valid")
}

/// Key and value of service `default/<name>` of cluster `alpha` (ID 1), with one backend.
fn service(name: &str, backend: &str) -> (String, Vec<u8>) {
    let key = Key::service(Layout::State, &alpha(), &ServiceKey::new("default", name)).to_string();
    let value = format!(
        r#"{{"cluster":"alpha","namespace":"default","name":"{name}","frontends":{{}},"backends":{{"{backend}":{{"":{{"Protocol":"TCP","Port":80}}}}}},"labels":{{}},"selector":{{}},"includeExternal":true,"shared":true,"clusterID":1}}"#
    );
    (key, value.into_bytes())
}

fn put(name: &str, backend: &str) -> Write {
    let (key, value) = service(name, backend);
    Write::Put { key, value }
}

/// The kinds of objects that the writer announces.
const EXPORTED: [Resource; 4] = [Resource::Services, Resource::Nodes, Resource::Ip, Resource::Identities];

fn exporter(etcd: &Etcd) -> Exporter {
    let config = ClusterConfig::exported(id(1), LIMIT);
    let options = ExporterOptions::for_cluster(&alpha(), &config, &EXPORTED);
    Exporter::spawn(options, EtcdConnector::new(etcd.config()))
}

/// Everything that is exported was named.
fn complete() -> [Write; 4] {
    EXPORTED.map(|resource| Write::Complete(Scope::of(resource, Layout::State, &alpha())))
}

fn reader(etcd: &Etcd) -> (RemoteCluster, mpsc::Receiver<RemoteEvent>) {
    let lifecycle = LifecycleConfig {
        cluster_id: id(2),
        limit: LIMIT,
        resources: [Resource::Services].into(),
        service_v2: Some(ServiceV2::default()),
        cache_ttl: None,
        patience: Patience::default(),
    };
    let options = RemoteOptions { cluster: alpha(), ids: ClusterIds::new(), lifecycle };
    RemoteCluster::spawn(options, EtcdConnector::new(etcd.config()), Decoded { limit: LIMIT })
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("deadline: {what}"),
    }
}

async fn send(exporter: &Exporter, writes: impl IntoIterator<Item = Write>) {
    let sender = exporter.writes();
    for write in writes {
        sender.send(write).await.expect("the writer runs");
    }
}

/// The next event about objects as text: `web=10.0.0.1`, `web gone`, `synced`.
async fn event(events: &mut mpsc::Receiver<RemoteEvent>) -> String {
    loop {
        match soon("an event", events.recv()).await.expect("the reader runs") {
            RemoteEvent::Exports(_) => {}
            RemoteEvent::Synced(_) => return "synced".to_owned(),
            RemoteEvent::Object { object: RemoteObject::Service(key, None), .. } => {
                return format!("{} gone", key.name);
            }
            RemoteEvent::Object { object: RemoteObject::Service(key, Some(service)), .. } => {
                let backends: Vec<String> = service.backends.keys().map(ToString::to_string).collect();
                return format!("{}={}", key.name, backends.join(","));
            }
            other @ RemoteEvent::Object { .. } => panic!("nobody reads that here: {other:?}"),
        }
    }
}

async fn until(reader: &RemoteCluster, what: &str, condition: impl FnMut(&RemoteStatus) -> bool) -> RemoteStatus {
    let mut status = reader.watch_status();
    soon(what, status.wait_for(condition)).await.expect("the reader runs").clone()
}

#[tokio::test]
async fn etcd_round_trip() {
    let Some(etcd) = Etcd::start().await else { return };
    let exporter = exporter(&etcd);
    send(&exporter, [put("web", "10.1.1.1"), put("api", "10.1.1.2")].into_iter().chain(complete())).await;
    soon("all written", exporter.ready()).await;

    let (reader, mut events) = reader(&etcd);
    assert_eq!(event(&mut events).await, "api=10.1.1.2");
    assert_eq!(event(&mut events).await, "web=10.1.1.1");
    assert_eq!(event(&mut events).await, "synced");
    let status = until(&reader, "ready", |status| status.ready && status.num_shared_services == 2).await;
    assert!(status.status.starts_with("etcd: 1/1 connected, leases=0"), "{}", status.status);
    assert_eq!(status.config.map(|config| config.cluster_id), Some(1));

    let (key, _) = service("api", "");
    send(&exporter, [put("web", "10.1.1.3"), Write::Delete { key }]).await;
    let mut changes = [event(&mut events).await, event(&mut events).await];
    changes.sort();
    assert_eq!(changes, ["api gone", "web=10.1.1.3"]);
}

#[tokio::test]
async fn etcd_writer_writes_what_cilium_writes() {
    let Some(etcd) = Etcd::start().await else { return };
    let mut client = etcd.client().await;
    let (stale, value) = service("stale", "10.1.1.9");
    client.put(stale, value, None).await.expect("put");
    let exporter = exporter(&etcd);
    send(&exporter, [put("web", "10.1.1.1")].into_iter().chain(complete())).await;
    soon("all written", exporter.ready()).await;

    let keys = etcd.keys().await;
    let names: Vec<&str> = keys.iter().map(|entry| entry.key_str().expect("text")).collect();
    assert_eq!(
        names,
        [
            "cilium/.heartbeat",
            "cilium/cluster-config/alpha",
            "cilium/state/services/v1/alpha/default/web",
            "cilium/synced/alpha/cilium/state/identities/v1",
            "cilium/synced/alpha/cilium/state/ip/v1",
            "cilium/synced/alpha/cilium/state/nodes/v1",
            "cilium/synced/alpha/cilium/state/services/v1",
        ],
        "the stale service is pruned"
    );
    assert!(keys.iter().all(|entry| entry.lease() != 0), "every key hangs on a lease");
    assert!(keys[6].mod_revision() > keys[2].mod_revision(), "the canary comes after what it announces");
    let config = ClusterConfig::decode(keys[1].value()).expect("valid");
    assert_eq!(config, ClusterConfig::exported(id(1), LIMIT));
}

#[tokio::test]
async fn etcd_writer_asserts_everything_anew_when_its_lease_is_gone() {
    let Some(etcd) = Etcd::start().await else { return };
    let exporter = exporter(&etcd);
    send(&exporter, [put("web", "10.1.1.1")].into_iter().chain(complete())).await;
    soon("all written", exporter.ready()).await;
    let before = etcd.keys().await;

    let mut client = etcd.client().await;
    let mut canary = etcd.watch(&Key::synced(Layout::State, &alpha(), Resource::Ip).to_string()).await;
    client.lease_revoke(before[0].lease()).await.expect("revoked");
    soon("the canary to come back", async { while !canary.next_is_put().await {} }).await;
    soon("all keys to be back", async { while etcd.keys().await.len() < before.len() {} }).await;
    let after = etcd.keys().await;
    assert!(after.iter().all(|entry| entry.lease() != before[0].lease()), "on another lease");
}

#[tokio::test]
async fn etcd_writer_defends_the_cluster_configuration() {
    let Some(etcd) = Etcd::start().await else { return };
    let exporter = exporter(&etcd);
    send(&exporter, complete()).await;
    soon("all written", exporter.ready()).await;
    let key = Key::ClusterConfig(alpha()).to_string();
    let mut config = etcd.watch(&key).await;
    etcd.client().await.put(key, "{}", None).await.expect("put");
    assert_eq!(soon("the foreign value", config.next()).await, Some(b"{}".to_vec()));
    let value = soon("our value", config.next()).await.expect("put");
    assert_eq!(ClusterConfig::decode(&value).expect("valid").id, id(1));
}

#[tokio::test]
async fn etcd_no_service_before_its_canary() {
    let Some(etcd) = Etcd::start().await else { return };
    let exporter = exporter(&etcd);
    send(&exporter, [put("web", "10.1.1.1")]).await;
    let (reader, mut events) = reader(&etcd);
    let status =
        until(&reader, "the configuration", |status| status.config.as_ref().is_some_and(|config| config.retrieved))
            .await;
    assert!(!status.ready && status.connected, "{status:?}");
    // Something that the reader sees after it would have seen the service: the service is put long before.
    etcd.client()
        .await
        .put(Key::synced(Layout::State, &alpha(), Resource::Nodes).to_string(), "", None)
        .await
        .expect("put");
    while let Ok(event) = events.try_recv() {
        assert!(matches!(event, RemoteEvent::Exports(_)), "nothing is told before the canary of services: {event:?}");
    }

    send(&exporter, complete()).await;
    assert_eq!(event(&mut events).await, "web=10.1.1.1");
    assert_eq!(event(&mut events).await, "synced");
}

#[tokio::test]
async fn etcd_reader_lists_more_than_a_page() {
    let Some(etcd) = Etcd::start().await else { return };
    let exporter = exporter(&etcd);
    let names: Vec<String> = (0..600).map(|n| format!("web-{n:03}")).collect();
    send(&exporter, names.iter().map(|name| put(name, "10.1.1.1"))).await;
    send(&exporter, complete()).await;
    soon("all written", exporter.ready()).await;
    let (_reader, mut events) = reader(&etcd);
    for name in names {
        assert_eq!(event(&mut events).await, format!("{name}=10.1.1.1"));
    }
    assert_eq!(event(&mut events).await, "synced");
}

#[tokio::test]
async fn etcd_changes_while_the_server_is_down_are_told() {
    let Some(mut etcd) = Etcd::start().await else { return };
    // Written by hand, so that nobody but the test changes anything.
    let mut client = etcd.client().await;
    for (name, backend) in [("api", "10.1.1.2"), ("web", "10.1.1.1")] {
        let (key, value) = service(name, backend);
        client.put(key, value, None).await.expect("put");
    }
    let config = ClusterConfig::exported(id(1), LIMIT).encode();
    client.put(Key::ClusterConfig(alpha()).to_string(), config, None).await.expect("put");
    client.put(Key::synced(Layout::State, &alpha(), Resource::Services).to_string(), "", None).await.expect("put");
    client.put(HEARTBEAT, "", None).await.expect("put");

    let (reader, mut events) = reader(&etcd);
    for expected in ["api=10.1.1.2", "web=10.1.1.1", "synced"] {
        assert_eq!(event(&mut events).await, expected);
    }
    etcd.kill();
    let status = until(&reader, "the failure", |status| status.num_failures > 0).await;
    assert!(!status.ready && !status.connected, "{status:?}");
    assert_eq!(status.num_shared_services, 2, "data is kept while the server is away");

    // The deletion happens before the reader can be back: on another port, then compacted away.
    etcd.restart_elsewhere().await;
    let mut client = etcd.client().await;
    let (key, _) = service("api", "");
    let deleted = client.delete(key, None).await.expect("deleted");
    let revision = deleted.header().expect("header").revision();
    client.compact(revision, Some(CompactionOptions::new().with_physical())).await.expect("compacted");
    etcd.write_config();
    reader.reconnect();
    for expected in ["web=10.1.1.1", "api gone", "synced"] {
        assert_eq!(event(&mut events).await, expected);
    }
    until(&reader, "ready again", |status| status.ready && status.num_shared_services == 1).await;
}

#[tokio::test]
async fn etcd_writer_survives_a_restart_of_the_server() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let exporter = exporter(&etcd);
    send(&exporter, [put("web", "10.1.1.1")].into_iter().chain(complete())).await;
    soon("all written", exporter.ready()).await;
    etcd.kill();
    send(&exporter, [put("web", "10.1.1.7"), put("api", "10.1.1.8")]).await;
    etcd.restart().await;
    let (_reader, mut events) = reader(&etcd);
    let mut last = std::collections::BTreeMap::new();
    soon("both services as wanted", async {
        while last.get("web") != Some(&"10.1.1.7".to_owned()) || last.get("api") != Some(&"10.1.1.8".to_owned()) {
            if let Some((name, backend)) = event(&mut events).await.split_once('=') {
                last.insert(name.to_owned(), backend.to_owned());
            }
        }
    })
    .await;
}

#[tokio::test]
async fn etcd_reader_refuses_our_own_id_and_drains_when_an_id_changes() {
    let Some(etcd) = Etcd::start().await else { return };
    let mut client = etcd.client().await;
    let config = Key::ClusterConfig(alpha()).to_string();
    let (key, value) = service("web", "10.1.1.1");
    client.put(config.as_str(), r#"{"id":1}"#, None).await.expect("put");
    client.put(key, value, Some(PutOptions::new())).await.expect("put");
    let (reader, mut events) = reader(&etcd);
    assert_eq!(event(&mut events).await, "web=10.1.1.1", "without the capability there is no canary to wait for");
    assert_eq!(event(&mut events).await, "synced");

    client.put(config.as_str(), r#"{"id":7}"#, None).await.expect("put");
    assert_eq!(event(&mut events).await, "web gone", "what it said under its old ID is taken back");
    let status = until(&reader, "the malformed value", |status| status.num_malformed_values > 0).await;
    assert_eq!(status.num_shared_services, 0, "the value still says 1");

    client.put(config.as_str(), r#"{"id":2}"#, None).await.expect("put");
    let text = "Err: clusterID 2 is assigned to the local cluster";
    until(&reader, "the refusal", |status| status.status == text).await;
}

#[tokio::test]
async fn etcd_reader_says_why_it_cannot_connect() {
    let Some(etcd) = Etcd::start().await else { return };
    etcd.write_config_without_identity();
    let (reader, _events) = reader(&etcd);
    let status = until(&reader, "the failure", |status| status.num_failures > 0).await;
    assert!(status.last_failure.is_some());
    assert!(status.status.starts_with("Err: "), "{}", status.status);
    // Corrected, it works without a restart.
    etcd.write_config();
    reader.reconnect();
    until(&reader, "the connection", |status| status.connected).await;
}
