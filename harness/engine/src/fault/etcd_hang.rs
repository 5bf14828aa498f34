//! etcd hang: SIGSTOP the etcd of clusters.
//!
//! Effect: connections stay open and nothing comes. Witness: every thread of it is in state `T`. Heal: SIGCONT.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Clusters, record};

use super::{Fault, FaultError, Injected, Injection, cuts, process};
use crate::world::Strike;

record! {
    /// SIGSTOP the etcd of clusters: connections stay open, and nothing comes.
    pub struct EtcdHang {
        /// Of which clusters.
        pub clusters: Clusters,
    }
}

impl fmt::Display for EtcdHang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "suspend the etcd of {}", self.clusters)
    }
}

impl Fault for EtcdHang {
    fn kind(&self) -> &'static str {
        "etcd-hang"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        let target = |cluster: &mesh_types::ClusterName| {
            let strike = cuts::etcd_silent(injection, Strike::at(format!("etcd of {cluster}")), cluster);
            (format!("etcd-{cluster}"), strike)
        };
        process::on_processes(injection, process::Act::Hang, self.clusters.iter().map(target).collect()).boxed()
    }
}
