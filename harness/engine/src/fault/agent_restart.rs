//! Agent restart: SIGTERM the agents of nodes and start them again at once.
//!
//! Effect: for a moment nobody listens to news; the maps must not change. Witness: another process than before says
//! that it is ready. There is nothing left to heal.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_driver::END_DEADLINE;
use meshbed_scenario::{NodeRef, Nodes, record};

use super::{Fault, FaultError, Injected, Injection, cuts, process, words::Words};
use crate::world::Strike;

record! {
    /// SIGTERM the agents of nodes and start them again at once.
    pub struct AgentRestart {
        /// On which nodes.
        pub nodes: Nodes,
        /// SIGKILL instead of SIGTERM.
        pub kill: Option<bool>,
    }
}

impl fmt::Display for AgentRestart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "restart the agents of {}", self.nodes)
    }
}

impl Fault for AgentRestart {
    fn kind(&self) -> &'static str {
        "agent-restart"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let mut injected = Vec::new();
            for node in &self.nodes {
                injected.push(self.restart(injection, node).await?);
            }
            Ok(injected)
        }
        .boxed()
    }
}

impl AgentRestart {
    async fn restart(&self, injection: &Injection, node: &NodeRef) -> Result<Injected, FaultError> {
        let (control, name) = (&injection.control, format!("agent-{}", node.node));
        process::must_run(injection, &name).await?;
        let strike = cuts::node_blind(injection, Strike::at(format!("agent of {node}")), &node.cluster, &node.node);
        let id = injection.strike(strike);
        let failed = |what: &str| FaultError::failed(format!("{what} process `{name}`"));
        let ended = if self.kill == Some(true) {
            control.kill(&name).await.map_err(failed("kill"))?.words()
        } else {
            control.stop(&name, END_DEADLINE).await.map_err(failed("stop"))?.words()
        };
        let started = control.start(&name).await.map_err(failed("start"))?;
        injection.witnessed(id, format!("{ended}; {}", started.words()));
        Ok(Injected::for_good(id))
    }
}
