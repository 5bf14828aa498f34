//! Lease loss: etcd revokes the leases that the exporter's keys hang on.
//!
//! Effect: all keys of the cluster vanish at once; the exporter must notice and write them again. Other clusters may lose
//! the cluster's backends for that moment. Witness: keys that were there with a lease are gone, or there with another
//! lease. There is nothing to heal.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Clusters, record};

use super::{Fault, FaultError, Injected, Injection, cuts};
use crate::world::Strike;

/// What the mesh keeps in an etcd.
const PREFIX: &str = "cilium/";

record! {
    /// etcd revokes the leases that the keys of the mesh hang on: all of them vanish at once.
    pub struct LeaseLoss {
        /// Whose etcd.
        pub clusters: Clusters,
    }
}

impl fmt::Display for LeaseLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "revoke the leases of {}", self.clusters)
    }
}

impl Fault for LeaseLoss {
    fn kind(&self) -> &'static str {
        "lease-loss"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let mut injected = Vec::new();
            for cluster in &self.clusters {
                let strike = Strike::at(format!("leases in the etcd of {cluster}")).hits(cluster);
                let id = injection.strike(cuts::others_may_forget(injection, strike, cluster));
                let failed = FaultError::failed(format!("revoke the leases of {cluster}"));
                let revoked = injection.etcd(cluster).await?.revoke_leases(PREFIX).await.map_err(failed)?;
                injection.witnessed(
                    id,
                    format!(
                        "{} leases of {cluster} are gone, {} keys with them",
                        revoked.leases.len(),
                        revoked.keys.len()
                    ),
                );
                injected.push(Injected::for_good(id));
            }
            Ok(injected)
        }
        .boxed()
    }
}
