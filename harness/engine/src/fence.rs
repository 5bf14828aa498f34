//! Whether the harness has heard of everything that could make an answer, or a map entry, right.
//!
//! The harness and the agents watch the same APIs, and on a busy machine the harness can be the slower one by any time. So
//! no clock says when an answer can be judged, but a comparison: the objects that an API lists after the answer against
//! those that our own watch of it has brought. When the watch is level with the list, nothing older is on its way.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use mesh_types::ClusterName;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{kubernetes::Cluster, probe::lock, stage::wait_until, watch::Kind, world::World};

/// Time between two comparisons while there are answers to judge. Below the oracle's observation lag, so that on a machine
/// that keeps up no answer is judged later, or less strictly, because of them.
const COMPARE_EVERY: Duration = Duration::from_millis(200);
/// How long an API may take to list, and our watch to be level with the list. A stopped API tells its agents nothing
/// either; one that hangs must not keep answers from being judged.
const COMPARE_MAX: Duration = Duration::from_secs(5);
/// Kinds of objects that say who may answer.
const KINDS: [Kind; 2] = [Kind::Service, Kind::EndpointSlice];

/// What an API listed of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) cluster: ClusterName,
    pub(crate) kind: Kind,
    /// Resource version of the list.
    pub(crate) revision: u64,
    /// Resource version of each object, by `namespace/name`.
    pub(crate) versions: BTreeMap<String, u64>,
}

/// Compares again and again while requests or maps wait to be judged.
pub(crate) async fn follow(clusters: Arc<BTreeMap<ClusterName, Cluster>>, world: Arc<Mutex<World>>) {
    let mut changes = lock(&world).changes();
    let mut ticks = interval(COMPARE_EVERY.mul_f64(lock(&world).slowness()));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        changes.mark_unchanged();
        if lock(&world).has_unjudged() {
            compare(&clusters, &world).await;
        } else if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Lists everything, waits until our watches are level with it, and tells the world that it has heard of all that was true
/// when this began.
pub(crate) async fn compare(clusters: &BTreeMap<ClusterName, Cluster>, world: &Arc<Mutex<World>>) {
    let (began, silent) = {
        let world = lock(world);
        (world.clock.now(), world.silent().clone())
    };
    let speaking = clusters.values().filter(|cluster| !silent.contains(&cluster.name));
    let lists = speaking.flat_map(|cluster| KINDS.map(|kind| list(cluster, kind)));
    let lists: Vec<Listed> = join_all(lists).await.into_iter().flatten().collect();
    let behind = |world: &World| lists.iter().flat_map(|list| world.behind(list)).collect();
    let wait_max = COMPARE_MAX.mul_f64(lock(world).slowness());
    if let Err(error) = wait_until(world, wait_max, behind).await {
        tracing::debug!(findings = ?error.findings(), "our watches are behind; judging all the same");
    }
    lock(world).heard(began);
}

async fn list(cluster: &Cluster, kind: Kind) -> Option<Listed> {
    match timeout(COMPARE_MAX, cluster.versions(kind)).await {
        Ok(Ok((revision, versions))) => Some(Listed { cluster: cluster.name.clone(), kind, revision, versions }),
        Ok(Err(error)) => {
            tracing::debug!(cluster = %cluster.name, kind = kind.as_str(), %error, "no list to compare with");
            None
        }
        Err(_) => {
            tracing::debug!(cluster = %cluster.name, kind = kind.as_str(), "no list to compare with in time");
            None
        }
    }
}
