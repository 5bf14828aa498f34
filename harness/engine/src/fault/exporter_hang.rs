//! Exporter hang: SIGSTOP the mesh API server of clusters, which writes to their etcd.
//!
//! Effect: etcd is alive and nothing new comes: no change and no heartbeat, so watchdogs that count heartbeats bark. The keys
//! stay until their lease runs out. Witness: every thread of it is in state `T`. Heal: SIGCONT.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Clusters, record};

use super::{Fault, FaultError, Injected, Injection, cuts, process};
use crate::world::Strike;

record! {
    /// SIGSTOP what writes the services of clusters to their etcd: the etcd is alive, and nobody writes to it, not even the
    /// heartbeat.
    pub struct ExporterHang {
        /// Of which clusters.
        pub clusters: Clusters,
    }
}

impl fmt::Display for ExporterHang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "suspend the exporter of {}", self.clusters)
    }
}

impl Fault for ExporterHang {
    fn kind(&self) -> &'static str {
        "exporter-hang"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        let target = |cluster: &mesh_types::ClusterName| {
            let strike = cuts::others_blind(injection, Strike::at(format!("exporter of {cluster}")), cluster);
            (format!("exporter-{cluster}"), strike)
        };
        process::on_processes(injection, process::Act::Hang, self.clusters.iter().map(target).collect()).boxed()
    }
}
