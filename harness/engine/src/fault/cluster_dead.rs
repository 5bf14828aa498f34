//! Cluster dead: a whole cluster loses power (cilium/cilium issues 19217, 20729, 37333).
//!
//! Effect: nodes, pods, etcd, Kubernetes API and exporter are gone at once, and nobody says good-bye. Other clusters keep
//! what they know: that is what is measured. Witness: none of its cgroups has a process any more. Heal: the control
//! plane starts with its data, then the nodes boot.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_node::PodState;
use meshbed_oracle::{Cut, Place};
use meshbed_scenario::{ClusterName, record};

use super::{Fault, FaultError, Injected, Injection, cuts, words::Words};
use crate::world::Strike;

record! {
    /// A whole cluster loses power: nodes, pods, etcd, Kubernetes API, exporter. Heal: it boots with its data.
    pub struct ClusterDead {
        /// The cluster.
        pub cluster: ClusterName,
    }
}

impl fmt::Display for ClusterDead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster {} dies", self.cluster)
    }
}

impl Fault for ClusterDead {
    fn kind(&self) -> &'static str {
        "cluster-dead"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let cluster = self.cluster.clone();
            let pods = injection.pod_states(&cluster).await?;
            let id = injection.strike(self.strike(injection, &pods));
            let control = injection.control.clone();
            let failed = FaultError::failed(format!("crash cluster {cluster}"));
            let witness = control.crash_cluster(cluster.as_str()).await.map_err(failed)?;
            injection.witnessed(id, witness.words());
            let healing = async move {
                let failed = FaultError::failed(format!("boot cluster {cluster}"));
                control.boot_cluster(cluster.as_str()).await.map(|booted| booted.words()).map_err(failed)
            };
            Ok(vec![Injected { id, healing: healing.boxed() }])
        }
        .boxed()
    }
}

impl ClusterDead {
    fn strike(&self, injection: &Injection, pods: &[PodState]) -> Strike {
        let cluster = &self.cluster;
        let strike = Strike::at(format!("cluster {cluster}")).kills(cluster, pods).silences(cluster);
        let mut strike = cuts::all_blind(strike, cluster);
        for other in injection.topology.clusters() {
            let from = Place::Cluster(other.name().clone());
            strike = strike.cuts(Cut::Path { from, to: Place::Cluster(cluster.clone()) });
            if other.name() != cluster {
                strike = strike.hits(other.name());
                continue;
            }
            for node in other.nodes() {
                let (cluster, node) = (cluster.clone(), node.name().to_owned());
                strike = strike.loses_node(&cluster, &node).cuts(Cut::NodeMaps { cluster, node });
            }
        }
        strike
    }
}
