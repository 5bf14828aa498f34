//! etcd kill: SIGKILL the etcd of clusters, and keep it away until it is healed.
//!
//! Effect: other clusters learn nothing more; what they know stays. Its data is kept. Witness: the pidfd of the process
//! became readable. Heal: etcd is started again with its data.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Clusters, record};

use super::{Fault, FaultError, Injected, Injection, cuts, process};
use crate::world::Strike;

record! {
    /// SIGKILL the etcd of clusters, and keep it away until it is healed. Its data is kept.
    pub struct EtcdKill {
        /// Of which clusters.
        pub clusters: Clusters,
    }
}

impl fmt::Display for EtcdKill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kill the etcd of {}", self.clusters)
    }
}

impl Fault for EtcdKill {
    fn kind(&self) -> &'static str {
        "etcd-kill"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        let target = |cluster: &mesh_types::ClusterName| {
            let strike = cuts::etcd_silent(injection, Strike::at(format!("etcd of {cluster}")), cluster);
            (format!("etcd-{cluster}"), strike)
        };
        process::on_processes(injection, process::Act::Kill, self.clusters.iter().map(target).collect()).boxed()
    }
}
