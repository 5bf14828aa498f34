//! Pod kill: SIGKILL every process of a deployment's pods, then keep the pods away.
//!
//! Effect: the processes die at once, as in a crash; connections to them are refused until Kubernetes has noticed.
//! Witness: a pidfd of each process becomes readable, which the kernel does only when the process has ended.
//! The deployment is then scaled to zero, so that nothing replaces the pods. Heal: the replicas it had before.

use std::{collections::BTreeSet, net::Ipv4Addr, os::fd::OwnedFd};

use mesh_types::ClusterName;
use meshbed_node::PodState;
use meshbed_scenario::DeploymentKey;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::FaultError;
use crate::kubernetes::{Changed, Cluster};

/// How long a process may take to end after SIGKILL, in seconds. The kernel needs microseconds; a machine under load more.
const WITNESS_WAIT_MAX_S: u32 = 5;

/// A fault in force, and what is needed to undo it.
pub(crate) struct PodKill {
    cluster: Cluster,
    deployment: DeploymentKey,
    replicas_before: i32,
    dead: BTreeSet<(ClusterName, Ipv4Addr)>,
}

/// What the injection did.
pub(crate) struct Injected {
    pub(crate) undo: PodKill,
    pub(crate) changed: Changed,
}

struct Victim {
    pod: String,
    pid: Pid,
    pidfd: OwnedFd,
}

/// Kills the processes of `pods`, waits for the witness of each, and scales the deployment to zero. `struck` is called
/// just before the kill with the pods' addresses, `witnessed` as soon as all processes are gone.
pub(crate) async fn inject(
    cluster: &Cluster,
    deployment: &DeploymentKey,
    pods: &[PodState],
    struck: impl FnOnce(BTreeSet<(ClusterName, Ipv4Addr)>),
    witnessed: impl FnOnce(String),
) -> Result<Injected, FaultError> {
    let victims = open(pods)?;
    if victims.is_empty() {
        return Err(FaultError::NoTarget { cluster: cluster.name.clone(), deployment: deployment.to_string() });
    }
    let dead: BTreeSet<_> = pods.iter().map(|pod| (cluster.name.clone(), pod.ip)).collect();
    struck(dead.clone());
    for victim in &victims {
        pidfd_send_signal(&victim.pidfd, Signal::KILL).map_err(|error| victim.failed(error.into()))?;
    }
    let mut gone = Vec::with_capacity(victims.len());
    for victim in victims {
        gone.push(victim.pid.as_raw_nonzero().to_string());
        victim.ended().await?;
    }
    witnessed(format!("processes {} of {} pods are gone", gone.join(", "), pods.len()));
    let (replicas_before, changed) = cluster.scale(deployment, 0).await.map_err(FaultError::Kubernetes)?;
    let undo = PodKill { cluster: cluster.clone(), deployment: deployment.clone(), replicas_before, dead };
    Ok(Injected { undo, changed })
}

impl PodKill {
    /// The pods that were killed.
    pub(crate) fn dead(&self) -> &BTreeSet<(ClusterName, Ipv4Addr)> {
        &self.dead
    }

    /// Scales the deployment back to what it was.
    pub(crate) async fn heal(self) -> Result<(ClusterName, Changed), FaultError> {
        let (_, changed) =
            self.cluster.scale(&self.deployment, self.replicas_before).await.map_err(FaultError::Kubernetes)?;
        Ok((self.cluster.name, changed))
    }
}

/// Opens a pidfd of every process first, so that none can be mistaken for a later one with the same number.
fn open(pods: &[PodState]) -> Result<Vec<Victim>, FaultError> {
    let mut victims = Vec::new();
    for pod in pods {
        for container in &pod.containers {
            let raw = container.pid;
            let failed =
                |source| FaultError::Kill { pid: raw, pod: pod.name.clone(), source: std::io::Error::from(source) };
            let pid = Pid::from_raw(raw).ok_or_else(|| failed(rustix::io::Errno::SRCH))?;
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(failed)?;
            victims.push(Victim { pod: pod.name.clone(), pid, pidfd });
        }
    }
    Ok(victims)
}

impl Victim {
    fn failed(&self, source: std::io::Error) -> FaultError {
        FaultError::Kill { pid: self.pid.as_raw_nonzero().get(), pod: self.pod.clone(), source }
    }

    /// Waits for the witness. A pidfd has no other notification than `poll`, so this sits on a blocking thread.
    async fn ended(self) -> Result<(), FaultError> {
        let Self { pod, pid, pidfd } = self;
        let pid = pid.as_raw_nonzero().get();
        let wait = Timespec { tv_sec: i64::from(WITNESS_WAIT_MAX_S), tv_nsec: 0 };
        let polled = tokio::task::spawn_blocking(move || poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&wait)));
        match polled.await {
            Ok(Ok(0)) => Err(FaultError::NoWitness { pid, pod, waited_s: WITNESS_WAIT_MAX_S }),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(FaultError::Kill { pid, pod, source: error.into() }),
            Err(error) => Err(FaultError::Kill { pid, pod, source: std::io::Error::other(error) }),
        }
    }
}
