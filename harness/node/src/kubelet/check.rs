//! Probes of containers: readiness, liveness, startup.

use std::{convert::Infallible, time::Duration};

use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::{
    action::{Action, Target, invalid},
    plan::PlanError,
};

/// First pause between checks of something that has not been seen well yet. A mesh is up as soon as its pods are
/// ready, and our programs take a few milliseconds.
const EAGER_FIRST: Duration = Duration::from_millis(1);
/// Longest such pause, unless the probe's own period is shorter.
const EAGER_LONGEST: Duration = Duration::from_millis(250);

/// A probe, with Kubernetes' defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    action: Action,
    initial_delay: Duration,
    period: Duration,
    timeout: Duration,
    /// Longest pause while the container was not seen well yet.
    eager_longest: Duration,
    failure_threshold: u32,
    success_threshold: u32,
}

/// All probes of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checks {
    pub(crate) startup: Option<Check>,
    pub(crate) readiness: Option<Check>,
    pub(crate) liveness: Option<Check>,
}

impl Checks {
    /// The probes of `container`, on a machine on which everything takes `slowness` times as long as usual.
    pub(crate) fn of(container: &Container, slowness: u32) -> Result<Self, PlanError> {
        let check = |probe: &Option<Probe>| {
            let check = probe.as_ref().map(|probe| Check::new(probe, container)).transpose()?;
            Ok::<_, PlanError>(check.map(|check| check.slowed(slowness)))
        };
        Ok(Self {
            startup: check(&container.startup_probe)?,
            readiness: check(&container.readiness_probe)?,
            liveness: check(&container.liveness_probe)?,
        })
    }
}

impl Check {
    fn new(probe: &Probe, container: &Container) -> Result<Self, PlanError> {
        let action = if let Some(http) = &probe.http_get {
            Action::http(http, container)?
        } else if let Some(tcp) = &probe.tcp_socket {
            Action::tcp(&tcp.port, container)?
        } else if let Some(command) = probe.exec.as_ref().and_then(|exec| exec.command.clone()) {
            Action::Exec { command }
        } else {
            return Err(invalid(container, "has a probe without `httpGet`, `tcpSocket` or `exec`"));
        };
        // Absent and zero mean the default; the API server refuses what is negative.
        let or = |value: Option<i32>, default: u32| match value.map(u32::try_from) {
            None | Some(Ok(0) | Err(_)) => default,
            Some(Ok(value)) => value,
        };
        let seconds = |value| Duration::from_secs(u64::from(value));
        Ok(Self {
            action,
            initial_delay: seconds(or(probe.initial_delay_seconds, 0)),
            period: seconds(or(probe.period_seconds, 10)),
            timeout: seconds(or(probe.timeout_seconds, 1)),
            eager_longest: EAGER_LONGEST,
            failure_threshold: or(probe.failure_threshold, 3),
            success_threshold: or(probe.success_threshold, 1),
        })
    }

    fn slowed(self, factor: u32) -> Self {
        let Self { initial_delay, period, timeout, eager_longest, .. } = self;
        Self {
            initial_delay: initial_delay * factor,
            period: period * factor,
            timeout: timeout * factor,
            eager_longest: eager_longest * factor,
            ..self
        }
    }

    /// One try.
    async fn succeeds(&self, target: Target<'_>) -> bool {
        timeout(self.timeout, self.action.succeeds(target)).await.unwrap_or(false)
    }

    /// Waits for as long as the probe leaves a container alone that has just started.
    pub(crate) async fn initial_delay(&self) {
        sleep_until(Instant::now() + self.initial_delay).await;
    }

    /// Tells every change of readiness, which is `ready` now. Once a period; eager until it is ready for the first time.
    pub(crate) async fn follow(&self, target: Target<'_>, ready: bool, changes: &mpsc::Sender<bool>) -> Infallible {
        let mut counter = Counter { ready, ..Counter::new(self) };
        let mut eager = (!ready).then_some(EAGER_FIRST);
        loop {
            if let Some(ready) = counter.count(self.succeeds(target).await) {
                // Fails only when the caller is about to drop this.
                let _unheard = changes.send(ready).await;
                eager = None;
            }
            let pause = eager.map_or(self.period, |pause| pause.min(self.eager_longest).min(self.period));
            eager = eager.map(|pause| pause * 2);
            sleep_until(Instant::now() + pause).await;
        }
    }

    /// Ends when the container is to be killed: it failed `failureThreshold` times in a row. Checks only come once a
    /// period, also in the beginning: an eager one would kill what is merely slow to start.
    pub(crate) async fn until_dead(&self, target: Target<'_>) {
        let mut next = Instant::now() + self.initial_delay + self.period;
        let mut failures = 0;
        while failures < self.failure_threshold {
            sleep_until(next).await;
            next += self.period;
            failures = if self.succeeds(target).await { 0 } else { failures + 1 };
        }
    }

    /// Whether the container started within the time that the probe gives it.
    pub(crate) async fn starts(&self, target: Target<'_>) -> bool {
        let allowed = self.initial_delay + self.period * self.failure_threshold;
        let success = async {
            self.initial_delay().await;
            let mut pause = EAGER_FIRST;
            while !self.succeeds(target).await {
                sleep_until(Instant::now() + pause).await;
                pause = (pause * 2).min(self.eager_longest).min(self.period);
            }
        };
        timeout(allowed, success).await.is_ok()
    }
}

/// Turns results into changes of readiness.
#[derive(Debug)]
struct Counter {
    ready: bool,
    in_a_row: u32,
    failure_threshold: u32,
    success_threshold: u32,
}

impl Counter {
    fn new(check: &Check) -> Self {
        let (failure_threshold, success_threshold) = (check.failure_threshold, check.success_threshold);
        Self { ready: false, in_a_row: 0, failure_threshold, success_threshold }
    }

    /// The new readiness, if this result changes it.
    fn count(&mut self, success: bool) -> Option<bool> {
        if success == self.ready {
            self.in_a_row = 0;
            return None;
        }
        self.in_a_row += 1;
        let threshold = if success { self.success_threshold } else { self.failure_threshold };
        if self.in_a_row < threshold {
            return None;
        }
        self.in_a_row = 0;
        self.ready = success;
        Some(success)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(probe: serde_json::Value) -> Container {
        serde_json::from_value(json!({
            "name": "web", "ports": [{"name": "http", "containerPort": 8080}], "readinessProbe": probe,
        }))
        .expect("a container")
    }

    #[test]
    fn defaults_are_those_of_kubernetes() {
        let container = container(json!({"httpGet": {"port": "http"}}));
        let check = Checks::of(&container, 1).expect("a probe").readiness.expect("readiness");
        let Action::Http { port, path, .. } = &check.action else { panic!("no HTTP: {check:?}") };
        assert_eq!((*port, path.as_str()), (8080, "/"));
        let thresholds = (check.failure_threshold, check.success_threshold);
        assert_eq!((check.period.as_secs(), check.timeout.as_secs(), thresholds), (10, 1, (3, 1)));
    }

    #[test]
    fn a_port_that_is_not_there_is_told() {
        let error = Checks::of(&container(json!({"tcpSocket": {"port": "metrics"}})), 1).expect_err("no such port");
        assert_eq!(error.message, "container `web` has a probe or hook for a port that it does not have");
    }

    #[test]
    fn readiness_needs_its_thresholds() {
        let mut counter = Counter { ready: false, in_a_row: 0, failure_threshold: 3, success_threshold: 2 };
        let results = [true, false, true, true, false, false, true, false, false, false];
        let changes = results.map(|success| counter.count(success));
        assert_eq!(changes[3], Some(true));
        assert_eq!(changes[9], Some(false));
        assert_eq!(changes.iter().flatten().count(), 2, "nothing else changed: {changes:?}");
    }
}
