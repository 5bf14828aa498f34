//! Agent hang: SIGSTOP the agents of nodes.
//!
//! Effect: the agent keeps its connections and does nothing. Witness: every thread of it is in state `T`. Heal: SIGCONT.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Nodes, record};

use super::{Fault, FaultError, Injected, Injection, cuts, process};
use crate::world::Strike;

record! {
    /// SIGSTOP the agents of nodes: connections stay open, and nothing is done.
    pub struct AgentHang {
        /// On which nodes.
        pub nodes: Nodes,
    }
}

impl fmt::Display for AgentHang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "suspend the agents of {}", self.nodes)
    }
}

impl Fault for AgentHang {
    fn kind(&self) -> &'static str {
        "agent-hang"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        let target = |node: &meshbed_scenario::NodeRef| {
            let strike = Strike::at(format!("agent of {node}"));
            (format!("agent-{}", node.node), cuts::node_blind(injection, strike, &node.cluster, &node.node))
        };
        process::on_processes(injection, process::Act::Hang, self.nodes.iter().map(target).collect()).boxed()
    }
}
