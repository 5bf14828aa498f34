//! One connection to a remote cluster's etcd, from the first request to the error that ends it.
//!
//! The order of requests is Cilium's: heartbeat, cluster configuration, canaries, and only
//! then the services, so that an etcd that is still being filled is never taken for an empty one.

use std::{
    pin::{Pin, pin},
    time::Duration,
};

use futures::{Stream, StreamExt as _, stream};
use mesh_planted::{Defect, planted};
use mesh_wire::{
    ClusterConfig, ClusterConfigError, EndpointSlicesExportMode, HEARTBEAT, Key, Layout, Resource, synced_prefix,
};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Reader, RemoteConfigStatus, RemoteEvent, services::Source};
use crate::{
    SessionError,
    connection::{Connection, connect},
    prefix::{Change, PrefixWatch, list},
};

/// A remote cluster without a heartbeat for so long is given up: two missed rounds.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a remote cluster's configuration may be missing.
const CLUSTER_CONFIG_TIMEOUT: Duration = Duration::from_secs(180);

impl Reader {
    /// Connects and reads until something goes wrong.
    pub(super) async fn session(&mut self) -> SessionError {
        match self.connected_session().await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn connected_session(&mut self) -> Result<std::convert::Infallible, SessionError> {
        let config = self.config.read().map_err(SessionError::Config)?;
        let mut connection = connect(&config).await?;
        let heartbeat = Heartbeat::start(&mut connection).await?;
        self.connected(&connection);
        tokio::select! {
            error = heartbeat.watch() => Err(error),
            result = self.follow(connection) => result,
        }
    }

    fn connected(&mut self, connection: &Connection) {
        let etcd = connection.etcd.get().unwrap_or_default();
        tracing::info!(etcd = format!("{etcd:x}"), "Connection to remote cluster established");
        self.status.send_modify(|status| {
            status.connected = true;
            status.status = format!(
                "etcd: 1/1 connected, leases=0, lock leases=0, has-quorum=true: endpoint status checks are \
                 disabled, ID: {etcd:x}"
            );
        });
    }

    /// Everything after the heartbeat.
    async fn follow(&mut self, mut connection: Connection) -> Result<std::convert::Infallible, SessionError> {
        self.status.send_modify(|status| {
            status.config = Some(RemoteConfigStatus { required: true, ..RemoteConfigStatus::default() });
        });
        let key = Key::ClusterConfig(self.options.cluster.clone()).to_string();
        let mut config = ConfigWatch::start(&mut connection, key).await?;
        let source = self.accept(&config.value).await?;
        if config.value.capabilities.synced_canaries && !planted(Defect::CanaryIgnored) {
            let prefix = synced_prefix(&source.cluster);
            let canary = Key::synced(source.layout, &source.cluster, Resource::Services).to_string();
            tokio::select! {
                result = wait_for_canary(&mut connection, &prefix, &canary) => result?,
                error = config.changed() => return Err(error),
            }
        }
        let mut first = true;
        loop {
            let etcd = connection.etcd.get();
            let seen = self.resume.filter(|(of, _)| planted(Defect::WatchStuckAfterCompaction) && Some(*of) == etcd);
            let revision = match seen {
                Some((_, revision)) => revision,
                None => match self.list_services(&mut connection, &source).await {
                    Err(SessionError::Compacted { .. }) => continue,
                    other => other?,
                },
            };
            self.resume = etcd.map(|etcd| (etcd, revision));
            if std::mem::take(&mut first) {
                self.synced().await?;
            }
            let mut watch = PrefixWatch::start(&mut connection, "services", &source.prefix(), revision).await?;
            let ended = tokio::select! {
                result = self.watch_services(&source, &mut watch) => result,
                error = config.changed() => Err(error),
            };
            match ended {
                Err(SessionError::Compacted { .. }) if planted(Defect::WatchStuckAfterCompaction) => {
                    return Err(config.changed().await);
                }
                Err(error @ SessionError::Compacted { .. }) => tracing::warn!(%error, "listing services again"),
                other => return other,
            }
        }
    }

    /// Reports all services that there are. Returns the revision of the listing.
    async fn list_services(&mut self, connection: &mut Connection, source: &Source) -> Result<i64, SessionError> {
        let listing = list(connection, "services", &source.prefix()).await?;
        let events = self.services.listed(source, &listing);
        self.report(events).await?;
        Ok(listing.revision)
    }

    async fn watch_services(
        &mut self,
        source: &Source,
        watch: &mut PrefixWatch,
    ) -> Result<std::convert::Infallible, SessionError> {
        loop {
            let change = watch.next().await?;
            let event = self.services.changed(source, &change);
            self.report(event).await?;
            if let Some((_, revision)) = &mut self.resume {
                *revision = change.revision();
            }
        }
    }

    async fn synced(&mut self) -> Result<(), SessionError> {
        self.backoff.reset();
        self.status.send_modify(|status| {
            status.synced.services = true;
            status.ready = true;
        });
        tracing::info!(services = self.services.count(), "Remote cluster is ready");
        self.report([RemoteEvent::Synced]).await
    }

    /// Checks a remote cluster's configuration and takes its ID. If the cluster had another ID before, what it said
    /// under that one is taken back first.
    async fn accept(&mut self, config: &ClusterConfig) -> Result<Source, SessionError> {
        let ids = &self.options.ids;
        match config.validate(ids.local(), ids.limit()) {
            Err(ClusterConfigError::IdIsLocal { .. }) if planted(Defect::DuplicateClusterIdAccepted) => {}
            Err(ClusterConfigError::IdIsLocal { id }) => return Err(SessionError::LocalClusterId(id)),
            Err(other) => return Err(SessionError::ClusterConfigInvalid(other)),
            Ok(()) => {}
        }
        let (id, capabilities) = (config.id, &config.capabilities);
        if capabilities.endpoint_slices_export_mode == EndpointSlicesExportMode::EndpointSlicesOnly {
            tracing::error!("remote cluster exports endpoint slices only, none of its backends will be used");
        }
        if let Some(held) = self.reservation.take_if(|held| held.id() != id) {
            tracing::warn!(before = %held.id(), now = %id, "ClusterID of remote cluster changed, draining it");
            let events = self.services.drain(held.id());
            self.report(events).await?;
        }
        if self.reservation.is_none() {
            self.reservation = Some(self.options.ids.reserve(id, &self.options.cluster)?);
        }
        self.status.send_modify(|status| {
            status.config = Some(RemoteConfigStatus {
                required: true,
                retrieved: true,
                cluster_id: u64::from(id.get()),
                kvstoremesh: capabilities.cached,
                sync_canaries: capabilities.synced_canaries,
                service_exports_enabled: capabilities.service_exports_enabled,
            });
        });
        let layout = if capabilities.cached { Layout::Cache } else { Layout::State };
        Ok(Source { layout, cluster: self.options.cluster.clone(), cluster_id: id })
    }
}

/// Waits until `canary` is there. It may have been written long ago.
async fn wait_for_canary(connection: &mut Connection, prefix: &str, canary: &str) -> Result<(), SessionError> {
    'listing: loop {
        let listing = list(connection, "canaries", prefix).await?;
        if listing.keys.iter().any(|entry| entry.key() == canary.as_bytes()) {
            return Ok(());
        }
        tracing::debug!(canary, "waiting for the remote cluster to be synchronised");
        let mut watch = PrefixWatch::start(connection, "canaries", prefix, listing.revision).await?;
        loop {
            match watch.next().await {
                Ok(Change::Put { key, .. }) if key == canary.as_bytes() => return Ok(()),
                Ok(_) => {}
                Err(SessionError::Compacted { .. }) => continue 'listing,
                Err(error) => return Err(error),
            }
        }
    }
}

/// The remote cluster's configuration, and the watch that sees it change.
struct ConfigWatch {
    key: String,
    value: ClusterConfig,
    watch: PrefixWatch,
}

impl ConfigWatch {
    /// Reads the configuration; waits a while for one that is not there yet.
    async fn start(connection: &mut Connection, key: String) -> Result<Self, SessionError> {
        let listing = list(connection, "cluster configuration", &key).await?;
        let mut watch = PrefixWatch::start(connection, "cluster configuration", &key, listing.revision).await?;
        // The range may hold a cluster whose name only begins like this one's.
        let mut found = listing.keys.iter().find(|e| e.key() == key.as_bytes()).map(|e| e.value().to_vec());
        let deadline = Instant::now() + CLUSTER_CONFIG_TIMEOUT;
        while found.is_none() {
            match tokio::time::timeout_at(deadline, watch.next()).await {
                Err(_) => return Err(SessionError::ClusterConfigMissing),
                Ok(change) => {
                    if let Change::Put { key: changed, value, .. } = change?
                        && changed == key.as_bytes()
                    {
                        found = Some(value);
                    }
                }
            }
        }
        let value = parse(&found.unwrap_or_default())?;
        Ok(Self { key, value, watch })
    }

    /// Ends when the configuration is another one. A deletion is none: a lease may have expired, and the data of a
    /// cluster that is silent stays.
    async fn changed(&mut self) -> SessionError {
        loop {
            match self.watch.next().await {
                Ok(Change::Put { key, value, .. }) if key == self.key.as_bytes() => match parse(&value) {
                    Ok(value) if value == self.value => {}
                    Ok(_) => return SessionError::ClusterConfigChanged,
                    Err(error) => return error,
                },
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }
}

fn parse(value: &[u8]) -> Result<ClusterConfig, SessionError> {
    ClusterConfig::decode(value).map_err(SessionError::ClusterConfigInvalid)
}

/// The heartbeat of a remote cluster. What it says is ignored, so clocks that differ do no harm; that it changes is
/// what counts.
struct Heartbeat {
    watch: PrefixWatch,
    last: Instant,
}

impl Heartbeat {
    async fn start(connection: &mut Connection) -> Result<Self, SessionError> {
        let listing = timeout(HEARTBEAT_TIMEOUT, list(connection, "heartbeat", HEARTBEAT))
            .await
            .map_err(|_| SessionError::TimedOut { act: "heartbeat", after: HEARTBEAT_TIMEOUT })??;
        let watch = PrefixWatch::start(connection, "heartbeat", HEARTBEAT, listing.revision).await?;
        Ok(Self { watch, last: Instant::now() })
    }

    /// Ends when the heartbeat stops.
    async fn watch(self) -> SessionError {
        let changes = stream::unfold(self.watch, |mut watch| async move { Some((watch.next().await, watch)) });
        beats(self.last, pin!(changes)).await
    }
}

/// Ends when `changes` fail or end, or have had no put for [`HEARTBEAT_TIMEOUT`].
async fn beats(
    mut last: Instant,
    mut changes: Pin<&mut impl Stream<Item = Result<Change, SessionError>>>,
) -> SessionError {
    loop {
        tokio::select! {
            () = sleep_until(last + HEARTBEAT_TIMEOUT) => {
                return SessionError::HeartbeatLost { since: last.elapsed() };
            }
            change = changes.next() => match change {
                Some(Ok(Change::Put { .. })) => last = Instant::now(),
                Some(Ok(Change::Delete { .. })) => {}
                Some(Err(error)) => return error,
                None => return SessionError::WatchEnded { act: "heartbeat", reason: String::new() },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_that_stops_is_noticed_two_minutes_after_the_last_put() {
        let start = Instant::now();
        let changes = stream::unfold(1, |count| async move {
            let put = Change::Put { key: HEARTBEAT.into(), value: Vec::new(), revision: 1 };
            let change = match count {
                1..=3 => {
                    sleep_until(start + Duration::from_secs(60) * count).await;
                    put
                }
                // A deletion is no sign of life.
                4 => Change::Delete { key: HEARTBEAT.into(), revision: 1 },
                _ => std::future::pending().await,
            };
            Some((Ok(change), count + 1))
        });
        let error = beats(start, pin!(changes)).await;
        assert!(matches!(error, SessionError::HeartbeatLost { .. }), "{error}");
        assert_eq!(start.elapsed().as_secs(), 5 * 60, "three puts, then silence");
    }
}
