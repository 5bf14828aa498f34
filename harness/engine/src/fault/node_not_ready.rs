//! Node NotReady: Kubernetes takes a node for lost while its pods are alive (cilium/cilium issue 40504).
//!
//! Effect: the kubelet is stopped, so the node's lease runs out; the node controller calls the node unknown and its pods
//! not ready, and their endpoints go. Witness: the kubelet is stopped, the API says that the node is not ready, and the
//! processes of its pods are still there. Heal: the kubelet goes on and says that all is well.

use std::{fmt, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{NodeRef, record};

use super::{Fault, FaultError, Injected, Injection, words::Words};
use crate::{place::Errand, probe::lock, world::Strike};

/// How long the node controller may take: the grace period of a run is far below it.
const NOTICE_MAX: Duration = Duration::from_secs(60);

record! {
    /// Kubernetes takes a node for lost while its pods are alive: the kubelet stops, and its lease runs out.
    pub struct NodeNotReady {
        /// The node.
        pub node: NodeRef,
    }
}

impl fmt::Display for NodeNotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "make node {} not ready", self.node)
    }
}

impl Fault for NodeNotReady {
    fn kind(&self) -> &'static str {
        "node-not-ready"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        self.make(injection).boxed()
    }
}

impl NodeNotReady {
    async fn make(&self, injection: &Injection) -> Result<Vec<Injected>, FaultError> {
        let (cluster, node) = (&self.node.cluster, &self.node.node);
        let pods = injection.pods_on(cluster, node).await?;
        let kubelet = format!("kubelet-{node}");
        let strike = Strike::at(format!("node {} with {} pods", self.node, pods.len()));
        let id = injection.strike(strike.hits(cluster).loses_node(cluster, node));
        let control = injection.control.clone();
        let stopped = control.suspend(&kubelet).await.map_err(FaultError::failed(format!("suspend `{kubelet}`")))?;
        self.noticed(injection).await?;
        let count = pods.len();
        let alive: Vec<bool> = injection.errand(cluster, Errand::Alive(pods)).await?;
        let alive = alive.into_iter().filter(|alive| *alive).count();
        if alive < count {
            let what = format!("only {alive} of {count} pods of node {} are alive", self.node);
            return Err(FaultError::NoWitness { what });
        }
        injection.witnessed(id, format!("{}; the API says not ready; {alive} pods are alive", stopped.words()));
        let healing = async move {
            let failed = FaultError::failed(format!("resume `{kubelet}`"));
            control.resume(&kubelet).await.map(|resumed| resumed.words()).map_err(failed)
        };
        Ok(vec![Injected { id, healing: healing.boxed() }])
    }

    async fn noticed(&self, injection: &Injection) -> Result<(), FaultError> {
        let mut changes = lock(&injection.world).changes();
        let deadline = tokio::time::Instant::now() + NOTICE_MAX;
        loop {
            changes.mark_unchanged();
            if !lock(&injection.world).node_is_ready(&self.node.cluster, &self.node.node) {
                return Ok(());
            }
            if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                let what = format!("node {} was still ready after {NOTICE_MAX:?}", self.node);
                return Err(FaultError::NoWitness { what });
            }
        }
    }
}
