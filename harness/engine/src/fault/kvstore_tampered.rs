//! Kvstore tampered: keys of a cluster's etcd get another value behind the exporter's back, or are deleted.
//!
//! Effect: the other clusters read something that the cluster never said, such as a cluster ID that somebody else has, or miss
//! something that it did. Witness: what is there reads as it was written. Heal: everything as it was, with its lease.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_etcd::{Entry, Etcd, EtcdError};
use meshbed_oracle::{Cut, Fate, Observers};
use meshbed_scenario::{ClusterName, record};

use super::{Fault, FaultError, Injected, Injection};
use crate::{probe::lock, world::Strike};

record! {
    /// Keys of a cluster's etcd get another value behind the exporter's back, or are deleted. An exporter that runs may
    /// notice and write its own again: suspend it before. What readers make of it is theirs: they may keep what they know of
    /// the cluster, or let go of it.
    pub struct KvstoreTampered {
        /// Whose etcd.
        pub cluster: ClusterName,
        /// The key, such as `cilium/cluster-config/beta`; with `*` at its end all keys that begin like this.
        pub key: String,
        /// Its new value; without one, it is deleted.
        pub value: Option<String>,
    }
    check |record, at, context| {
        if record.value.is_some() && record.key.ends_with('*') {
            context.report(at, "a value is for one key, not for all that begin alike", None);
        }
    }
}

impl fmt::Display for KvstoreTampered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.value.is_some() { "tamper with" } else { "delete" };
        write!(f, "{what} key {} of {}", self.key, self.cluster)
    }
}

impl Fault for KvstoreTampered {
    fn kind(&self) -> &'static str {
        "kvstore-tampered"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let etcd = injection.etcd(&self.cluster).await?;
            let what = |what: &str| format!("{what} key `{}` of {}", self.key, self.cluster);
            let before = self.find(&etcd).await.map_err(FaultError::failed(what("read")))?;
            if before.is_empty() && self.value.is_none() {
                return Err(FaultError::NoTarget { what: format!("no key `{}` in {}", self.key, self.cluster) });
            }
            let id = injection.strike(self.strike(injection));
            self.tamper(&etcd, &before).await.map_err(FaultError::failed(what("change")))?;
            let after = self.find(&etcd).await.map_err(FaultError::failed(what("read")))?;
            injection.witnessed(id, self.witness(&before, &after)?);
            let (key, failed) = (self.key.clone(), FaultError::failed(what("restore")));
            let healing = async move {
                restore(&etcd, &key, &before).await.map_err(failed)?;
                Ok(format!("key `{key}` is as it was"))
            };
            Ok(vec![Injected { id, healing: healing.boxed() }])
        }
        .boxed()
    }
}

impl KvstoreTampered {
    /// The keys that are meant, as they are.
    async fn find(&self, etcd: &Etcd) -> Result<Vec<Entry>, EtcdError> {
        match self.key.strip_suffix('*') {
            Some(prefix) => Ok(etcd.list(prefix).await?.entries),
            None => Ok(etcd.get(&self.key).await?.into_iter().collect()),
        }
    }

    async fn tamper(&self, etcd: &Etcd, before: &[Entry]) -> Result<(), EtcdError> {
        match &self.value {
            Some(value) => etcd.put(&self.key, value.as_bytes(), before.first().and_then(lease)).await.map(drop),
            None => {
                for entry in before {
                    etcd.delete(&entry.key).await?;
                }
                Ok(())
            }
        }
    }

    fn witness(&self, before: &[Entry], after: &[Entry]) -> Result<String, FaultError> {
        let (key, cluster) = (&self.key, &self.cluster);
        match &self.value {
            None if after.is_empty() => Ok(format!("{} keys `{key}` of {cluster} are gone", before.len())),
            Some(value) if after.iter().any(|entry| entry.value == value.as_bytes()) => {
                Ok(format!("key `{key}` of {cluster} has another value"))
            }
            _ => Err(FaultError::NoWitness { what: format!("{key} reads otherwise than it was written") }),
        }
    }

    fn strike(&self, injection: &Injection) -> Strike {
        let from = lock(&injection.world).clock.now();
        let about = self.cluster.clone();
        let others = Cut::Knowledge {
            observers: Observers::OtherClusters,
            about: about.clone(),
            fate: Fate::MayVanish { from },
        };
        let kvstore = Cut::Knowledge { observers: Observers::Kvstore, about, fate: Fate::MayVanish { from } };
        Strike::at(format!("key {} of {}", self.key, self.cluster)).cuts(others).cuts(kvstore)
    }
}

fn lease(entry: &Entry) -> Option<i64> {
    Some(entry.lease).filter(|lease| *lease != 0)
}

/// Everything as it was: keys that were there have their value and their lease again, one that was not is gone.
async fn restore(etcd: &Etcd, key: &str, before: &[Entry]) -> Result<(), EtcdError> {
    if before.is_empty() {
        return etcd.delete(key).await.map(drop);
    }
    for entry in before {
        etcd.put(&entry.key, &entry.value, lease(entry)).await?;
    }
    Ok(())
}
