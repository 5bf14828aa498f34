//! One connection to our own etcd.

use std::{collections::BTreeMap, time::Duration};

use etcd_client::{DeleteOptions, PutOptions, ResponseHeader};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use mesh_planted::{Defect, planted};
use mesh_wire::{HEARTBEAT, Key, Layout, Resource, synced_prefix};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{
    OnWritten, Writer,
    keys::{Request, Written},
    leases::keep_alive,
    now,
};
use crate::{
    SessionError,
    connection::{Connection, connect, request},
    prefix::{Change, Listing, PrefixWatch, list},
};

/// How often the heartbeat is written.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(60);
/// How often the cluster configuration is written again without a reason.
const CLUSTER_CONFIG_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Requests under way at once, each for another key: enough to fill an etcd, too few to flood it.
const UNDER_WAY_MAX: usize = 32;

/// A request that ended.
enum Done {
    Put { key: String, written: Written, revision: i64 },
    Delete { key: String },
    Lease,
}

type UnderWay = FuturesUnordered<BoxFuture<'static, Result<Done, SessionError>>>;

/// How far a session is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Writing services; stale ones may still be there.
    Filling,
    /// All wishes are known, stale services are being deleted.
    Pruning,
    /// Canaries are being written.
    Announcing,
    /// All is written; only changes from now on.
    Steady,
}

impl Writer {
    /// Connects and writes until something goes wrong.
    pub(super) async fn session(&mut self) -> SessionError {
        match self.connected_session().await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn connected_session(&mut self) -> Result<std::convert::Infallible, SessionError> {
        let config = self.file.read().map_err(SessionError::Config)?;
        let mut connection = connect(&config).await?;
        self.leases.refresh(&mut connection).await?;
        let services = self.adopt(&mut connection).await?;
        let config_key = Key::ClusterConfig(self.options.cluster.clone()).to_string();
        let mut config_watch =
            PrefixWatch::start(&mut connection, "cluster configuration", &config_key, services.revision).await?;
        self.backoff.reset();
        tracing::info!("Connection to our own etcd established");

        let found: Vec<String> =
            services.keys.iter().map(|entry| String::from_utf8_lossy(entry.key()).into_owned()).collect();
        let mut stage = Stage::Filling;
        let mut under_way = UnderWay::new();
        let mut heartbeat = every(HEARTBEAT_INTERVAL);
        let mut reassert = every(CLUSTER_CONFIG_INTERVAL);
        let mut keepalive = every(self.leases.interval());
        loop {
            stage = self.advance(stage, &found);
            self.start_requests(&mut connection, &mut under_way).await?;
            tokio::select! {
                biased;
                Some(done) = under_way.next() => self.done(done?),
                write = self.writes.recv() => {
                    let write = write.ok_or(SessionError::ReceiverGone)?;
                    let misses = planted(Defect::ExporterMissesUpdatesAfterReconnect);
                    if !(misses && stage == Stage::Steady && !found.is_empty()) {
                        self.take(write);
                    }
                }
                change = config_watch.next() => {
                    if self.is_foreign(&config_key, &change?) {
                        self.check_leases(&connection).await?;
                        self.keys.distrust(&config_key);
                    }
                }
                _ = heartbeat.tick() => self.keys.put(HEARTBEAT.to_owned(), now()),
                _ = reassert.tick() => self.keys.distrust(&config_key),
                _ = keepalive.tick() => self.start_keepalives(&connection, &under_way),
            }
        }
    }

    /// Looks at what the etcd holds of ours. The services are returned, for pruning.
    async fn adopt(&mut self, connection: &mut Connection) -> Result<Listing, SessionError> {
        // Until the services are right again, nothing is announced anew.
        let canaries: Vec<String> = self.canaries().collect();
        for canary in &canaries {
            self.keys.release(canary);
        }
        self.keys.put(HEARTBEAT.to_owned(), now());
        let mut actual = BTreeMap::new();
        let mut note = |listing: &Listing| {
            for entry in &listing.keys {
                let key = String::from_utf8_lossy(entry.key()).into_owned();
                actual.insert(key, Written { value: entry.value().to_vec(), lease: entry.lease() });
            }
        };
        let config = Key::ClusterConfig(self.options.cluster.clone()).to_string();
        for prefix in [HEARTBEAT.to_owned(), config, synced_prefix(&self.options.cluster)] {
            note(&list(connection, "own keys", &prefix).await?);
        }
        let prefix = mesh_wire::prefix(Resource::Services, Layout::State, &self.options.cluster);
        let services = list(connection, "own services", &prefix).await?;
        note(&services);
        self.keys.adopt(actual, &self.leases.ids());
        Ok(services)
    }

    /// Goes on to the next stage when the present one is finished.
    fn advance(&mut self, stage: Stage, found: &[String]) -> Stage {
        match stage {
            Stage::Filling if self.synced => {
                let stale = self.keys.prune(found);
                tracing::info!(stale, "All services of the cluster are known");
                self.advance(Stage::Pruning, found)
            }
            Stage::Pruning if self.keys.is_idle() => {
                let canaries: Vec<String> = self.canaries().collect();
                for canary in canaries {
                    self.keys.put(canary, now());
                }
                Stage::Announcing
            }
            Stage::Announcing if self.keys.is_idle() => {
                tracing::info!("All keys of the cluster are written");
                self.ready.send_replace(true);
                Stage::Steady
            }
            other => other,
        }
    }

    /// Starts every request that can be started.
    async fn start_requests(
        &mut self,
        connection: &mut Connection,
        under_way: &mut UnderWay,
    ) -> Result<(), SessionError> {
        while under_way.len() < UNDER_WAY_MAX
            && let Some(Request { key, value }) = self.keys.next()
        {
            let mut kv = connection.kv.clone();
            let future = match value {
                Some(value) => {
                    let lease = self.leases.assign(connection, &key).await?;
                    async move {
                        let lease = if planted(Defect::LeaseNotUsed) { 0 } else { lease };
                        let options = PutOptions::new().with_lease(lease);
                        let answer = request("put", kv.put(key.clone(), value.clone(), Some(options))).await?;
                        let revision = answer.header().map_or(0, ResponseHeader::revision);
                        tracing::debug!(key, revision, "written");
                        Ok(Done::Put { key, written: Written { value, lease }, revision })
                    }
                    .boxed()
                }
                None => {
                    self.leases.release(&key);
                    async move {
                        request("delete", kv.delete(key.clone(), Some(DeleteOptions::new()))).await?;
                        tracing::debug!(key, "deleted");
                        Ok(Done::Delete { key })
                    }
                    .boxed()
                }
            };
            under_way.push(future);
        }
        Ok(())
    }

    fn start_keepalives(&self, connection: &Connection, under_way: &UnderWay) {
        if planted(Defect::LeaseNotKept) {
            return;
        }
        for id in self.leases.ids() {
            let lease = connection.lease.clone();
            under_way.push(async move { keep_alive(lease, id).await.map(|()| Done::Lease) }.boxed());
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Put { key, written, revision } => {
                if let Some(OnWritten(told)) = &self.options.on_written {
                    told(&key, revision);
                }
                self.keys.done(key, Some(written));
            }
            Done::Delete { key } => self.keys.done(key, None),
            Done::Lease => {}
        }
    }

    /// Whether a change of the cluster configuration is not our doing.
    fn is_foreign(&self, config_key: &str, change: &Change) -> bool {
        match change {
            _ if planted(Defect::LeaseNotKept) => false,
            Change::Put { key, value, .. } => key == config_key.as_bytes() && *value != self.config,
            Change::Delete { key, .. } => key == config_key.as_bytes(),
        }
    }

    /// Fails if one of our leases is gone; then the keys are gone with it, not only the one that was noticed.
    async fn check_leases(&self, connection: &Connection) -> Result<(), SessionError> {
        for id in self.leases.ids() {
            keep_alive(connection.lease.clone(), id).await?;
        }
        Ok(())
    }
}

/// Ticks for the first time after a whole `period`, and never twice to catch up.
fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
