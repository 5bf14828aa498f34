//! One pod, from the moment that it is bound to this node until nothing of it is left.

use std::{fs, net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, Pod, PodStatus},
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
    checkpoint::Checkpoint,
    container::Place,
    ending::Stop,
    network::PodNames,
    node::Node,
    plan::{self, Surroundings},
    publisher::{self, Published},
    status::{self, ContainerRecord, Observed, RestartPolicy, State},
    supervisor::{Report, Supervisor},
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
    netns: PathBuf,
    cgroup: PathBuf,
    /// The hosts file of the pod's namespace.
    hosts: PathBuf,
}

/// Whether a status goes to the API even if it was told already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Force {
    Yes,
    No,
}

struct Worker {
    node: Arc<Node>,
    pod: Pod,
    latest: watch::Receiver<Latest>,
    accepted: Timestamp,
    records: Vec<ContainerRecord>,
    published: watch::Sender<Option<PodStatus>>,
    progress: watch::Receiver<Published>,
    /// Version of the pod whose status the API was told to be another one.
    corrected: Option<String>,
    sandbox: Option<Sandbox>,
    supervisors: JoinSet<()>,
    stop: watch::Sender<Stop>,
}

/// Runs the pod until it is deleted, and then removes it, here and in the API.
pub(crate) async fn run(node: Arc<Node>, pod: Pod, latest: watch::Receiver<Latest>) {
    let (published, status) = watch::channel(None);
    let (publishing, progress) = watch::channel(Published::UnderWay);
    let survivor = node.take_survivor(pod.metadata.uid.as_deref().unwrap_or_default());
    let mut worker = Worker {
        accepted: Timestamp::now(),
        records: records(&pod, survivor.as_ref()),
        published,
        progress,
        corrected: None,
        sandbox: None,
        supervisors: JoinSet::new(),
        stop: watch::Sender::new(None),
        node,
        pod,
        latest,
    };
    let publisher = publisher::run(worker.api(), worker.name().to_owned(), worker.uid().to_owned(), status, publishing);
    let publisher = tokio::spawn(publisher);
    let (sender, mut reports) = mpsc::channel(REPORTS_MAX);
    if let Some(survivor) = survivor {
        worker.take_over(survivor, &sender);
    } else if worker.records.iter().any(|record| matches!(record.state, State::Terminated(_))) && !worker.has_ended() {
        // It ran before the node crashed. Others should hear at once that it does not now.
        worker.publish();
    }
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

/// What is known of the containers: what an earlier kubelet wrote down, else what the API has heard.
fn records(pod: &Pod, survivor: Option<&Checkpoint>) -> Vec<ContainerRecord> {
    let reported = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let statuses = survivor.map_or(reported, |survivor| &survivor.statuses);
    let record = |container: &Container| {
        let status = statuses.iter().find(|status| status.name == container.name);
        let processes = survivor.map(|survivor| survivor.state.containers.as_slice()).unwrap_or_default();
        let process = processes.iter().find(|process| process.name == container.name && process.is_alive());
        let process = process.map(|process| (process.pid, process.pid_start_ticks));
        ContainerRecord::restored(container, status, process, Timestamp::now())
    };
    pod.spec.iter().flat_map(|spec| &spec.containers).map(record).collect()
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

    /// Goes on with what an earlier kubelet made: same namespace, address and processes.
    fn take_over(&mut self, survivor: Checkpoint, reports: &mpsc::Sender<Report>) {
        let hosts = match self.node.hosts_file(self.namespace()) {
            Ok(hosts) => hosts,
            // Only containers that start from now on miss it, and say so.
            Err(error) => {
                tracing::error!(pod = self.name(), %error, "hosts file was not written");
                PathBuf::new()
            }
        };
        let PodState { ip, netns, cgroup, .. } = survivor.state;
        tracing::info!(pod = self.name(), %ip, "taking over a pod of an earlier kubelet");
        self.sandbox = Some(Sandbox { ip, netns, cgroup, hosts });
        self.publish();
        self.start_containers(reports);
    }

    /// Until the pod is to end.
    async fn live(&mut self, sender: mpsc::Sender<Report>, reports: &mut mpsc::Receiver<Report>) {
        let mut config_maps = self.node.config_maps.clone();
        let mut pause = RETRY_FIRST;
        // None once the pod is set up, or never will be.
        let mut attempt = (self.sandbox.is_none() && self.is_to_run()).then(Instant::now);
        let mut progress = self.progress.clone();
        loop {
            let labels = self.pod.metadata.labels.clone();
            if self.is_to_end() {
                return;
            }
            if self.pod.metadata.labels != labels {
                self.publish();
            }
            self.publish_what_others_changed();
            tokio::select! {
                changed = self.latest.changed() => if changed.is_err() { return },
                // Ends with the publisher, when the pod is gone from the API.
                Ok(()) = progress.changed() => {}
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
        if self.has_ended() || self.is_to_end() {
            return false;
        }
        let Some(message) = plan::unsupported(&self.pod) else { return true };
        self.tell_waiting(&message);
        false
    }

    fn has_ended(&self) -> bool {
        let phase = self.pod.status.as_ref().and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
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
        self.sandbox = Some(Sandbox { ip, netns: names.netns, cgroup, hosts });
        // Before anything runs in it: who comes after us finds it by this.
        self.save();
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
                    slowness: options.slowness,
                    volumes: self.volumes(),
                },
                place: Place {
                    netns: sandbox.netns.clone(),
                    cgroup: cgroup::of_container(&sandbox.cgroup, &container.name),
                    hosts: sandbox.hosts.clone(),
                },
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
            record.wait("ContainerCreating", message);
        }
        self.publish();
    }

    /// Writes down what is known now, for other programs and for a later kubelet.
    fn save(&self) {
        let Some(sandbox) = &self.sandbox else { return };
        let state_dir = &self.node.options.state_dir;
        let state = self.state_of(sandbox);
        if let Err(error) = state.write(state_dir) {
            tracing::error!(pod = self.name(), error = plan::chain(&error), "pod state was not written");
        }
        let statuses = self.records.iter().map(|record| record.status(self.uid())).collect();
        let checkpoint = Checkpoint { boot_id: self.node.boot_id.clone(), state, statuses };
        if let Err(error) = checkpoint.write(state_dir) {
            tracing::error!(pod = self.name(), error = plan::chain(&error), "checkpoint was not written");
        }
    }

    /// Tells other programs and the API what is known now.
    fn publish(&self) {
        self.save();
        let previous = self.published.borrow().clone();
        self.publish_status(previous.as_ref(), Force::No);
    }

    /// Tells the API once more when it says something else of the pod, such as the node controller that had not heard
    /// of this node for a while.
    fn publish_what_others_changed(&mut self) {
        let version = self.pod.metadata.resource_version.clone();
        let differs = || {
            let own = self.published.borrow();
            own.as_ref().is_some_and(|own| !status::agrees(self.pod.status.as_ref(), own))
        };
        // Once a version: an API that does not take what it is told is not told in a loop.
        if self.corrected != version && self.progress.borrow().is_before(&self.pod) && differs() {
            self.corrected = version;
            tracing::info!(pod = self.name(), "the API has another status of the pod and is told again");
            // Transitions are from what the API says.
            self.publish_status(None, Force::Yes);
        }
    }

    fn publish_status(&self, previous: Option<&PodStatus>, force: Force) {
        let observed = Observed {
            containers: &self.records,
            pod_ip: self.sandbox.as_ref().map(|sandbox| sandbox.ip),
            node_ip: self.node.options.node_ip,
            accepted: self.accepted,
            now: Timestamp::now(),
        };
        let status = status::status(&self.pod, previous, observed);
        self.published.send_if_modified(|published| {
            let changed = published.as_ref() != Some(&status);
            *published = Some(status);
            changed || force == Force::Yes
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
            netns: sandbox.netns.clone(),
            cgroup: sandbox.cgroup.clone(),
            labels: self.pod.metadata.labels.clone().unwrap_or_default(),
            phase: status::phase(&self.records, RestartPolicy::of(&self.pod)).to_owned(),
            containers: self.records.iter().filter_map(process).collect(),
        }
    }

    /// Ends all containers, within the time that the deletion gives them. Dead ones take no time.
    async fn end_containers(&mut self, reports: &mut mpsc::Receiver<Report>) {
        let mut progress = self.progress.clone();
        loop {
            self.stop.send_replace(Some(self.grace()));
            self.publish_what_others_changed();
            tokio::select! {
                Ok(()) = progress.changed() => {}
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
        let state_dir = &self.node.options.state_dir;
        self.log_failure(PodState::remove(state_dir, self.namespace(), self.name(), self.uid()));
        self.log_failure(Checkpoint::remove(state_dir, self.uid()));
        self.delete_from_api().await;
    }

    async fn remove_sandbox(&self, sandbox: &Sandbox) {
        self.log_failure(cgroup::remove(&sandbox.cgroup).await);
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
