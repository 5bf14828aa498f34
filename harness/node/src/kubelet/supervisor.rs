//! One container: started, checked, started again, ended.

use std::{path::PathBuf, process::ExitStatus, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, Pod},
    jiff::Timestamp,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::Child,
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    check::{Checks, Target},
    container::{self, Place},
    plan::{self, PlanError, Surroundings},
    status::{ContainerRecord, Exit, RestartPolicy, State, Termination},
};
use crate::start_ticks;

/// Pause before the first restart; it doubles with each one. Kubernetes waits 10 s to 5 min, which no scenario would.
const RESTART_FIRST: Duration = Duration::from_secs(1);
/// Longest pause before a restart.
const RESTART_LONGEST: Duration = Duration::from_secs(10);
/// A container that ran for longer than this starts over with the shortest pause.
const RESTART_FORGIVEN: Duration = Duration::from_secs(60);
/// Time that a container has to end after its liveness probe failed; Kubernetes' default for the pod's grace period.
const GRACE_DEFAULT: Duration = Duration::from_secs(30);

/// A container's record changed.
#[derive(Debug)]
pub(crate) struct Report {
    /// Index in the pod's spec.
    pub(crate) index: usize,
    pub(crate) record: ContainerRecord,
}

/// Set once the container shall end: the time that it has for that.
pub(crate) type Stop = Option<Duration>;

/// Takes care of one container until it is stopped or ends for good.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) index: usize,
    pub(crate) pod: Pod,
    pub(crate) container: Container,
    pub(crate) around: Surroundings,
    pub(crate) place: Place,
    pub(crate) log: PathBuf,
    pub(crate) record: ContainerRecord,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) stop: watch::Receiver<Stop>,
}

/// How a run of the container ended.
enum Run {
    /// It was told to, or the pod does not want it to run again.
    Last,
    /// It shall run again.
    Again,
}

impl Supervisor {
    pub(crate) async fn run(mut self) {
        let mut pause = RESTART_FIRST;
        loop {
            let begin = Instant::now();
            match self.run_once().await {
                Ok(Run::Last) => return,
                // The first end is shown as it is, as Kubernetes does.
                Ok(Run::Again) if self.record.restarts == 0 => {}
                Ok(Run::Again) => {
                    let message = format!("back-off {} s restarting container", pause.as_secs());
                    self.wait_state("CrashLoopBackOff", Some(message)).await;
                }
                Err(PlanError { reason, message }) => {
                    self.wait_state(reason, Some(message)).await;
                }
            }
            if begin.elapsed() > RESTART_FORGIVEN {
                pause = RESTART_FIRST;
            }
            let restart = Instant::now() + pause;
            pause = (pause * 2).min(RESTART_LONGEST);
            let stopped = async { self.stop.wait_for(Option::is_some).await.is_ok() };
            tokio::select! {
                _ = stopped => return,
                () = sleep_until(restart) => {}
            }
        }
    }

    async fn run_once(&mut self) -> Result<Run, PlanError> {
        let plan = plan::plan(&self.pod, &self.container, &self.around)?;
        let checks = Checks::of(&self.container)?;
        let begin = Instant::now();
        let mut child = container::start(&plan, &self.place, &self.log).await?;
        tracing::debug!(container = self.record.name, elapsed = ?begin.elapsed(), "started");
        let since = Timestamp::now();
        let pid =
            child.id().and_then(|pid| i32::try_from(pid).ok()).expect("a child has its ID until it is waited for");
        self.remember_termination();
        if self.record.last.is_some() {
            self.record.restarts += 1;
        }
        // One that has ended already has none; that it ended is told below.
        let start_ticks = start_ticks(pid).unwrap_or_default();
        self.record.state = State::Running { pid, start_ticks, since, started: checks.startup.is_none() };
        self.record.ready = checks.startup.is_none() && checks.readiness.is_none();
        self.report().await;

        let target = Target { ip: self.around.pod_ip, pid, plan: &plan, place: &self.place };
        let mut progress = Progress { index: self.index, record: self.record.clone(), reports: self.reports.clone() };
        let mut stop = self.stop.clone();
        let outcome = tokio::select! {
            // A dead process counts first: nothing else that is known of it still holds.
            biased;
            status = child.wait() => Ended::Itself(status),
            _ = stop.wait_for(Option::is_some) => Ended::Stopped,
            () = progress.check(&checks, target) => Ended::Unhealthy,
        };
        self.record = progress.record;
        let status = match outcome {
            Ended::Itself(status) => status,
            Ended::Stopped => self.end(&mut child, pid, None).await,
            Ended::Unhealthy => self.end(&mut child, pid, Some(self.grace())).await,
        };
        // Waiting only fails for a process that is not ours any more; it has certainly ended then.
        let exit = status.map_or(Exit::Code(-1), Exit::from);
        self.record.ready = false;
        self.record.state = State::Terminated(Termination { exit, since, at: Timestamp::now() });
        self.report().await;
        let stopped = self.stop.borrow().is_some();
        Ok(if stopped || !RestartPolicy::of(&self.pod).restarts_after(exit) { Run::Last } else { Run::Again })
    }

    /// Ends the process: SIGTERM, and SIGKILL when its time is over. `grace` is for a container that is unhealthy;
    /// once the pod is to end, the pod's own time counts.
    async fn end(&mut self, child: &mut Child, pid: i32, grace: Option<Duration>) -> std::io::Result<ExitStatus> {
        let begin = Instant::now();
        // Not waited for yet, so the ID is still the process's own. It cannot be gone, at most a zombie.
        let _sent = kill(Pid::from_raw(pid), Signal::SIGTERM);
        loop {
            let stop = *self.stop.borrow_and_update();
            let deadline = begin + stop.or(grace).unwrap_or_default();
            tokio::select! {
                status = child.wait() => return status,
                () = sleep_until(deadline) => break,
                // The time may be made shorter: `kubectl delete --force` after a plain delete.
                changed = self.stop.changed() => if changed.is_err() { break },
            }
        }
        child.kill().await?;
        child.wait().await
    }

    fn grace(&self) -> Duration {
        let probe = self.container.liveness_probe.as_ref().and_then(|probe| probe.termination_grace_period_seconds);
        let pod = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        probe.or(pod).and_then(|seconds| u64::try_from(seconds).ok()).map_or(GRACE_DEFAULT, Duration::from_secs)
    }

    fn remember_termination(&mut self) {
        if let State::Terminated(termination) = &self.record.state {
            self.record.last = Some(termination.clone());
        }
    }

    async fn wait_state(&mut self, reason: &'static str, message: Option<String>) {
        self.remember_termination();
        self.record.ready = false;
        self.record.state = State::Waiting { reason, message };
        self.report().await;
    }

    async fn report(&self) {
        report(&self.reports, self.index, &self.record).await;
    }
}

enum Ended {
    Itself(std::io::Result<ExitStatus>),
    Stopped,
    Unhealthy,
}

/// The record while the container runs, and its probes.
struct Progress {
    index: usize,
    record: ContainerRecord,
    reports: mpsc::Sender<Report>,
}

impl Progress {
    /// Ends when the container is to be killed.
    async fn check(&mut self, checks: &Checks, target: Target<'_>) {
        if let Some(startup) = &checks.startup {
            if !startup.starts(target).await {
                return;
            }
            if let State::Running { started, .. } = &mut self.record.state {
                *started = true;
            }
            self.record.ready = checks.readiness.is_none();
            report(&self.reports, self.index, &self.record).await;
        }
        let dead = async {
            match &checks.liveness {
                Some(liveness) => liveness.until_dead(target).await,
                None => std::future::pending().await,
            }
        };
        let (sender, mut readiness) = mpsc::channel(1);
        let follow = async {
            match &checks.readiness {
                Some(check) => check.follow(target, &sender).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(dead, follow);
        loop {
            tokio::select! {
                () = &mut dead => return,
                never = &mut follow => match never {},
                Some(ready) = readiness.recv() => {
                    self.record.ready = ready;
                    report(&self.reports, self.index, &self.record).await;
                }
            }
        }
    }
}

async fn report(reports: &mpsc::Sender<Report>, index: usize, record: &ContainerRecord) {
    // Nobody listens any more once the pod is being removed.
    let _unheard = reports.send(Report { index, record: record.clone() }).await;
}
