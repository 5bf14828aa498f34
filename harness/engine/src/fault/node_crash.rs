//! Node crash: a node loses power.
//!
//! Effect: its link goes down, every process of it is gone at once, and so is its BPF state. Kubernetes notices when the
//! node's lease has run out. Witness: its cgroup has no process any more. Heal: the node boots: kubelet and agent start
//! with empty maps, the pods that the API still assigns to it are made again.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_oracle::{Cut, Place};
use meshbed_scenario::{NodeRef, record};

use super::{Fault, FaultError, Injected, Injection, words::Words};
use crate::world::Strike;

record! {
    /// A node loses power: link, processes, pods and BPF state are gone at once. Heal: it boots.
    pub struct NodeCrash {
        /// The node.
        pub node: NodeRef,
    }
}

impl fmt::Display for NodeCrash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "crash node {}", self.node)
    }
}

impl Fault for NodeCrash {
    fn kind(&self) -> &'static str {
        "node-crash"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let (cluster, node) = (self.node.cluster.clone(), self.node.node.clone());
            let pods = injection.pods_on(&cluster, &node).await?;
            let place = Place::Node(cluster.clone(), node.clone());
            let mut strike = Strike::at(format!("node {}", self.node))
                .kills(&cluster, &pods)
                .loses_node(&cluster, &node)
                .cuts(Cut::NodeMaps { cluster: cluster.clone(), node: node.clone() });
            for other in injection.topology.clusters() {
                // Whoever still sends to it gets no answer at all: nobody is there to refuse.
                strike = strike.cuts(Cut::Path { from: Place::Cluster(other.name().clone()), to: place.clone() });
            }
            let id = injection.strike(strike);
            let control = injection.control.clone();
            let failed = |what: &str| FaultError::failed(format!("{what} node {}", self.node));
            let witness = control.crash_node(&node).await.map_err(failed("crash"))?;
            injection.witnessed(id, witness.words());
            let name = self.node.clone();
            let healing = async move {
                let failed = FaultError::failed(format!("boot node {name}"));
                control.boot_node(&node).await.map(|witness| witness.words()).map_err(failed)
            };
            Ok(vec![Injected { id, healing: healing.boxed() }])
        }
        .boxed()
    }
}
