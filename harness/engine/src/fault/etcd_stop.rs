//! etcd stop: SIGTERM the etcd of clusters, and keep it away until it is healed.
//!
//! Effect, witness and heal: as with `etcdKill`, but etcd says good-bye to its clients.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Clusters, record};

use super::{Fault, FaultError, Injected, Injection, cuts, process};
use crate::world::Strike;

record! {
    /// SIGTERM the etcd of clusters, and keep it away until it is healed. Its data is kept.
    pub struct EtcdStop {
        /// Of which clusters.
        pub clusters: Clusters,
    }
}

impl fmt::Display for EtcdStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stop the etcd of {}", self.clusters)
    }
}

impl Fault for EtcdStop {
    fn kind(&self) -> &'static str {
        "etcd-stop"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        let target = |cluster: &mesh_types::ClusterName| {
            let strike = cuts::etcd_silent(injection, Strike::at(format!("etcd of {cluster}")), cluster);
            (format!("etcd-{cluster}"), strike)
        };
        process::on_processes(injection, process::Act::Stop, self.clusters.iter().map(target).collect()).boxed()
    }
}
