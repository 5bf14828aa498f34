//! Ending a container as Kubernetes does: its preStop hook, SIGTERM, and SIGKILL when its time is over.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container;
use nix::sys::signal::Signal;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    action::{Action, Target, invalid},
    plan::PlanError,
    process::Process,
    status::Exit,
};

/// Time after SIGTERM for a container whose hook took all that it had; so much Kubernetes leaves as well.
const AFTER_HOOK_MIN: Duration = Duration::from_secs(2);

/// Set once the container shall end: the time that it has for that.
pub(crate) type Stop = Option<Duration>;

/// What is done before a container gets its SIGTERM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Action(Action),
    Sleep(Duration),
}

impl Hook {
    /// The container's preStop hook, if it has one.
    pub(crate) fn of(container: &Container) -> Result<Option<Self>, PlanError> {
        let lifecycle = container.lifecycle.as_ref();
        if lifecycle.is_some_and(|lifecycle| lifecycle.post_start.is_some()) {
            return Err(invalid(container, "has a `postStart` hook, which meshbed does not have"));
        }
        let Some(handler) = lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref()) else { return Ok(None) };
        let hook = if let Some(exec) = &handler.exec {
            Self::Action(Action::Exec { command: exec.command.clone().unwrap_or_default() })
        } else if let Some(http) = &handler.http_get {
            Self::Action(Action::http(http, container)?)
        } else if let Some(sleep) = &handler.sleep {
            // The API server refuses negative ones.
            Self::Sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or_default()))
        } else {
            return Err(invalid(container, "has a `preStop` hook without `exec`, `httpGet` or `sleep`"));
        };
        Ok(Some(hook))
    }

    async fn run(&self, target: Target<'_>) {
        match self {
            // A hook that fails stops nothing, as in Kubernetes.
            Self::Action(action) if !action.succeeds(target).await => {
                tracing::warn!(pod = %target.ip, ?action, "a preStop hook failed");
            }
            Self::Action(_) => {}
            Self::Sleep(time) => sleep_until(Instant::now() + *time).await,
        }
    }
}

/// How long a container may take to end.
#[derive(Debug)]
pub(crate) struct Grace<'a> {
    begin: Instant,
    stop: &'a mut watch::Receiver<Stop>,
    /// For a container that ends because it is unhealthy, while its pod does not.
    unhealthy: Option<Duration>,
}

impl<'a> Grace<'a> {
    /// Time that begins now. Once the pod is to end, the pod's time counts and not `unhealthy`.
    pub(crate) fn new(stop: &'a mut watch::Receiver<Stop>, unhealthy: Option<Duration>) -> Self {
        Self { begin: Instant::now(), stop, unhealthy }
    }

    fn time(&mut self) -> Duration {
        let stop = *self.stop.borrow_and_update();
        stop.or(self.unhealthy).unwrap_or_default()
    }

    /// Ends when the time is over, but with any time at all not before `least`. The time may be made shorter meanwhile:
    /// `kubectl delete --force` after a plain delete.
    async fn over(&mut self, least: Instant) {
        loop {
            let time = self.time();
            let deadline = if time.is_zero() { self.begin } else { (self.begin + time).max(least) };
            tokio::select! {
                () = sleep_until(deadline) => return,
                // Nobody can change it any more when the kubelet ends.
                changed = self.stop.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Ends the process and tells how it ended.
pub(crate) async fn end(process: &mut Process, hook: Option<&Hook>, target: Target<'_>, mut grace: Grace<'_>) -> Exit {
    let mut least = grace.begin;
    if let Some(hook) = hook
        && !grace.time().is_zero()
    {
        tokio::select! {
            biased;
            exit = process.wait() => return exit,
            () = hook.run(target) => {}
            () = grace.over(least) => {}
        }
        least = Instant::now() + AFTER_HOOK_MIN;
    }
    signal(process, Signal::SIGTERM);
    tokio::select! {
        biased;
        exit = process.wait() => return exit,
        () = grace.over(least) => {}
    }
    signal(process, Signal::SIGKILL);
    process.wait().await
}

fn signal(process: &Process, signal: Signal) {
    if let Err(error) = process.signal(signal) {
        tracing::error!(pid = process.pid, %signal, %error, "a process did not get its signal");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;

    fn hook(lifecycle: serde_json::Value) -> Result<Option<Hook>, String> {
        let container =
            json!({"name": "web", "ports": [{"name": "http", "containerPort": 8080}], "lifecycle": lifecycle});
        let container: Container = serde_json::from_value(container).expect("a container");
        Hook::of(&container).map_err(|error| error.message)
    }

    #[test_case(json!({}) => Ok(None))]
    #[test_case(json!({"preStop": {"sleep": {"seconds": 3}}}) => Ok(Some(Hook::Sleep(Duration::from_secs(3)))))]
    #[test_case(json!({"preStop": {"exec": {"command": ["true"]}}})
        => Ok(Some(Hook::Action(Action::Exec { command: vec!["true".into()] }))))]
    #[test_case(json!({"preStop": {"httpGet": {"port": "http"}}}) => matches Ok(Some(Hook::Action(Action::Http { port: 8080, .. }))))]
    #[test_case(json!({"preStop": {}}) => matches Err(_); "a hook that does nothing")]
    #[test_case(json!({"postStart": {"exec": {"command": ["true"]}}}) => matches Err(_); "what we do not have is told")]
    fn hooks_are_read(lifecycle: serde_json::Value) -> Result<Option<Hook>, String> {
        hook(lifecycle)
    }

    #[tokio::test(start_paused = true)]
    async fn time_may_be_cut_short() {
        let (sender, mut stop) = watch::channel(Some(Duration::from_secs(30)));
        let begin = Instant::now();
        let mut grace = Grace::new(&mut stop, None);
        let over = grace.over(begin);
        let shorten = async {
            sleep_until(begin + Duration::from_secs(1)).await;
            sender.send_replace(Some(Duration::ZERO));
        };
        tokio::join!(over, shorten);
        assert_eq!(begin.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hook_that_took_all_leaves_two_seconds() {
        let (_sender, mut stop) = watch::channel(Some(Duration::from_secs(1)));
        let begin = Instant::now();
        let mut grace = Grace::new(&mut stop, None);
        grace.over(begin).await;
        grace.over(begin + Duration::from_secs(1) + AFTER_HOOK_MIN).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(3));
    }
}
