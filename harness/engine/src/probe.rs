//! Probe clients: `meshbed-pod probe` inside client pods, one process each, one JSON line a request.

use std::{
    io,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
};

use mesh_types::ClusterName;
use meshbed_driver::{Outpost, Writer};
use meshbed_events::{Answer, ErrorKind, Outcome, Request};
use meshbed_node::PodState;
use meshbed_scenario::Probe;
use nix::{sys::signal::Signal, unistd::Pid};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
};

use crate::{
    place::{PodOn, Question},
    world::World,
};

/// A running client.
pub(crate) struct Client {
    cluster: ClusterName,
    pod: String,
    process: Process,
    reader: JoinHandle<()>,
}

/// The process of a client.
enum Process {
    /// On this machine.
    Here(Child),
    /// On another machine: it runs as long as our half of its connection is there.
    Elsewhere(Writer),
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
    /// Starts the client inside `pod`, on the machine of `outpost` if there is one; its requests go to `world` until it is stopped.
    pub(crate) async fn start(
        cluster: &ClusterName,
        (node, pod): &PodOn,
        program: &Path,
        target: &Target<'_>,
        outpost: Option<&Arc<Outpost>>,
        world: &Arc<Mutex<World>>,
    ) -> Result<Self, ProbeError> {
        let failed = |source| ProbeError { cluster: cluster.clone(), pod: pod.name.clone(), source };
        let head = RequestHead {
            cluster: cluster.to_string(),
            client: pod.name.clone(),
            node: node.clone(),
            service: format!("{}:{}", target.probe.service, target.probe.port),
            outpost: outpost.cloned(),
        };
        let (process, reader) = match outpost {
            None => {
                let (child, stdout) = start_here(pod, program, target).map_err(failed)?;
                (Process::Here(child), tokio::spawn(read(stdout, head, Arc::clone(world))))
            }
            Some(outpost) => {
                let (program, arguments) = (program.to_owned(), target.arguments());
                let question = Question::Program { pod: Box::new(pod.clone()), program, arguments };
                let (stdout, writer) = outpost.listen(&question).await.map_err(|error| failed(error.source))?;
                (Process::Elsewhere(writer), tokio::spawn(read(stdout, head, Arc::clone(world))))
            }
        };
        lock(world).client(cluster, &pod.name);
        Ok(Self { cluster: cluster.clone(), pod: pod.name.clone(), process, reader })
    }

    /// Whether its process has ended, most likely with its pod.
    pub(crate) fn is_over(&mut self) -> bool {
        match &mut self.process {
            Process::Here(child) => !matches!(child.try_wait(), Ok(None)),
            Process::Elsewhere(_) => self.reader.is_finished(),
        }
    }

    /// Asks the client to stop and waits until its last request is in.
    pub(crate) async fn stop(self, world: &Arc<Mutex<World>>) {
        match self.process {
            Process::Here(mut child) => {
                if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                    // It may have ended by itself: then there is nothing to signal.
                    let _gone = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGTERM).is_err();
                }
                if let Err(error) = child.wait().await {
                    tracing::error!(pod = self.pod, %error, "failed to wait for the probe");
                }
            }
            Process::Elsewhere(writer) => drop(writer),
        }
        if let Err(error) = self.reader.await {
            tracing::error!(pod = self.pod, %error, "the probe's reader failed");
        }
        lock(world).client_stopped(&self.cluster, &self.pod);
    }
}

impl Target<'_> {
    /// Arguments of the client.
    fn arguments(&self) -> Vec<String> {
        let Probe { service, rate, timeout, .. } = self.probe;
        let (rate, timeout) = (rate.to_string(), timeout.as_millis().to_string());
        let words = ["probe", "--target", &self.address, "--host", &service.name, "--path", "/", "--rate", &rate];
        words.into_iter().chain(["--timeout-ms", &timeout]).map(str::to_owned).collect()
    }
}

fn start_here(pod: &PodState, program: &Path, target: &Target<'_>) -> io::Result<(Child, BufReader<ChildStdout>)> {
    let mut command = meshbed_node::exec::command_in_pod(pod, program);
    command.args(target.arguments()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = Command::from(command).kill_on_drop(true).spawn()?;
    let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    Ok((child, BufReader::new(stdout)))
}

/// Tells the world of each request, until the client ends.
async fn read(printed: impl AsyncBufRead + Unpin, head: RequestHead, world: Arc<Mutex<World>>) {
    let mut lines = printed.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str::<Line>(&line) {
            Ok(line) => {
                let mut world = lock(&world);
                let request = head.request(line, &world);
                world.request(request);
            }
            Err(error) => tracing::error!(%error, line, "the probe printed what is no request"),
        }
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
    /// The machine by whose clock the client stamps, if it is not ours.
    outpost: Option<Arc<Outpost>>,
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
        let at = |ns| world.clock.at(self.outpost.as_ref().map_or(ns, |outpost| outpost.our_time(ns)));
        Request {
            cluster: self.cluster.clone(),
            client: self.client.clone(),
            node: self.node.clone(),
            service: self.service.clone(),
            sequence: line.seq,
            sent: at(line.sent_ns),
            done: at(line.done_ns),
            opened: line.opened_ns.map(at),
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
