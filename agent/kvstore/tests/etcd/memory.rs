//! Reader and writer on a kvstore in memory, with a clock that runs as fast as it can: what takes minutes on an etcd.

use std::time::Duration;

use mesh_core::{LifecycleConfig, Patience, ServiceV2};
use mesh_kvstore::{
    ClusterIds, Decoded, Exporter, ExporterOptions, MemoryServer, RemoteCluster, RemoteEvent, RemoteObject,
    RemoteOptions, Scope, Write,
    store::{Connect as _, Kvstore as _},
};
use mesh_types::ServiceKey;
use mesh_wire::{ClusterConfig, HEARTBEAT, Key, Layout, Resource};
use tokio::{sync::mpsc, time::Instant};

use crate::{EXPORTED, LIMIT, alpha, complete, event, id, put, send, service, until};

fn exporter(server: &MemoryServer) -> Exporter {
    let config = ClusterConfig::exported(id(1), LIMIT);
    Exporter::spawn(ExporterOptions::for_cluster(&alpha(), &config, &EXPORTED), server.clone())
}

fn reader(server: &MemoryServer, cache_ttl: Option<Duration>) -> (RemoteCluster, mpsc::Receiver<RemoteEvent>) {
    let lifecycle = LifecycleConfig {
        cluster_id: id(2),
        limit: LIMIT,
        resources: [Resource::Services].into(),
        service_v2: Some(ServiceV2::default()),
        cache_ttl,
        patience: Patience::default(),
    };
    let options = RemoteOptions { cluster: alpha(), ids: ClusterIds::new(), lifecycle };
    RemoteCluster::spawn(options, server.clone(), Decoded { limit: LIMIT })
}

async fn written(server: &MemoryServer) -> Exporter {
    let exporter = exporter(server);
    send(&exporter, [put("web", "10.1.1.1")].into_iter().chain(complete())).await;
    exporter.ready().await;
    exporter
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_lives_keeps_its_keys_for_days() {
    let server = MemoryServer::new();
    let _exporter = written(&server).await;
    let before = server.keys();
    tokio::time::sleep_until(Instant::now() + Duration::from_secs(3 * 24 * 3600)).await;
    let after = server.keys();
    assert!(
        before.iter().map(|entry| &entry.key).eq(after.iter().map(|entry| &entry.key)),
        "all of them, and no others"
    );
    let beat = |entries: &[mesh_kvstore::store::Entry]| entries[0].revision;
    // The last one may be due at this very moment.
    assert!(beat(&after) >= beat(&before) + 3 * 24 * 60 - 1, "a heartbeat a minute");
    assert_eq!(after[0].key, HEARTBEAT.as_bytes());
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_a_writer_that_is_gone_end_with_their_lease() {
    let server = MemoryServer::new();
    drop(written(&server).await);
    tokio::time::sleep_until(Instant::now() + ExporterOptions::LEASE_TTL - Duration::from_secs(1)).await;
    assert!(!server.keys().is_empty());
    tokio::time::sleep_until(Instant::now() + Duration::from_secs(2)).await;
    assert!(server.keys().is_empty(), "{:?}", server.keys());
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_stops_is_noticed_after_two_minutes_and_the_data_stays() {
    let server = MemoryServer::new();
    let exporter = written(&server).await;
    let (reader, mut events) = reader(&server, None);
    assert_eq!(event(&mut events).await, "web=10.1.1.1");
    until(&reader, "ready", |status| status.ready).await;
    drop(exporter);
    let begun = Instant::now();
    let mut status = reader.watch_status();
    let failed = status.wait_for(|status| status.num_failures > 0).await.expect("the reader runs").clone();
    let took = begun.elapsed().as_secs();
    assert!((60..=120).contains(&took), "two minutes after the last beat, which was less than one ago: {took} s");
    assert!(failed.status.starts_with("Err: quorum check failed: "), "{}", failed.status);
    assert_eq!(failed.num_shared_services, 1);
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_is_missing_is_given_three_minutes() {
    let server = MemoryServer::new();
    let (reader, _events) = reader(&server, None);
    // The heart beats, or that would be noticed first.
    let store = server.clone().connect().await.expect("connected");
    let heart = tokio::spawn(async move {
        loop {
            store.put(HEARTBEAT, Vec::new(), 0).await.expect("put");
            tokio::time::sleep_until(Instant::now() + Duration::from_secs(60)).await;
        }
    });
    let begun = Instant::now();
    let mut status = reader.watch_status();
    let failed = status.wait_for(|status| status.num_failures > 0).await.expect("the reader runs").clone();
    assert_eq!(begun.elapsed().as_secs(), 180);
    assert_eq!(failed.status, "Err: cluster configuration expected to be present but not found");
    heart.abort();
}

#[tokio::test(start_paused = true)]
async fn services_of_a_cluster_that_is_gone_are_dropped_after_the_time_that_was_set() {
    let server = MemoryServer::new();
    let _exporter = written(&server).await;
    let ttl = Duration::from_secs(600);
    let (reader, mut events) = reader(&server, Some(ttl));
    for expected in ["web=10.1.1.1", "synced"] {
        assert_eq!(event(&mut events).await, expected);
    }
    server.stop();
    let begun = Instant::now();
    let gone = RemoteObject::Service(ServiceKey::new("default", "web"), None);
    assert!(matches!(events.recv().await, Some(RemoteEvent::Object { object, .. }) if object == gone));
    assert_eq!(begun.elapsed().as_secs(), ttl.as_secs());
    let status = until(&reader, "the count", |status| status.num_shared_services == 0).await;
    assert_eq!(status.num_cache_revocations, 1);
    server.start();
    for expected in ["web=10.1.1.1", "synced"] {
        assert_eq!(event(&mut events).await, expected, "it comes back");
    }
}

#[tokio::test(start_paused = true)]
async fn a_malformed_value_keeps_what_was_known_until_the_next_listing() {
    let server = MemoryServer::new();
    let exporter = written(&server).await;
    let (reader, mut events) = reader(&server, None);
    for expected in ["web=10.1.1.1", "synced"] {
        assert_eq!(event(&mut events).await, expected);
    }
    // Nobody writes any more but the test; the heart goes on.
    drop(exporter);
    let (key, _) = service("web", "");
    let store = server.clone().connect().await.expect("connected");
    store.put(&key, "{".into(), 0).await.expect("put");
    let status = until(&reader, "the refusal", |status| status.num_malformed_values == 1).await;
    assert_eq!(status.num_shared_services, 1, "kept");
    server.stop();
    server.start();
    for expected in ["web gone", "synced"] {
        assert_eq!(event(&mut events).await, expected, "a listing in which it cannot be read drops it, as in Cilium");
    }
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_is_early_is_believed() {
    // Nobody can know better; what comes later is told as it comes.
    let server = MemoryServer::new();
    let store = server.clone().connect().await.expect("connected");
    let config = ClusterConfig::exported(id(1), LIMIT).encode();
    store.put(&Key::ClusterConfig(alpha()).to_string(), config, 0).await.expect("put");
    store.put(&Key::synced(Layout::State, &alpha(), Resource::Services).to_string(), Vec::new(), 0).await.expect("put");
    let (_reader, mut events) = reader(&server, None);
    assert_eq!(event(&mut events).await, "synced");
    let (key, value) = service("web", "10.1.1.1");
    store.put(&key, value, 0).await.expect("put");
    assert_eq!(event(&mut events).await, "web=10.1.1.1");
}

#[tokio::test(start_paused = true)]
async fn a_scope_is_announced_when_it_is_complete_and_not_before() {
    let server = MemoryServer::new();
    let exporter = exporter(&server);
    let scope = |resource| Scope::of(resource, Layout::State, &alpha());
    let announced = |resource| server.keys().iter().any(|entry| entry.key == scope(resource).canary.as_bytes());
    send(&exporter, [Write::Complete(scope(Resource::Nodes)), put("web", "10.1.1.1")]).await;
    while !announced(Resource::Nodes) {
        tokio::task::yield_now().await;
    }
    assert!(!announced(Resource::Services), "its wishes are still to come");
    send(&exporter, complete()).await;
    exporter.ready().await;
    assert!(EXPORTED.iter().all(|resource| announced(*resource)));
}
