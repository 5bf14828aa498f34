//! Pod hang: SIGSTOP every process of a deployment's pods.
//!
//! Effect: the kernel still accepts connections for them, and nobody answers; without a readiness probe Kubernetes never
//! notices. Witness: every thread is in state `T`. Heal: SIGCONT.

use std::{fmt, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Clusters, DeploymentKey, record};
use rustix::process::{Pid, Signal, kill_process};

use super::{Fault, FaultError, Injected, Injection};
use crate::{probe::lock, world::Strike};

/// How long processes may take to stop after SIGSTOP.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Time between two looks at the states of threads, which have no notification.
const LOOK_EVERY: Duration = Duration::from_millis(1);

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
            let pods = injection.pods(cluster, &self.deployment)?;
            let pids: Vec<i32> = pods.iter().flat_map(|pod| pod.containers.iter().map(|one| one.pid)).collect();
            let target = format!("{} pods of {} in {cluster}", pods.len(), self.deployment.name);
            let mut strike = Strike::at(target).hangs(cluster, &pods);
            if !has_readiness_probe(injection, cluster, &self.deployment) {
                // Nobody asks them: for Kubernetes they are as ready as before.
                strike.lost_pods.clear();
            }
            let id = injection.strike(strike);
            signal(&pids, Signal::STOP)?;
            stopped(&pids).await?;
            injection.witnessed(id, format!("processes {pids:?} are stopped"));
            let healing = async move {
                signal(&pids, Signal::CONT)?;
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

/// Waits for the witness: every thread of the processes is in state `T`.
async fn stopped(pids: &[i32]) -> Result<(), FaultError> {
    let deadline = tokio::time::Instant::now() + STOP_MAX;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    while let Some(pid) = pids.iter().find(|pid| !is_stopped(**pid)) {
        if tokio::time::Instant::now() >= deadline {
            return Err(FaultError::NoWitness { what: format!("process {pid} did not stop within {STOP_MAX:?}") });
        }
        ticks.tick().await;
    }
    Ok(())
}

fn is_stopped(pid: i32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The name before it is in parentheses and may contain anything.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    })
}

fn signal(pids: &[i32], signal: Signal) -> Result<(), FaultError> {
    for raw in pids {
        let failed = FaultError::failed(format!("signal process {raw}"));
        let pid = Pid::from_raw(*raw).ok_or_else(|| std::io::Error::from(rustix::io::Errno::SRCH));
        let sent = pid.and_then(|pid| kill_process(pid, signal).map_err(std::io::Error::from));
        sent.map_err(failed)?;
    }
    Ok(())
}
