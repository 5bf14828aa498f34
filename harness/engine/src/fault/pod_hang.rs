//! Pod hang: SIGSTOP every process of a deployment's pods.
//!
//! Effect: the kernel still accepts connections for them, and nobody answers; without a readiness probe Kubernetes never
//! notices. Witness: every thread is in state `T`. Heal: SIGCONT.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Clusters, DeploymentKey, record};

use super::{Fault, FaultError, Injected, Injection};
use crate::{
    place::{Errand, Stopped},
    probe::lock,
    world::Strike,
};

record! {
    /// SIGSTOP every process of a deployment's pods: connections are accepted and nobody answers.
    pub struct PodHang {
        /// In which clusters.
        pub clusters: Clusters,
        /// Whose pods.
        pub deployment: DeploymentKey,
    }
}

impl fmt::Display for PodHang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hang pods of {} in {}", self.deployment, self.clusters)
    }
}

impl Fault for PodHang {
    fn kind(&self) -> &'static str {
        "pod-hang"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        self.hang(injection).boxed()
    }
}

impl PodHang {
    async fn hang(&self, injection: &Injection) -> Result<Vec<Injected>, FaultError> {
        let mut injected = Vec::new();
        for cluster in &self.clusters {
            let pods = injection.pods(cluster, &self.deployment).await?;
            let pids: Vec<i32> = pods.iter().flat_map(|pod| pod.containers.iter().map(|one| one.pid)).collect();
            let target = format!("{} pods of {} in {cluster}", pods.len(), self.deployment.name);
            let mut strike = Strike::at(target).hangs(cluster, &pods);
            if !has_readiness_probe(injection, cluster, &self.deployment) {
                // Nobody asks them: for Kubernetes they are as ready as before.
                strike.lost_pods.clear();
            }
            let id = injection.strike(strike);
            injection.errand::<()>(cluster, Errand::Stop(pids.clone(), Stopped::Yes)).await?;
            injection.witnessed(id, format!("processes {pids:?} are stopped"));
            let (injection, cluster) = (injection.clone(), cluster.clone());
            let healing = async move {
                injection.errand::<()>(&cluster, Errand::Stop(pids.clone(), Stopped::No)).await?;
                Ok(format!("processes {pids:?} were told to go on"))
            };
            injected.push(Injected { id, healing: healing.boxed() });
        }
        Ok(injected)
    }
}

fn has_readiness_probe(injection: &Injection, cluster: &mesh_types::ClusterName, deployment: &DeploymentKey) -> bool {
    let world = lock(&injection.world);
    let object = world.objects.get(cluster).and_then(|objects| objects.deployments.get(&deployment.to_string()));
    object.is_some_and(|object| {
        let containers = object.pointer("/spec/template/spec/containers").and_then(serde_json::Value::as_array);
        containers.into_iter().flatten().any(|container| !container["readinessProbe"].is_null())
    })
}
