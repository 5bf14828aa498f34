//! Kvstore tampered: a key of a cluster's etcd gets another value behind the exporter's back.
//!
//! Effect: the other clusters read something that the cluster never said, such as a cluster ID that somebody else has. Witness:
//! the key reads as it was written. Heal: the value as it was, or no key when there was none.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_etcd::Entry;
use meshbed_oracle::{Cut, Fate, Observers};
use meshbed_scenario::{ClusterName, record};

use super::{Fault, FaultError, Injected, Injection};
use crate::{probe::lock, world::Strike};

record! {
    /// A key of a cluster's etcd gets another value behind the exporter's back. What readers make of it is theirs: they may
    /// keep what they know of the cluster, or let go of it.
    pub struct KvstoreTampered {
        /// Whose etcd.
        pub cluster: ClusterName,
        /// The key, such as `cilium/cluster-config/beta`.
        pub key: String,
        /// Its new value.
        pub value: String,
    }
}

impl fmt::Display for KvstoreTampered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tamper with key {} of {}", self.key, self.cluster)
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
            let before = etcd.get(&self.key).await.map_err(FaultError::failed(what("read")))?;
            let lease = before.as_ref().map(|entry| entry.lease).filter(|lease| *lease != 0);
            let id = injection.strike(self.strike(injection));
            etcd.put(&self.key, self.value.as_bytes(), lease).await.map_err(FaultError::failed(what("write")))?;
            let after = etcd.get(&self.key).await.map_err(FaultError::failed(what("read")))?;
            if after.is_none_or(|entry| entry.value != self.value.as_bytes()) {
                return Err(FaultError::NoWitness {
                    what: format!("{} reads otherwise than it was written", self.key),
                });
            }
            injection.witnessed(id, format!("key `{}` of {} has another value", self.key, self.cluster));
            let (key, failed) = (self.key.clone(), FaultError::failed(what("restore")));
            let healing = async move {
                let restored = match &before {
                    Some(Entry { value, .. }) => etcd.put(&key, value, lease).await.map(drop),
                    None => etcd.delete(&key).await.map(drop),
                };
                restored.map_err(failed)?;
                Ok(format!("key `{key}` is as it was"))
            };
            Ok(vec![Injected { id, healing: healing.boxed() }])
        }
        .boxed()
    }
}

impl KvstoreTampered {
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
