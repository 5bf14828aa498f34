//! Faults that pass: what reader and writer do meanwhile, and that they are right again afterwards.

use crate::{
    complete, event, exporter, put, reader, send,
    server::{Etcd, Validity},
    soon, until,
};
use mesh_kvstore::Write;

#[tokio::test]
async fn etcd_that_lost_its_data_is_filled_again_and_read_again() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let exporter = exporter(&etcd);
    send(&exporter, [put("web", "10.1.1.1"), put("api", "10.1.1.2")].into_iter().chain(complete())).await;
    soon("all written", exporter.ready()).await;
    let before = etcd.keys().await.len();
    let (reader, mut events) = reader(&etcd);
    for expected in ["api=10.1.1.2", "web=10.1.1.1", "synced"] {
        assert_eq!(event(&mut events).await, expected);
    }

    etcd.kill();
    until(&reader, "the failure", |status| !status.connected).await;
    etcd.restart_empty().await;
    // Nothing is taken back: the reader waits for the canary, and by then all is there again.
    for expected in ["api=10.1.1.2", "web=10.1.1.1", "synced"] {
        assert_eq!(event(&mut events).await, expected);
    }
    assert_eq!(etcd.keys().await.len(), before);
    let (key, _) = crate::service("api", "");
    send(&exporter, [Write::Delete { key }]).await;
    assert_eq!(event(&mut events).await, "api gone", "later changes are told");
}

#[tokio::test]
async fn etcd_reader_keeps_its_connection_when_its_configuration_is_corrupted() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let exporter = exporter(&etcd);
    send(&exporter, [put("web", "10.1.1.1")].into_iter().chain(complete())).await;
    let (reader, mut events) = reader(&etcd);
    for expected in ["web=10.1.1.1", "synced"] {
        assert_eq!(event(&mut events).await, expected);
    }
    // The writer reads the same file and must not lose it either.
    etcd.corrupt_config();
    reader.reconnect();
    send(&exporter, [put("web", "10.1.1.2")]).await;
    assert_eq!(event(&mut events).await, "web=10.1.1.2");
    assert_eq!(reader.status().num_failures, 0, "{:?}", reader.status());

    // Even a new connection is made with what was read last.
    etcd.kill();
    until(&reader, "the failure", |status| !status.connected).await;
    etcd.restart().await;
    for expected in ["web=10.1.1.2", "synced"] {
        assert_eq!(event(&mut events).await, expected);
    }
    send(&exporter, [put("web", "10.1.1.3")]).await;
    assert_eq!(event(&mut events).await, "web=10.1.1.3");
}

#[tokio::test]
async fn etcd_reader_takes_a_renewed_certificate_by_itself() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let exporter = exporter(&etcd);
    send(&exporter, [put("web", "10.1.1.1")].into_iter().chain(complete())).await;
    let (reader, mut events) = reader(&etcd);
    for expected in ["web=10.1.1.1", "synced"] {
        assert_eq!(event(&mut events).await, expected);
    }
    etcd.renew_client(Validity::Expired);
    etcd.kill();
    etcd.restart().await;
    let refused = |status: &mesh_kvstore::RemoteStatus| status.num_failures > 2 && !status.connected;
    let status = until(&reader, "refusals", refused).await;
    assert_eq!(status.num_shared_services, 1, "data is kept: {status:?}");
    etcd.renew_client(Validity::Valid);
    for expected in ["web=10.1.1.1", "synced"] {
        assert_eq!(event(&mut events).await, expected);
    }
    send(&exporter, [put("web", "10.1.1.2")]).await;
    assert_eq!(event(&mut events).await, "web=10.1.1.2");
}
