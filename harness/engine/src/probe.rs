//! Probe clients: `meshbed-pod probe` inside client pods, one process each, one JSON line a request.

use std::{
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
};

use mesh_types::ClusterName;
use meshbed_events::{Answer, ErrorKind, Outcome, Request};
use meshbed_node::PodState;
use meshbed_scenario::Probe;
use nix::{sys::signal::Signal, unistd::Pid};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};

use crate::world::World;

/// A running client.
pub(crate) struct Client {
    cluster: ClusterName,
    pod: String,
    child: Child,
    reader: JoinHandle<()>,
}

/// Why a client could not be started.
#[derive(Debug, thiserror::Error)]
#[error("failed to start the probe in pod `{pod}` of cluster `{cluster}`")]
pub(crate) struct ProbeError {
    /// Cluster of the pod.
    pub(crate) cluster: ClusterName,
    /// The pod.
    pub(crate) pod: String,
    /// Why.
    #[source]
    pub(crate) source: std::io::Error,
}

/// Where a probe's requests go.
pub(crate) struct Target<'a> {
    /// Cluster IP and port.
    pub(crate) address: String,
    pub(crate) probe: &'a Probe,
}

impl Client {
    /// Starts the client inside `pod`; its requests go to `world` until it is stopped.
    pub(crate) fn start(
        cluster: &ClusterName,
        node: &str,
        pod: &PodState,
        program: &Path,
        target: &Target<'_>,
        world: &Arc<Mutex<World>>,
    ) -> Result<Self, ProbeError> {
        let failed = |source| ProbeError { cluster: cluster.clone(), pod: pod.name.clone(), source };
        let probe = target.probe;
        let mut command = meshbed_node::exec::command_in_pod(pod, program);
        command
            .args(["probe", "--target", &target.address, "--host", &probe.service.name, "--path", "/"])
            .args(["--rate", &probe.rate.to_string(), "--timeout-ms", &probe.timeout.as_millis().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = Command::from(command).kill_on_drop(true).spawn().map_err(failed)?;
        let stdout = child.stdout.take().ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
        let head = RequestHead {
            cluster: cluster.to_string(),
            client: pod.name.clone(),
            node: node.to_owned(),
            service: format!("{}:{}", probe.service, probe.port),
        };
        let world_of_reader = Arc::clone(world);
        let reader = tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                match serde_json::from_str::<Line>(&line) {
                    Ok(line) => {
                        let mut world = lock(&world_of_reader);
                        let request = head.request(line, &world);
                        world.request(request);
                    }
                    Err(error) => tracing::error!(%error, line, "the probe printed what is no request"),
                }
            }
        });
        lock(world).client(cluster, &pod.name);
        Ok(Self { cluster: cluster.clone(), pod: pod.name.clone(), child, reader })
    }

    /// Whether its process has ended, most likely with its pod.
    pub(crate) fn is_over(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks the client to stop and waits until its last request is in.
    pub(crate) async fn stop(mut self, world: &Arc<Mutex<World>>) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may have ended by itself: then there is nothing to signal.
            let _gone = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGTERM).is_err();
        }
        if let Err(error) = self.child.wait().await {
            tracing::error!(pod = self.pod, %error, "failed to wait for the probe");
        }
        if let Err(error) = self.reader.await {
            tracing::error!(pod = self.pod, %error, "the probe's reader failed");
        }
        lock(world).client_stopped(&self.cluster, &self.pod);
    }
}

/// Locks the world. A poisoned lock means that a task panicked; its panic is what should be seen.
pub(crate) fn lock(world: &Arc<Mutex<World>>) -> std::sync::MutexGuard<'_, World> {
    world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What all requests of a client share.
struct RequestHead {
    cluster: String,
    client: String,
    node: String,
    service: String,
}

impl RequestHead {
    fn request(&self, line: Line, world: &World) -> Request {
        let outcome = match (line.error, line.cluster, line.pod, line.ip, line.status) {
            (Some(kind), ..) => Outcome::Failed(kind),
            (None, Some(cluster), Some(pod), Some(ip), Some(status)) if status == 200 => {
                Outcome::Answered(Answer { cluster, pod, ip, status })
            }
            _ => Outcome::Failed(ErrorKind::Malformed),
        };
        Request {
            cluster: self.cluster.clone(),
            client: self.client.clone(),
            node: self.node.clone(),
            service: self.service.clone(),
            sequence: line.seq,
            sent: world.clock.at(line.sent_ns),
            done: world.clock.at(line.done_ns),
            opened: line.opened_ns.map(|opened| world.clock.at(opened)),
            outcome,
        }
    }
}

/// One line of the probe. Times are `CLOCK_MONOTONIC` nanoseconds.
#[derive(Deserialize)]
struct Line {
    seq: u64,
    sent_ns: u64,
    done_ns: u64,
    /// When the connection was opened, if an earlier request opened it.
    opened_ns: Option<u64>,
    status: Option<u16>,
    cluster: Option<String>,
    pod: Option<String>,
    ip: Option<String>,
    error: Option<ErrorKind>,
}
