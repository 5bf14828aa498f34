//! `status`: how nodes, deployments and processes are.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use mesh_types::ClusterName;
use meshbed_scenario::{DeploymentKey, Element, NodeRef, element, record};

use super::{About, AnyExpect, Expect, Look};
use crate::{probe::lock, stage::StepError};

/// In the language.
pub(super) const ELEMENT: Element<AnyExpect> = element!("status", Status);

record! {
    /// How a node, a deployment or a process of the mesh is. What is given must hold.
    pub struct Status {
        /// A node; `ready` says what its Kubernetes API thinks of it.
        pub node: Option<NodeRef>,
        /// Whether that node is ready.
        pub ready: Option<bool>,
        /// A deployment; `in` says where, `replicas` how many of its pods are ready.
        pub deployment: Option<DeploymentKey>,
        /// Cluster of the deployment.
        pub in_: Option<ClusterName>,
        /// How many pods of the deployment are ready.
        pub replicas: Option<u64>,
        /// A process, such as `agent-alpha-1`, `etcd-alpha`, `exporter-alpha`.
        pub process: Option<String>,
        /// Whether that process runs; it must when this is not given.
        pub running: Option<bool>,
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status: {}", self.sentences().join(", "))
    }
}

impl Expect for Status {
    fn words(&self) -> String {
        self.sentences().join(" and ")
    }

    fn about(&self) -> About {
        About::State
    }

    fn judge<'a>(&'a self, look: &'a Look<'a>) -> BoxFuture<'a, Result<Vec<String>, StepError>> {
        async move {
            let mut findings: Vec<String> = self.of_node(look).into_iter().chain(self.of_deployment(look)).collect();
            if let Some(process) = &self.process {
                let failed = StepError::action(format!("look for process `{process}`"));
                let runs = look.stage.control.is_running(process).await.map_err(failed)?;
                if runs != self.running.unwrap_or(true) {
                    findings.push(format!("process {process} {}", if runs { "runs" } else { "does not run" }));
                }
            }
            Ok(findings)
        }
        .boxed()
    }
}

impl Status {
    fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        if let Some(node) = &self.node {
            let is = if self.ready.unwrap_or(true) { "is ready" } else { "is not ready" };
            sentences.push(format!("node {node} {is}"));
        }
        if let (Some(deployment), Some(cluster), Some(replicas)) = (&self.deployment, &self.in_, self.replicas) {
            sentences.push(format!("{replicas} pods of {deployment} in {cluster} are ready"));
        }
        if let Some(process) = &self.process {
            let runs = if self.running.unwrap_or(true) { "runs" } else { "does not run" };
            sentences.push(format!("process {process} {runs}"));
        }
        sentences
    }

    fn of_node(&self, look: &Look<'_>) -> Option<String> {
        let node = self.node.as_ref()?;
        let world = lock(&look.stage.world);
        let object = world.objects.get(&node.cluster)?.nodes.get(&format!("/{}", node.node))?;
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions.filter(|one| one["type"] == "Ready").find_map(|one| one["status"].as_str());
        let is_ready = ready == Some("True");
        (is_ready != self.ready.unwrap_or(true))
            .then(|| format!("node {node} has condition Ready={}", ready.unwrap_or("Unknown")))
    }

    fn of_deployment(&self, look: &Look<'_>) -> Option<String> {
        let (deployment, cluster) = (self.deployment.as_ref()?, self.in_.as_ref()?);
        let wanted = self.replicas?;
        let world = lock(&look.stage.world);
        let ready = world.objects.get(cluster)?.deployment_pods(&deployment.to_string()).len() as u64;
        (ready != wanted).then(|| format!("{ready} pods of {deployment} in {cluster} are ready, expected {wanted}"))
    }
}
