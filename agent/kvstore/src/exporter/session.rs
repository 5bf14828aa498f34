//! One connection to our own kvstore.

use std::{collections::BTreeMap, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use mesh_planted::{Defect, planted};
use mesh_wire::{CLUSTER_CONFIG_PREFIX, HEARTBEAT, SYNCED_PREFIX};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{
    OnWritten, Writer,
    keys::{Request, Written},
    now,
};
use crate::{
    SessionError,
    store::{Change, Connect, KeyRange, Kvstore, Watch as _},
};

/// How often cluster configurations are written again without a reason.
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

impl<C: Connect> Writer<C> {
    /// Connects and writes until something goes wrong.
    pub(super) async fn session(&mut self) -> SessionError {
        match self.connected_session().await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn connected_session(&mut self) -> Result<std::convert::Infallible, SessionError> {
        let store = self.connector.connect().await?;
        self.leases.refresh(&store).await?;
        let revision = self.adopt(&store).await?;
        let mut config_watch =
            store.watch("cluster configuration", KeyRange::Prefix(CLUSTER_CONFIG_PREFIX), revision).await?;
        self.backoff.reset();
        tracing::info!("Connection to our own etcd established");

        let mut under_way = UnderWay::new();
        let mut heartbeat = every(self.heartbeat_interval);
        let mut reassert = every(CLUSTER_CONFIG_INTERVAL);
        let mut keepalive = every(self.leases.interval());
        loop {
            self.look(&store).await?;
            self.advance();
            self.start_requests(&store, &mut under_way).await?;
            tokio::select! {
                biased;
                Some(done) = under_way.next() => self.done(done?),
                write = self.writes.recv() => {
                    let write = write.ok_or(SessionError::ReceiverGone)?;
                    let misses = planted(Defect::ExporterMissesUpdatesAfterReconnect);
                    if !(misses && self.scopes.all_steady() && self.scopes.any_found()) {
                        self.take(write);
                    }
                }
                change = config_watch.next() => {
                    if let Some(key) = self.foreign(&change?) {
                        self.check_leases(&store).await?;
                        self.keys.distrust(&key);
                    }
                }
                _ = heartbeat.tick() => {
                    self.keys.put(HEARTBEAT.to_owned(), now());
                    // That it is written counts, whatever the clock says by now.
                    self.keys.distrust(HEARTBEAT);
                }
                _ = reassert.tick() => {
                    for key in self.keys.wanted(CLUSTER_CONFIG_PREFIX) {
                        self.keys.distrust(&key);
                    }
                }
                _ = keepalive.tick() => self.start_keepalives(&store, &under_way),
            }
        }
    }

    /// Looks at what the kvstore holds of ours. Returns the revision up to which that is known.
    async fn adopt(&mut self, store: &C::Store) -> Result<i64, SessionError> {
        // Until everything is right again, nothing is announced anew.
        for canary in self.scopes.iter().map(|scope| scope.canary.clone()).collect::<Vec<_>>() {
            self.keys.release(&canary);
        }
        self.keys.put(HEARTBEAT.to_owned(), now());
        let mut actual = BTreeMap::new();
        let mut revision = 0;
        for prefix in [HEARTBEAT, CLUSTER_CONFIG_PREFIX, SYNCED_PREFIX] {
            let listing = store.list("own keys", KeyRange::Prefix(prefix)).await?;
            if prefix == CLUSTER_CONFIG_PREFIX {
                revision = listing.revision;
            }
            for entry in listing.entries {
                actual.insert(text(&entry.key), Written { value: entry.value, lease: entry.lease });
            }
        }
        self.keys.adopt(actual, &self.leases.ids());
        self.scopes.connected();
        self.look(store).await?;
        Ok(revision)
    }

    /// Looks at what the kvstore holds in scopes that are new on this connection.
    async fn look(&mut self, store: &C::Store) -> Result<(), SessionError> {
        for scope in self.scopes.not_looked_at() {
            let listing = store.list("own keys", KeyRange::Prefix(&scope.prefix)).await?;
            let found = listing.entries.iter().map(|entry| text(&entry.key)).collect();
            self.scopes.found(&scope, found);
            let leases = self.leases.ids();
            for entry in listing.entries {
                self.keys.found(text(&entry.key), Written { value: entry.value, lease: entry.lease }, &leases);
            }
        }
        Ok(())
    }

    /// Lets everything go as far as it can without another answer.
    fn advance(&mut self) {
        self.scopes.advance(&mut self.keys, now);
        if !*self.ready.borrow() && self.scopes.all_steady() {
            tracing::info!("All keys are written");
            self.ready.send_replace(true);
        }
    }

    /// Starts every request that can be started.
    async fn start_requests(&mut self, store: &C::Store, under_way: &mut UnderWay) -> Result<(), SessionError> {
        while under_way.len() < UNDER_WAY_MAX
            && let Some(Request { key, value }) = self.keys.next()
        {
            let future = match value {
                Some(value) => {
                    let lease = self.leases.assign(store, &key).await?;
                    let lease = if planted(Defect::LeaseNotUsed) { 0 } else { lease };
                    let put = store.put(&key, value.clone(), lease);
                    async move {
                        let revision = put.await?;
                        tracing::debug!(key, revision, "written");
                        Ok(Done::Put { key, written: Written { value, lease }, revision })
                    }
                    .boxed()
                }
                None => {
                    self.leases.release(&key);
                    let delete = store.delete(&key);
                    async move {
                        delete.await?;
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

    fn start_keepalives(&self, store: &C::Store, under_way: &UnderWay) {
        if planted(Defect::LeaseNotKept) {
            return;
        }
        for id in self.leases.ids() {
            under_way.push(store.keep_alive(id).map(|kept| kept.map(|()| Done::Lease)).boxed());
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Put { key, written, revision } => {
                if let Some(OnWritten(told)) = &self.on_written {
                    told(&key, revision);
                }
                self.keys.done(key, Some(written));
            }
            Done::Delete { key } => self.keys.done(key, None),
            Done::Lease => {}
        }
    }

    /// The cluster configuration that was changed, if it is one of ours and not our doing.
    fn foreign(&self, change: &Change) -> Option<String> {
        if planted(Defect::LeaseNotKept) {
            return None;
        }
        let key = std::str::from_utf8(change.key()).ok()?;
        let desired = self.keys.desired(key)?;
        let ours = matches!(change, Change::Put { value, .. } if value == desired);
        (!ours).then(|| key.to_owned())
    }

    /// Fails if one of our leases is gone; then the keys are gone with it, not only the one that was noticed.
    async fn check_leases(&self, store: &C::Store) -> Result<(), SessionError> {
        for id in self.leases.ids() {
            store.keep_alive(id).await?;
        }
        Ok(())
    }
}

fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// Ticks for the first time after a whole `period`, and never twice to catch up.
fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
