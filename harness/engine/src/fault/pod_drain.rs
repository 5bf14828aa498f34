//! Pod drain: cordon a node and evict its pods, as `kubectl drain` does.
//!
//! Effect: the pods end in an orderly way and come back on other nodes. Witness: the Kubernetes API has no pod on the
//! node any more, and the kubelet has taken all sandboxes down. Heal: the node takes pods again.

use std::{fmt, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{NodeRef, record};

use super::{Fault, FaultError, Injected, Injection};
use crate::{probe::lock, world::Strike};

/// How long the pods of a node may take to end.
const DRAIN_MAX: Duration = Duration::from_secs(60);

record! {
    /// Cordon a node and evict its pods, as `kubectl drain` does.
    pub struct PodDrain {
        /// The node.
        pub node: NodeRef,
    }
}

impl fmt::Display for PodDrain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "drain node {}", self.node)
    }
}

impl Fault for PodDrain {
    fn kind(&self) -> &'static str {
        "pod-drain"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        self.drain(injection).boxed()
    }
}

impl PodDrain {
    async fn drain(&self, injection: &Injection) -> Result<Vec<Injected>, FaultError> {
        let (cluster, node) = (&self.node.cluster, &self.node.node);
        let api = injection.cluster(cluster)?;
        let pods = injection.pods_on(cluster, node).await?;
        if pods.is_empty() {
            return Err(FaultError::NoTarget { what: format!("node {} has no pods", self.node) });
        }
        let id = injection.strike(Strike::at(format!("{} pods of node {}", pods.len(), self.node)).hits(cluster));
        let failed = |what: &str| FaultError::failed(format!("{what} node {}", self.node));
        api.cordon(node, true).await.map_err(failed("cordon"))?;
        for pod in &pods {
            api.evict(&pod.namespace, &pod.name).await.map_err(failed("drain"))?;
        }
        self.empty(injection).await?;
        injection.witnessed(id, format!("{} pods left node {}", pods.len(), self.node));
        let node = node.clone();
        let healing = async move {
            api.cordon(&node, false).await.map_err(FaultError::failed(format!("uncordon node {node}")))?;
            Ok(format!("node {node} takes pods again"))
        };
        Ok(vec![Injected { id, healing: healing.boxed() }])
    }

    /// Waits for the witness.
    async fn empty(&self, injection: &Injection) -> Result<(), FaultError> {
        let mut changes = lock(&injection.world).changes();
        let deadline = tokio::time::Instant::now() + DRAIN_MAX;
        loop {
            changes.mark_unchanged();
            let listed = lock(&injection.world).objects.get(&self.node.cluster).is_some_and(|objects| {
                objects.pods.values().any(|pod| pod["spec"]["nodeName"] == self.node.node.as_str())
            });
            if !listed && injection.pods_on(&self.node.cluster, &self.node.node).await?.is_empty() {
                return Ok(());
            }
            if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                let what = format!("node {} still had pods after {DRAIN_MAX:?}", self.node);
                return Err(FaultError::NoWitness { what });
            }
        }
    }
}
