//! Pod kill: SIGKILL every process of a deployment's pods, then keep the pods away.
//!
//! Effect: the processes die at once, as in a crash; connections to them are refused until Kubernetes has noticed.
//! Witness: a pidfd of each process becomes readable, which the kernel does only when the process has ended.
//! The deployment is then scaled down, so that nothing replaces the pods. Heal: the replicas that it had before.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Clusters, DeploymentKey, record};

use super::{Fault, FaultError, Injected, Injection};
use crate::{place::Errand, world::Strike};

record! {
    /// SIGKILL every process of a deployment's pods, and keep them away until it is healed.
    pub struct PodKill {
        /// In which clusters.
        pub clusters: Clusters,
        /// Whose pods.
        pub deployment: DeploymentKey,
    }
    check |record, _at, context| {
        for cluster in &record.clusters {
            context.claim("killed", format!("`{}` of `{cluster}`", record.deployment));
        }
    }
}

impl fmt::Display for PodKill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kill pods of {} in {}", self.deployment, self.clusters)
    }
}

impl Fault for PodKill {
    fn kind(&self) -> &'static str {
        "pod-kill"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        self.kill(injection).boxed()
    }
}

impl PodKill {
    async fn kill(&self, injection: &Injection) -> Result<Vec<Injected>, FaultError> {
        // All targets are found before the first is hit.
        let mut targets = Vec::new();
        for cluster in &self.clusters {
            targets.push((injection.cluster(cluster)?, injection.pods(cluster, &self.deployment).await?));
        }
        let mut injected = Vec::new();
        for (cluster, pods) in targets {
            let target = format!("{} pods of {} in {}", pods.len(), self.deployment.name, cluster.name);
            let id = injection.strike(Strike::at(target).kills(&cluster.name, &pods));
            let count = pods.len();
            let gone: String = injection.errand(&cluster.name, Errand::Kill(pods)).await?;
            injection.witnessed(id, format!("processes {gone} of {count} pods are gone"));
            let scale = |what| FaultError::failed(format!("scale `{}` {what}", self.deployment));
            let (replicas, changed) = cluster.scale(&self.deployment, 0).await.map_err(scale("down"))?;
            injection.must_see(&cluster.name, changed);
            let (deployment, injection) = (self.deployment.clone(), injection.clone());
            let healing = async move {
                let failed = FaultError::failed(format!("scale `{deployment}` back"));
                let (_, changed) = cluster.scale(&deployment, replicas).await.map_err(failed)?;
                injection.must_see(&cluster.name, changed);
                Ok(format!("`{deployment}` of {} has {replicas} replicas again", cluster.name))
            };
            injected.push(Injected { id, healing: healing.boxed() });
        }
        Ok(injected)
    }
}
