//! Exporter kill: SIGKILL the mesh API server of clusters, which writes to their etcd, and keep it away until it is healed.
//!
//! Effect: other clusters learn nothing more; the keys stay until their lease runs out. Witness: the pidfd of the process
//! became readable. Heal: it is started again and says that it is ready.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Clusters, record};

use super::{Fault, FaultError, Injected, Injection, cuts, process};
use crate::world::Strike;

record! {
    /// SIGKILL what writes the services of clusters to their etcd, and keep it away until it is healed.
    pub struct ExporterKill {
        /// Of which clusters.
        pub clusters: Clusters,
    }
}

impl fmt::Display for ExporterKill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kill the exporter of {}", self.clusters)
    }
}

impl Fault for ExporterKill {
    fn kind(&self) -> &'static str {
        "exporter-kill"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        let target = |cluster: &mesh_types::ClusterName| {
            let strike = cuts::others_blind(injection, Strike::at(format!("exporter of {cluster}")), cluster);
            (format!("exporter-{cluster}"), strike)
        };
        process::on_processes(injection, process::Act::Kill, self.clusters.iter().map(target).collect()).boxed()
    }
}
