//! etcd reset: the etcd of a cluster loses its data and comes back as another one.
//!
//! Effect: all keys are gone and etcd has a new cluster ID; clients that held on to revisions and leases of the old one must
//! begin anew. Witness: etcd says another cluster ID. There is nothing to heal.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Clusters, record};

use super::{Fault, FaultError, Injected, Injection, cuts, words::Words};
use crate::world::Strike;

record! {
    /// The etcd of a cluster loses its data and comes back with a new cluster ID.
    pub struct EtcdReset {
        /// Whose etcd.
        pub clusters: Clusters,
    }
}

impl fmt::Display for EtcdReset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reset the etcd of {}", self.clusters)
    }
}

impl Fault for EtcdReset {
    fn kind(&self) -> &'static str {
        "etcd-reset"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let mut injected = Vec::new();
            for cluster in &self.clusters {
                let strike = Strike::at(format!("etcd of {cluster}")).hits(cluster);
                let id = injection.strike(cuts::others_may_forget(injection, strike, cluster));
                let failed = FaultError::failed(format!("reset the etcd of {cluster}"));
                let witness = injection.control.reset_etcd(cluster.as_str()).await.map_err(failed)?;
                injection.witnessed(id, witness.words());
                injected.push(Injected::for_good(id));
            }
            Ok(injected)
        }
        .boxed()
    }
}
