//! KVStoreMesh kill: SIGKILL what copies remote clusters into the etcd of clusters, and keep it away until it is healed.
//!
//! Effect: the agents of these clusters learn nothing more of any remote cluster; the copies stay until their lease runs out.
//! Witness: the pidfd of the process became readable. Heal: it is started again and says that it is ready.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Clusters, record};

use super::{Fault, FaultError, Injected, Injection, cuts, process};
use crate::world::Strike;

record! {
    /// SIGKILL what copies remote clusters into the etcd of clusters, and keep it away until it is healed.
    pub struct KvstoremeshKill {
        /// Of which clusters.
        pub clusters: Clusters,
    }
}

impl fmt::Display for KvstoremeshKill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kill the KVStoreMesh of {}", self.clusters)
    }
}

impl Fault for KvstoremeshKill {
    fn kind(&self) -> &'static str {
        "kvstoremesh-kill"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        let target = |cluster: &mesh_types::ClusterName| {
            let strike = Strike::at(format!("KVStoreMesh of {cluster}")).hits(cluster);
            (format!("kvstoremesh-{cluster}"), cuts::copies_stale(injection, strike, cluster))
        };
        process::on_processes(injection, process::Act::Kill, self.clusters.iter().map(target).collect()).boxed()
    }
}
