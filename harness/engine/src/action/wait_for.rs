//! `waitFor`: a condition, before the next action.

use std::{fmt, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{ClusterName, DeploymentKey, Element, NodeRef, element, record};

use super::{Action, AnyAction};
use crate::{
    stage::{Stage, StepError},
    world::World,
};

/// In the language.
pub(super) const ELEMENT: Element<AnyAction> = element!("waitFor", WaitFor);

record! {
    /// Wait for conditions before the next action. Everything that is given must hold at the same time.
    pub struct WaitFor {
        /// Kubernetes has settled everywhere.
        pub settled: Option<bool>,
        /// All maps hold what they should.
        pub maps: Option<bool>,
        /// A deployment of cluster `in` has `replicas` ready pods.
        pub deployment: Option<DeploymentKey>,
        /// Cluster of the deployment.
        pub in_: Option<ClusterName>,
        /// How many pods of the deployment are ready.
        pub replicas: Option<u64>,
        /// A node is ready (or is not, with `ready: false`).
        pub node: Option<NodeRef>,
        /// Whether the node is ready.
        pub ready: Option<bool>,
        /// Every client has sent so many requests since the step began.
        pub requests: Option<u64>,
        /// How long it may take; the deadline of the scenario when it is not given.
        pub timeout: Option<Duration>,
    }
}

impl fmt::Display for WaitFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if self.settled == Some(true) {
            words.push("Kubernetes has settled".to_owned());
        }
        if self.maps == Some(true) {
            words.push("all maps are right".to_owned());
        }
        if let (Some(deployment), Some(cluster), Some(replicas)) = (&self.deployment, &self.in_, self.replicas) {
            words.push(format!("{replicas} pods of {deployment} in {cluster} are ready"));
        }
        if let Some(node) = &self.node {
            words.push(format!("{node} is {}", if self.ready.unwrap_or(true) { "ready" } else { "not ready" }));
        }
        if let Some(requests) = self.requests {
            words.push(format!("every client has sent {requests} requests"));
        }
        write!(f, "wait for {}", words.join(" and "))
    }
}

impl Action for WaitFor {
    fn perform<'a>(&'a self, stage: &'a Stage) -> BoxFuture<'a, Result<(), StepError>> {
        let timeout = self.timeout.unwrap_or(stage.scenario.deadline());
        stage.wait(timeout, |world| self.missing(world)).boxed()
    }
}

impl WaitFor {
    fn missing(&self, world: &World) -> Vec<String> {
        let mut missing = Vec::new();
        if self.settled == Some(true) {
            missing.extend(world.unsettled_objects());
        }
        if self.maps == Some(true) {
            missing.extend(world.wrong_maps());
        }
        if let (Some(deployment), Some(cluster), Some(wanted)) = (&self.deployment, &self.in_, self.replicas) {
            let ready = world.objects[cluster].deployment_pods(&deployment.to_string()).len() as u64;
            if ready != wanted {
                missing.push(format!("{ready} of {wanted} pods of {deployment} in {cluster} are ready"));
            }
        }
        if let Some(node) = &self.node {
            let wanted = self.ready.unwrap_or(true);
            if world.node_is_ready(&node.cluster, &node.node) != wanted {
                missing.push(format!("node {node} is {}", if wanted { "not ready" } else { "ready" }));
            }
        }
        if let Some(wanted) = self.requests {
            let found = world.requests_of_slowest_client();
            if found.is_some_and(|found| found < wanted) {
                missing.push(format!("{} of {wanted} requests", found.unwrap_or(0)));
            }
        }
        missing
    }
}
