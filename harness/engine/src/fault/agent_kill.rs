//! Agent kill: SIGKILL the agents of nodes, and keep them away until it is healed.
//!
//! Effect: the node learns nothing any more; its maps and programs stay in the kernel, so traffic goes on. Witness: the
//! pidfd of the process became readable. Heal: the agent is started again and says that it is ready.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Nodes, record};

use super::{Fault, FaultError, Injected, Injection, cuts, process};
use crate::world::Strike;

record! {
    /// SIGKILL the agents of nodes, and keep them away until it is healed. Maps and programs stay in the kernel.
    pub struct AgentKill {
        /// On which nodes.
        pub nodes: Nodes,
    }
}

impl fmt::Display for AgentKill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kill the agents of {}", self.nodes)
    }
}

impl Fault for AgentKill {
    fn kind(&self) -> &'static str {
        "agent-kill"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        let target = |node: &meshbed_scenario::NodeRef| {
            let strike = Strike::at(format!("agent of {node}"));
            (format!("agent-{}", node.node), cuts::node_blind(injection, strike, &node.cluster, &node.node))
        };
        process::on_processes(injection, process::Act::Kill, self.nodes.iter().map(target).collect()).boxed()
    }
}
