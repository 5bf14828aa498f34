//! Watches the services in every cluster's etcd.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use meshbed_driver::ClusterState;
use meshbed_etcd::{Change, Etcd, EtcdError};
use tokio::{task::JoinSet, time::interval};

use crate::{probe::lock, world::World};

/// Services in Cilium's schema; behind it come cluster, namespace and name.
const PREFIX: &str = "cilium/state/services/v1/";
/// Time between two attempts to watch an etcd that is gone.
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// Watches the etcds of all clusters until the set is dropped.
pub(crate) fn follow(clusters: &[ClusterState], tasks: &mut JoinSet<()>, world: &Arc<Mutex<World>>) {
    for cluster in clusters {
        let (cluster, world) = (cluster.clone(), Arc::clone(world));
        tasks.spawn(async move {
            let mut retry = interval(RETRY_EVERY);
            loop {
                retry.tick().await;
                if let Err(error) = watch(&cluster, &world).await {
                    tracing::debug!(cluster = %cluster.name, %error, "watch of etcd failed; trying again");
                }
            }
        });
    }
}

/// Until the watch ends.
async fn watch(cluster: &ClusterState, world: &Arc<Mutex<World>>) -> Result<(), EtcdError> {
    let etcd = Etcd::connect(cluster).await?;
    let mut changes = etcd.watch(PREFIX, None).await?;
    while let Some(change) = changes.next().await {
        let Some(service) = service(&change) else { continue };
        let mut world = lock(world);
        let now = world.clock.now();
        // The change waited for us meanwhile.
        let waited = u64::try_from(Instant::now().saturating_duration_since(change.at).as_micros()).unwrap_or(0);
        let at = meshbed_events::Micros(now.0.saturating_sub(waited));
        world.etcd_changed(at, &cluster.name, service, change.revision);
    }
    Ok(())
}

/// `namespace/name` of the service that a key is about.
fn service(change: &Change) -> Option<String> {
    let (_cluster, service) = change.key.strip_prefix(PREFIX)?.split_once('/')?;
    Some(service.to_owned())
}
