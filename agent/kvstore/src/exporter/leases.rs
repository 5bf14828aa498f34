//! The leases that our keys hang on: when we are gone for long, so are they.

use std::{collections::BTreeMap, collections::BTreeSet, time::Duration};

use mesh_planted::{Defect, planted};

use crate::{SessionError, store::Kvstore};

/// Keys a lease, as Cilium limits it: an etcd deletes all keys of an expired lease in one go.
const KEYS_MAX: usize = 1000;

/// Time to live of leases under [`Defect::LeaseNotKept`]: nobody watches a run for the usual quarter of an hour.
const TTL_NOT_KEPT: Duration = Duration::from_secs(10);

/// Our leases.
#[derive(Debug)]
pub(crate) struct Leases {
    ttl: Duration,
    /// How many keys each lease has.
    leases: BTreeMap<i64, usize>,
    /// The lease of each key.
    keys: BTreeMap<String, i64>,
}

impl Leases {
    /// None yet; new ones live for `ttl` without a sign of life.
    pub(crate) fn new(ttl: Duration) -> Self {
        let ttl = if planted(Defect::LeaseNotKept) { TTL_NOT_KEPT } else { ttl };
        Self { ttl, leases: BTreeMap::new(), keys: BTreeMap::new() }
    }

    /// How often leases are kept alive.
    pub(crate) fn interval(&self) -> Duration {
        self.ttl / 3
    }

    /// The leases that we hold.
    pub(crate) fn ids(&self) -> BTreeSet<i64> {
        self.leases.keys().copied().collect()
    }

    /// Drops every lease that the etcd no longer knows, and makes sure that there is one.
    pub(crate) async fn refresh(&mut self, store: &impl Kvstore) -> Result<(), SessionError> {
        for id in self.ids() {
            if let Err(error) = store.keep_alive(id).await {
                if !matches!(error, SessionError::LeaseLost(_)) {
                    return Err(error);
                }
                self.leases.remove(&id);
                self.keys.retain(|_, lease| *lease != id);
            }
        }
        if self.leases.is_empty() { self.grant(store).await.map(drop) } else { Ok(()) }
    }

    /// The lease for `key`: the one it has, or one with room.
    pub(crate) async fn assign(&mut self, store: &impl Kvstore, key: &str) -> Result<i64, SessionError> {
        if let Some(lease) = self.keys.get(key) {
            return Ok(*lease);
        }
        let id = match self.leases.iter().find(|(_, count)| **count < KEYS_MAX) {
            Some((id, _)) => *id,
            None => self.grant(store).await?,
        };
        *self.leases.entry(id).or_default() += 1;
        self.keys.insert(key.to_owned(), id);
        Ok(id)
    }

    /// Notes that `key` is deleted.
    pub(crate) fn release(&mut self, key: &str) {
        if let Some(lease) = self.keys.remove(key)
            && let Some(count) = self.leases.get_mut(&lease)
        {
            *count -= 1;
        }
    }

    async fn grant(&mut self, store: &impl Kvstore) -> Result<i64, SessionError> {
        let id = store.grant(self.ttl).await?;
        self.leases.insert(id, 0);
        Ok(id)
    }
}
