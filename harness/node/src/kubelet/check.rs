//! Probes of containers: readiness, liveness, startup.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use super::{
    container::{self, Place},
    plan::{Plan, PlanError},
};
use crate::http::Get;

/// First pause between checks of something that has not been seen well yet. A mesh is up as soon as its pods are
/// ready, and our programs take a few milliseconds.
const EAGER_FIRST: Duration = Duration::from_millis(1);
/// Longest such pause, unless the probe's own period is shorter.
const EAGER_LONGEST: Duration = Duration::from_millis(250);

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Http { port: u16, host: Option<String>, path: String, headers: Vec<(String, String)> },
    Tcp { port: u16 },
    Exec { command: Vec<String> },
}

/// A probe, with Kubernetes' defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    action: Action,
    initial_delay: Duration,
    period: Duration,
    timeout: Duration,
    failure_threshold: u32,
    success_threshold: u32,
}

/// The running container that is checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) ip: Ipv4Addr,
    pub(crate) pid: i32,
    pub(crate) plan: &'a Plan,
    pub(crate) place: &'a Place,
}

/// All probes of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checks {
    pub(crate) startup: Option<Check>,
    pub(crate) readiness: Option<Check>,
    pub(crate) liveness: Option<Check>,
}

impl Checks {
    pub(crate) fn of(container: &Container) -> Result<Self, PlanError> {
        let check = |probe: &Option<Probe>| probe.as_ref().map(|probe| Check::new(probe, container)).transpose();
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
            http_action(http, container)?
        } else if let Some(tcp) = &probe.tcp_socket {
            Action::Tcp { port: port_of(&tcp.port, container)? }
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
            failure_threshold: or(probe.failure_threshold, 3),
            success_threshold: or(probe.success_threshold, 1),
        })
    }

    /// One try.
    async fn succeeds(&self, target: Target<'_>) -> bool {
        timeout(self.timeout, self.action.succeeds(target)).await.unwrap_or(false)
    }

    /// Tells every change of readiness; starts from not ready. Eager until the first time, then once a period.
    pub(crate) async fn follow(&self, target: Target<'_>, changes: &mpsc::Sender<bool>) -> Infallible {
        sleep_until(Instant::now() + self.initial_delay).await;
        let mut counter = Counter::new(self);
        let mut eager = Some(EAGER_FIRST);
        loop {
            if let Some(ready) = counter.count(self.succeeds(target).await) {
                // Fails only when the caller is about to drop this.
                let _unheard = changes.send(ready).await;
                eager = None;
            }
            let pause = eager.map_or(self.period, |pause| pause.min(EAGER_LONGEST).min(self.period));
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
            sleep_until(Instant::now() + self.initial_delay).await;
            let mut pause = EAGER_FIRST;
            while !self.succeeds(target).await {
                sleep_until(Instant::now() + pause).await;
                pause = (pause * 2).min(EAGER_LONGEST).min(self.period);
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

impl Action {
    async fn succeeds(&self, target: Target<'_>) -> bool {
        match self {
            Self::Tcp { port } => connect(target.ip, *port).await.is_some(),
            Self::Http { port, host, path, headers } => {
                let Some(mut stream) = connect(target.ip, *port).await else { return false };
                let address = format!("{}:{port}", target.ip);
                let get = Get { host: host.as_deref().unwrap_or(&address), path, headers };
                // As for a kubelet, redirects are success.
                get.send(&mut stream).await.is_ok_and(|response| (200..400).contains(&response.status))
            }
            Self::Exec { command } => {
                let [program, arguments @ ..] = command.as_slice() else { return false };
                let Ok(mut command) = container::command_inside(target.plan, target.place, target.pid, program) else {
                    return false;
                };
                command.args(arguments);
                match container::spawn(command).await {
                    Ok(mut child) => child.wait().await.is_ok_and(|status| status.success()),
                    Err(_) => false,
                }
            }
        }
    }
}

async fn connect(ip: Ipv4Addr, port: u16) -> Option<TcpStream> {
    TcpStream::connect(SocketAddr::from((ip, port))).await.ok()
}

fn http_action(http: &HTTPGetAction, container: &Container) -> Result<Action, PlanError> {
    if http.scheme.as_deref().is_some_and(|scheme| !scheme.eq_ignore_ascii_case("http")) {
        return Err(invalid(container, "has a probe over HTTPS, which meshbed does not have"));
    }
    let given = http.http_headers.iter().flatten();
    let (hosts, others): (Vec<_>, Vec<_>) = given
        .map(|header| (header.name.clone(), header.value.clone()))
        .partition(|(name, _)| name.eq_ignore_ascii_case("host"));
    Ok(Action::Http {
        port: port_of(&http.port, container)?,
        host: hosts.into_iter().next().map(|(_, value)| value),
        path: http.path.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned()),
        headers: others,
    })
}

fn port_of(port: &IntOrString, container: &Container) -> Result<u16, PlanError> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    let number = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| invalid(container, "has a probe for a port that it does not have"))
}

fn invalid(container: &Container, what: &str) -> PlanError {
    let message = format!("container `{}` {what}", container.name);
    PlanError { reason: "CreateContainerConfigError", message }
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
        let check = Checks::of(&container).expect("a probe").readiness.expect("readiness");
        let Action::Http { port, path, .. } = &check.action else { panic!("no HTTP: {check:?}") };
        assert_eq!((*port, path.as_str()), (8080, "/"));
        let thresholds = (check.failure_threshold, check.success_threshold);
        assert_eq!((check.period.as_secs(), check.timeout.as_secs(), thresholds), (10, 1, (3, 1)));
    }

    #[test]
    fn a_port_that_is_not_there_is_told() {
        let error = Checks::of(&container(json!({"tcpSocket": {"port": "metrics"}}))).expect_err("no such port");
        assert_eq!(error.message, "container `web` has a probe for a port that it does not have");
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
