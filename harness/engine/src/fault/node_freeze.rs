//! Node freeze: every process of a node stops, and the machine stays on the network.
//!
//! Effect: the kernel still answers ARP and accepts connections, nobody answers them. Witness: the cgroup of the node is
//! frozen. Heal: it is thawed.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{NodeRef, record};

use super::{Fault, FaultError, Injected, Injection, cuts, words::Words};
use crate::world::Strike;

record! {
    /// Every process of a node stops, pods included; the machine stays on the network.
    pub struct NodeFreeze {
        /// The node.
        pub node: NodeRef,
    }
}

impl fmt::Display for NodeFreeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "freeze node {}", self.node)
    }
}

impl Fault for NodeFreeze {
    fn kind(&self) -> &'static str {
        "node-freeze"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let (cluster, node) = (self.node.cluster.clone(), self.node.node.clone());
            let pods = injection.pods_on(&cluster, &node).await?;
            let strike = Strike::at(format!("node {}", self.node)).hangs(&cluster, &pods).loses_node(&cluster, &node);
            let id = injection.strike(cuts::node_blind(injection, strike, &cluster, &node));
            let control = injection.control.clone();
            let failed = |what: &str| FaultError::failed(format!("{what} node {}", self.node));
            let witness = control.freeze_node(&node).await.map_err(failed("freeze"))?;
            injection.witnessed(id, witness.words());
            let name = self.node.clone();
            let healing = async move {
                let failed = FaultError::failed(format!("thaw node {name}"));
                control.thaw_node(&node).await.map(|witness| witness.words()).map_err(failed)
            };
            Ok(vec![Injected { id, healing: healing.boxed() }])
        }
        .boxed()
    }
}
