//! Agent stop: SIGTERM the agents of nodes, and keep them away until it is healed.
//!
//! Effect and heal: as with `agentKill`, but the agent can put its house in order. Witness: the pidfd of the process
//! became readable.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Nodes, record};

use super::{Fault, FaultError, Injected, Injection, cuts, process};
use crate::world::Strike;

record! {
    /// SIGTERM the agents of nodes, and keep them away until it is healed.
    pub struct AgentStop {
        /// On which nodes.
        pub nodes: Nodes,
    }
}

impl fmt::Display for AgentStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stop the agents of {}", self.nodes)
    }
}

impl Fault for AgentStop {
    fn kind(&self) -> &'static str {
        "agent-stop"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        let target = |node: &meshbed_scenario::NodeRef| {
            let strike = Strike::at(format!("agent of {node}"));
            (format!("agent-{}", node.node), cuts::node_blind(injection, strike, &node.cluster, &node.node))
        };
        process::on_processes(injection, process::Act::Stop, self.nodes.iter().map(target).collect()).boxed()
    }
}
