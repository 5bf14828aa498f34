//! API gone: SIGKILL the Kubernetes API of clusters, and keep it away until it is healed. The pods live on.
//!
//! Effect: nobody learns what happens in the cluster, its own nodes included. Witness: the pidfd of the process became
//! readable. Heal: it is started again with its data.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Clusters, record};

use super::{Fault, FaultError, Injected, Injection, cuts, process};
use crate::world::Strike;

record! {
    /// SIGKILL the Kubernetes API of clusters, and keep it away until it is healed. Its data is kept and the pods live on.
    pub struct ApiGone {
        /// Of which clusters.
        pub clusters: Clusters,
    }
}

impl fmt::Display for ApiGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kill the Kubernetes API of {}", self.clusters)
    }
}

impl Fault for ApiGone {
    fn kind(&self) -> &'static str {
        "api-gone"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        let target = |cluster: &mesh_types::ClusterName| {
            let strike = cuts::all_blind(Strike::at(format!("Kubernetes API of {cluster}")), cluster).silences(cluster);
            (format!("apiserver-{cluster}"), strike)
        };
        process::on_processes(injection, process::Act::Kill, self.clusters.iter().map(target).collect()).boxed()
    }
}
