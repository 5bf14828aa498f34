//! One container: started, checked, started again, ended.

use std::{convert::Infallible, path::PathBuf, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, Pod},
    jiff::Timestamp,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    action::Target,
    cgroup,
    check::Checks,
    container::{self, Place},
    ending::{self, Grace, Hook, Stop},
    plan::{self, Plan, PlanError, Surroundings},
    process::Process,
    status::{ContainerRecord, Exit, RestartPolicy, State, Termination},
};

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

/// A run of the container that has begun.
struct Begun {
    process: Process,
    plan: Plan,
    checks: Checks,
    hook: Option<Hook>,
}

impl Supervisor {
    /// Goes on from the record: a container that runs in it is taken over, one that ended is started again if the pod
    /// wants that.
    pub(crate) async fn run(mut self) {
        let mut process = self.adopt().await;
        if let State::Terminated(before) = &self.record.state
            && !RestartPolicy::of(&self.pod).restarts_after(before.exit)
        {
            return;
        }
        let mut pause = RESTART_FIRST;
        loop {
            let begin = Instant::now();
            match self.run_once(process.take()).await {
                Ok(Run::Last) => return,
                // The first end is shown as it is, as Kubernetes does.
                Ok(Run::Again) if self.record.restarts == 0 => {}
                Ok(Run::Again) => {
                    let message = format!("back-off {} s restarting container", pause.as_secs());
                    self.wait_state("CrashLoopBackOff", &message).await;
                }
                Err(PlanError { reason, message }) => {
                    self.wait_state(reason, &message).await;
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

    /// The process that an earlier kubelet started, if the record has one. When it is gone by now, the record says so.
    async fn adopt(&mut self) -> Option<Process> {
        let State::Running { pid, start_ticks, since, .. } = self.record.state else { return None };
        match Process::adopt(pid, start_ticks) {
            Ok(Some(process)) => return Some(process),
            Ok(None) => {}
            Err(error) => tracing::error!(pid, %error, "a process cannot be watched and starts anew"),
        }
        self.ended(Exit::Unknown, since).await;
        None
    }

    async fn run_once(&mut self, adopted: Option<Process>) -> Result<Run, PlanError> {
        let mut begun = self.begin(adopted).await?;
        let State::Running { since, started, .. } = self.record.state else {
            unreachable!("a run that has begun is recorded as running")
        };
        let Begun { process, plan, checks, hook } = &mut begun;
        let target = Target { ip: self.around.pod_ip, pid: process.pid, plan, place: &self.place };
        let mut progress = Progress { index: self.index, record: self.record.clone(), reports: self.reports.clone() };
        let mut stop = self.stop.clone();
        let outcome = tokio::select! {
            // A dead process counts first: nothing else that is known of it still holds.
            biased;
            exit = process.wait() => Ended::Itself(exit),
            _ = stop.wait_for(Option::is_some) => Ended::Stopped,
            () = progress.check(checks, target, started) => Ended::Unhealthy,
        };
        let unhealthy = match outcome {
            Ended::Itself(_) | Ended::Stopped => None,
            Ended::Unhealthy => Some(self.grace()),
        };
        let exit = match outcome {
            Ended::Itself(exit) => exit,
            Ended::Stopped | Ended::Unhealthy => {
                let grace = Grace::new(&mut self.stop, unhealthy);
                tokio::select! {
                    biased;
                    exit = ending::end(process, hook.as_ref(), target, grace) => exit,
                    // Kubernetes asks for readiness until the end: a pod that is ending may still be serving.
                    never = progress.follow_readiness(checks, target) => match never {},
                }
            }
        };
        self.record = progress.record;
        self.ended(exit, since).await;
        self.sweep().await;
        let stopped = self.stop.borrow().is_some();
        Ok(if stopped || !RestartPolicy::of(&self.pod).restarts_after(exit) { Run::Last } else { Run::Again })
    }

    /// Starts the container, or takes over the run that goes on.
    async fn begin(&mut self, adopted: Option<Process>) -> Result<Begun, PlanError> {
        let plan = plan::plan(&self.pod, &self.container, &self.around)?;
        let checks = Checks::of(&self.container, self.around.slowness.get())?;
        let hook = Hook::of(&self.container)?;
        if let Some(process) = adopted {
            return Ok(Begun { process, plan, checks, hook });
        }
        let begin = Instant::now();
        let process = Process::of_child(container::start(&plan, &self.place, &self.log).await?);
        tracing::debug!(container = self.record.name, elapsed = ?begin.elapsed(), "started");
        self.record.remember_termination();
        if self.record.last.is_some() {
            self.record.restarts += 1;
        }
        let (pid, start_ticks, since) = (process.pid, process.start_ticks, Timestamp::now());
        self.record.state = State::Running { pid, start_ticks, since, started: checks.startup.is_none() };
        self.record.ready = checks.startup.is_none() && checks.readiness.is_none();
        self.report().await;
        Ok(Begun { process, plan, checks, hook })
    }

    async fn ended(&mut self, exit: Exit, since: Timestamp) {
        self.record.ready = false;
        self.record.state = State::Terminated(Termination { exit, since, at: Timestamp::now() });
        self.report().await;
    }

    /// Kills what the first process left behind, as the end of a container's PID namespace does.
    async fn sweep(&self) {
        if let Err(error) = cgroup::remove(&self.place.cgroup).await {
            tracing::error!(container = self.record.name, error = plan::chain(&error), "processes of a container stay");
        }
    }

    fn grace(&self) -> Duration {
        let probe = self.container.liveness_probe.as_ref().and_then(|probe| probe.termination_grace_period_seconds);
        let pod = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        probe.or(pod).and_then(|seconds| u64::try_from(seconds).ok()).map_or(GRACE_DEFAULT, Duration::from_secs)
    }

    async fn wait_state(&mut self, reason: &'static str, message: &str) {
        self.record.wait(reason, message);
        self.report().await;
    }

    async fn report(&self) {
        report(&self.reports, self.index, &self.record).await;
    }
}

enum Ended {
    Itself(Exit),
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
    /// Ends when the container is to be killed. `started`: its startup probe has succeeded before.
    async fn check(&mut self, checks: &Checks, target: Target<'_>, started: bool) {
        if let Some(startup) = checks.startup.as_ref().filter(|_| !started) {
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
        tokio::select! {
            () = dead => {}
            never = self.follow_readiness(checks, target) => match never {},
        }
    }

    /// Reports every change of readiness.
    async fn follow_readiness(&mut self, checks: &Checks, target: Target<'_>) -> Infallible {
        let is_started = matches!(self.record.state, State::Running { started: true, .. });
        let Some(check) = checks.readiness.as_ref().filter(|_| is_started) else {
            return std::future::pending().await;
        };
        let ready = self.record.ready;
        let (sender, mut readiness) = mpsc::channel(1);
        let follow = async {
            if !ready {
                check.initial_delay().await;
            }
            check.follow(target, ready, &sender).await
        };
        tokio::pin!(follow);
        loop {
            tokio::select! {
                never = &mut follow => return never,
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
