//! One pod, from the moment that it is bound to this node until nothing of it is left.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{Pod, PodStatus},
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    cgroup,
    container::Place,
    network::PodNames,
    node::Node,
    plan::{self, Surroundings},
    publisher,
    status::{self, ContainerRecord, Observed, RestartPolicy, State},
    supervisor::{Report, Stop, Supervisor},
    volumes,
};
use crate::{ContainerProcess, PodState};

/// Reports of containers that may wait: each container has a few changes a second at most.
const REPORTS_MAX: usize = 64;
/// First and longest pause before a step that failed is tried again.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_LONGEST: Duration = Duration::from_secs(2);
/// How long the last status may take to reach the API before the pod is removed all the same.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// Time to end when neither the pod nor its deletion names one; Kubernetes' default.
const GRACE_DEFAULT: Duration = Duration::from_secs(30);

/// The latest state of a pod in the API; none once it is gone.
pub(crate) type Latest = Option<Pod>;

/// A pod's parts in the kernel.
#[derive(Debug)]
struct Sandbox {
    ip: Ipv4Addr,
    place: Place,
}

struct Worker {
    node: Arc<Node>,
    pod: Pod,
    latest: watch::Receiver<Latest>,
    accepted: Timestamp,
    records: Vec<ContainerRecord>,
    published: watch::Sender<Option<PodStatus>>,
    sandbox: Option<Sandbox>,
    supervisors: JoinSet<()>,
    stop: watch::Sender<Stop>,
}

/// Runs the pod until it is deleted, and then removes it, here and in the API.
pub(crate) async fn run(node: Arc<Node>, pod: Pod, latest: watch::Receiver<Latest>) {
    let (published, status) = watch::channel(None);
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let records = containers
        .map(|container| ContainerRecord::new(&container.name, container.image.as_deref().unwrap_or_default()))
        .collect();
    let mut worker = Worker {
        accepted: Timestamp::now(),
        records,
        published,
        sandbox: None,
        supervisors: JoinSet::new(),
        stop: watch::Sender::new(None),
        node,
        pod,
        latest,
    };
    let publisher = publisher::run(worker.api(), worker.name().to_owned(), worker.uid().to_owned(), status);
    let publisher = tokio::spawn(publisher);
    let (sender, mut reports) = mpsc::channel(REPORTS_MAX);
    worker.live(sender, &mut reports).await;
    worker.end_containers(&mut reports).await;
    // Endpoints of a pod that no longer serves must go before its network does: else clients are still sent there.
    worker.publish_the_last();
    let flushed = timeout(FLUSH_MAX, publisher).await;
    if flushed.is_err() {
        tracing::warn!(pod = worker.name(), "its end could not be told to the API");
    }
    worker.remove().await;
}

impl Worker {
    fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    fn api(&self) -> Api<Pod> {
        Api::namespaced(self.node.client.clone(), self.namespace())
    }

    fn volumes(&self) -> PathBuf {
        self.node.volumes_folder().join(self.uid())
    }

    /// Until the pod is to end.
    async fn live(&mut self, sender: mpsc::Sender<Report>, reports: &mut mpsc::Receiver<Report>) {
        let mut config_maps = self.node.config_maps.clone();
        let mut pause = RETRY_FIRST;
        // None once the pod is set up, or never will be.
        let mut attempt = self.is_to_run().then(Instant::now);
        loop {
            let labels = self.pod.metadata.labels.clone();
            if self.is_to_end() {
                return;
            }
            if self.pod.metadata.labels != labels {
                self.publish();
            }
            tokio::select! {
                changed = self.latest.changed() => if changed.is_err() { return },
                Some(Report { index, record }) = reports.recv() => {
                    self.records[index] = record;
                    self.publish();
                }
                changed = config_maps.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    match attempt {
                        Some(_) => attempt = Some(Instant::now()),
                        None => self.refresh_volumes(),
                    }
                }
                () = sleep_until(attempt.unwrap_or_else(Instant::now)), if attempt.is_some() => {
                    attempt = match self.set_up().await {
                        Ok(()) => {
                            self.start_containers(&sender);
                            None
                        }
                        Err(message) => {
                            tracing::warn!(pod = self.name(), message, "pod cannot be set up yet");
                            self.tell_waiting(&message);
                            let next = Instant::now() + pause;
                            pause = (pause * 2).min(RETRY_LONGEST);
                            Some(next)
                        }
                    };
                }
            }
        }
    }

    /// A pod that has run to its end, under an earlier kubelet, is left alone, and so is one that we cannot run.
    fn is_to_run(&mut self) -> bool {
        let phase = self.pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) || self.is_to_end() {
            return false;
        }
        let Some(message) = plan::unsupported(&self.pod) else { return true };
        self.tell_waiting(&message);
        false
    }

    /// Takes in the latest state of the pod. True when it is being deleted or is gone.
    fn is_to_end(&mut self) -> bool {
        let Some(pod) = self.latest.borrow_and_update().clone() else { return true };
        self.pod = pod;
        self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Makes what the containers will be in. Steps that are done already are not done again.
    async fn set_up(&mut self) -> Result<(), String> {
        let begin = Instant::now();
        let volumes = self.volumes();
        fs::create_dir_all(&volumes).map_err(|error| format!("failed to make `{}`: {error}", volumes.display()))?;
        let config_maps = self.node.config_maps.borrow().clone();
        volumes::materialise(&self.pod, &volumes, &config_maps).map_err(|error| plan::chain(&error))?;
        let hosts =
            self.node.hosts_file(self.namespace()).map_err(|error| format!("failed to write hosts: {error}"))?;
        let cgroup = self.node.options.pod_cgroup.join(self.uid());
        // A kubelet that was killed may have left one, with processes that no pod state tells of.
        cgroup::remove(&cgroup).await.map_err(|error| plan::chain(&error))?;
        cgroup::make(&cgroup).map_err(|error| plan::chain(&error))?;
        let ip = self.node.allocate().map_err(|error| error.to_string())?;
        let names = self.names();
        if let Err(error) = self.node.network.connect(&names, ip, self.node.gateway).await {
            let message = plan::chain(&error);
            if let Err(error) = self.node.network.disconnect(&names, ip).await {
                tracing::error!(pod = self.name(), error = plan::chain(&error), "a half-made network stays");
            } else {
                self.node.release(ip);
            }
            return Err(message);
        }
        tracing::debug!(pod = self.name(), %ip, elapsed = ?begin.elapsed(), "set up");
        self.sandbox = Some(Sandbox { ip, place: Place { netns: names.netns, cgroup, hosts } });
        Ok(())
    }

    fn names(&self) -> PodNames {
        PodNames::new(&self.node.options.netns_prefix, self.uid())
    }

    fn start_containers(&mut self, reports: &mpsc::Sender<Report>) {
        let Some(sandbox) = &self.sandbox else { return };
        let options = &self.node.options;
        let containers = self.pod.spec.iter().flat_map(|spec| &spec.containers);
        for (index, (container, record)) in containers.zip(&self.records).enumerate() {
            let log = format!("{}_{}_{}.log", self.namespace(), self.name(), container.name);
            let supervisor = Supervisor {
                index,
                pod: self.pod.clone(),
                container: container.clone(),
                around: Surroundings {
                    cluster: options.cluster_name.clone(),
                    node: options.node_name.clone(),
                    node_ip: options.node_ip,
                    pod_ip: sandbox.ip,
                    pod_program: options.pod_program.clone(),
                    volumes: self.volumes(),
                },
                place: sandbox.place.clone(),
                log: self.node.logs_folder().join(log),
                record: record.clone(),
                reports: reports.clone(),
                stop: self.stop.subscribe(),
            };
            self.supervisors.spawn(supervisor.run());
        }
    }

    fn refresh_volumes(&self) {
        if self.sandbox.is_none() {
            return;
        }
        let config_maps = self.node.config_maps.borrow().clone();
        if let Err(error) = volumes::materialise(&self.pod, &self.volumes(), &config_maps) {
            // As with a kubelet: a running pod keeps the files that it has.
            tracing::warn!(pod = self.name(), error = plan::chain(&error), "volumes were not updated");
        }
    }

    fn tell_waiting(&mut self, message: &str) {
        for record in &mut self.records {
            record.state = State::Waiting { reason: "ContainerCreating", message: Some(message.to_owned()) };
        }
        self.publish();
    }

    /// Tells other programs and the API what is known now.
    fn publish(&self) {
        if let Some(sandbox) = &self.sandbox
            && let Err(error) = self.state_of(sandbox).write(&self.node.options.state_dir)
        {
            tracing::error!(pod = self.name(), error = plan::chain(&error), "pod state was not written");
        }
        let observed = Observed {
            containers: &self.records,
            pod_ip: self.sandbox.as_ref().map(|sandbox| sandbox.ip),
            node_ip: self.node.options.node_ip,
            accepted: self.accepted,
            now: Timestamp::now(),
        };
        self.published.send_if_modified(|published| {
            let status = status::status(&self.pod, published.as_ref(), observed);
            let changed = published.as_ref() != Some(&status);
            *published = Some(status);
            changed
        });
    }

    fn state_of(&self, sandbox: &Sandbox) -> PodState {
        let process = |record: &ContainerRecord| match record.state {
            State::Running { pid, start_ticks, .. } => {
                Some(ContainerProcess { name: record.name.clone(), pid, pid_start_ticks: start_ticks })
            }
            State::Waiting { .. } | State::Terminated(_) => None,
        };
        PodState {
            namespace: self.namespace().to_owned(),
            name: self.name().to_owned(),
            uid: self.uid().to_owned(),
            ip: sandbox.ip,
            netns: sandbox.place.netns.clone(),
            cgroup: sandbox.place.cgroup.clone(),
            labels: self.pod.metadata.labels.clone().unwrap_or_default(),
            phase: status::phase(&self.records, RestartPolicy::of(&self.pod)).to_owned(),
            containers: self.records.iter().filter_map(process).collect(),
        }
    }

    /// Ends all containers, within the time that the deletion gives them. Dead ones take no time.
    async fn end_containers(&mut self, reports: &mut mpsc::Receiver<Report>) {
        loop {
            self.stop.send_replace(Some(self.grace()));
            tokio::select! {
                Some(Report { index, record }) = reports.recv() => {
                    self.records[index] = record;
                    self.publish();
                }
                ended = self.supervisors.join_next() => match ended {
                    None => break,
                    Some(Err(error)) => tracing::error!(pod = self.name(), %error, "a supervisor failed"),
                    Some(Ok(())) => {}
                },
                // The time may be made shorter, and a pod that is gone has none.
                changed = self.latest.changed() => {
                    self.is_to_end();
                    if changed.is_err() {
                        self.supervisors.join_next().await;
                    }
                }
            }
        }
        // What they said last is still on its way.
        while let Ok(Report { index, record }) = reports.try_recv() {
            self.records[index] = record;
        }
    }

    /// Tells the end of all containers; afterwards the publisher ends when it has said it.
    fn publish_the_last(&mut self) {
        self.publish();
        drop(std::mem::replace(&mut self.published, watch::Sender::new(None)));
    }

    fn grace(&self) -> Duration {
        if self.latest.borrow().is_none() {
            return Duration::ZERO;
        }
        let pod = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let seconds = self.pod.metadata.deletion_grace_period_seconds.or(pod);
        seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(GRACE_DEFAULT, Duration::from_secs)
    }

    /// Removes everything of the pod from this node and then the pod from the API.
    async fn remove(mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            self.remove_sandbox(&sandbox).await;
        } else {
            // Set-up may have come as far as this.
            self.log_failure(cgroup::remove(&self.node.options.pod_cgroup.join(self.uid())).await);
        }
        let volumes = self.volumes();
        if volumes.exists() {
            self.log_failure(fs::remove_dir_all(&volumes));
        }
        self.log_failure(PodState::remove(&self.node.options.state_dir, self.namespace(), self.name(), self.uid()));
        self.delete_from_api().await;
    }

    async fn remove_sandbox(&self, sandbox: &Sandbox) {
        self.log_failure(cgroup::remove(&sandbox.place.cgroup).await);
        match self.node.network.disconnect(&self.names(), sandbox.ip).await {
            Ok(()) => self.node.release(sandbox.ip),
            // The address stays taken, as something may still have it.
            failure => self.log_failure(failure),
        }
    }

    fn log_failure<E: std::error::Error + 'static>(&self, result: Result<(), E>) {
        if let Err(error) = result {
            tracing::error!(pod = self.name(), error = plan::chain(&error), "something of the pod stays");
        }
    }

    async fn delete_from_api(&mut self) {
        let preconditions = Preconditions { uid: self.pod.metadata.uid.clone(), ..Preconditions::default() };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default().grace_period(0) };
        let mut pause = RETRY_FIRST;
        while self.latest.borrow_and_update().is_some() {
            match self.api().delete(self.name(), &parameters).await {
                Ok(_) => return,
                // Gone (404), or another pod of the same name (409).
                Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => return,
                Err(error) => tracing::warn!(pod = self.name(), %error, "failed to delete"),
            }
            tokio::select! {
                () = sleep_until(Instant::now() + pause) => pause = (pause * 2).min(RETRY_LONGEST),
                // An error means that the kubelet ends.
                changed = self.latest.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Removes what pods of an earlier kubelet left: their processes are not ours to wait for, so the pods start anew.
pub(crate) async fn sweep(node: &Node) -> Result<(), crate::PodStateError> {
    let pods = PodState::list(&node.options.state_dir)?;
    futures::future::join_all(pods.iter().map(|pod| sweep_pod(node, pod))).await.into_iter().collect()
}

async fn sweep_pod(node: &Node, pod: &PodState) -> Result<(), crate::PodStateError> {
    let log = |what: &Path, error: &dyn std::error::Error| {
        tracing::error!(what = %what.display(), error = plan::chain(error), "something of an earlier kubelet stays");
    };
    tracing::info!(pod = pod.name, "removing a pod of an earlier kubelet");
    if let Err(error) = cgroup::remove(&pod.cgroup).await {
        log(&pod.cgroup, &error);
    }
    let names = PodNames::new(&node.options.netns_prefix, &pod.uid);
    if let Err(error) = node.network.disconnect(&names, pod.ip).await {
        log(&names.netns, &error);
    }
    PodState::remove(&node.options.state_dir, &pod.namespace, &pod.name, &pod.uid)
}
