//! Pod kill: SIGKILL every process of a deployment's pods, then keep the pods away.
//!
//! Effect: the processes die at once, as in a crash; connections to them are refused until Kubernetes has noticed.
//! Witness: a pidfd of each process becomes readable, which the kernel does only when the process has ended.
//! The deployment is then scaled down, so that nothing replaces the pods. Heal: the replicas that it had before.

use std::{fmt, os::fd::OwnedFd};

use futures::{FutureExt, future::BoxFuture};
use meshbed_node::PodState;
use meshbed_scenario::{Clusters, DeploymentKey, record};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{Fault, FaultError, Injected, Injection};
use crate::world::Strike;

/// How long a process may take to end after SIGKILL, in seconds. The kernel needs microseconds; a machine under load more.
const WITNESS_WAIT_MAX_S: u32 = 5;

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
            let pods = injection.pods(cluster, &self.deployment)?;
            targets.push((injection.cluster(cluster)?, open(&pods)?, pods));
        }
        let mut injected = Vec::new();
        for (cluster, victims, pods) in targets {
            let target = format!("{} pods of {} in {}", pods.len(), self.deployment.name, cluster.name);
            let id = injection.strike(Strike::at(target).kills(&cluster.name, &pods));
            let gone = kill(victims).await?;
            injection.witnessed(id, format!("processes {gone} of {} pods are gone", pods.len()));
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

/// A process that will be killed.
pub(super) struct Victim {
    pod: String,
    pid: Pid,
    pidfd: OwnedFd,
}

/// Kills them all, then waits until the kernel says that each is gone. Returns their numbers, for the witness.
pub(super) async fn kill(victims: Vec<Victim>) -> Result<String, FaultError> {
    for victim in &victims {
        let failed = FaultError::failed(format!("kill process {} of pod `{}`", victim.number(), victim.pod));
        pidfd_send_signal(&victim.pidfd, Signal::KILL).map_err(std::io::Error::from).map_err(failed)?;
    }
    let mut gone = Vec::with_capacity(victims.len());
    for victim in victims {
        gone.push(victim.number().to_string());
        victim.ended().await?;
    }
    Ok(gone.join(", "))
}

/// Opens a pidfd of every process first, so that none can be mistaken for a later one with the same number.
pub(super) fn open(pods: &[PodState]) -> Result<Vec<Victim>, FaultError> {
    let mut victims = Vec::new();
    for pod in pods {
        for container in &pod.containers {
            let failed = || FaultError::failed(format!("find process {} of pod `{}`", container.pid, pod.name));
            let none = || std::io::Error::from(rustix::io::Errno::SRCH);
            let pid = Pid::from_raw(container.pid).ok_or_else(none).map_err(failed())?;
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(std::io::Error::from).map_err(failed())?;
            victims.push(Victim { pod: pod.name.clone(), pid, pidfd });
        }
    }
    Ok(victims)
}

impl Victim {
    fn number(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits for the witness. A pidfd has no other notification than `poll`, so this sits on a blocking thread.
    async fn ended(self) -> Result<(), FaultError> {
        let what = format!(
            "process {} of pod `{}` was still there {WITNESS_WAIT_MAX_S} s after SIGKILL",
            self.number(),
            self.pod
        );
        let pidfd = self.pidfd;
        let waited = tokio::task::spawn_blocking(move || {
            let timeout = Timespec { tv_sec: WITNESS_WAIT_MAX_S.into(), tv_nsec: 0 };
            poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout))
        });
        match waited.await {
            Ok(Ok(1..)) => Ok(()),
            _ => Err(FaultError::NoWitness { what }),
        }
    }
}
