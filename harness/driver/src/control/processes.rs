//! Single processes, by name: `agent-alpha-1`, `kubelet-alpha-1`, `etcd-alpha`, `apiserver-alpha`, `exporter-alpha`.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::{
    sync::MutexGuard,
    time::{interval, timeout},
};

use super::{Control, ControlError, ControlErrorKind, END_DEADLINE, Ended, Resumed, Started, Suspended, error::While};
use crate::{
    error::{Act, ProcessError},
    outpost::Order,
    pidfd::Pidfd,
    process::{KILL_DEADLINE, Process},
    process_table,
};

/// How long the threads of a process may take to stop. One that waits for a disk stops afterwards.
const SUSPEND_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two looks at the threads of a process; nothing tells about them.
const LOOKING_INTERVAL: Duration = Duration::from_millis(1);
/// State of a thread that is stopped by a signal (proc_pid_stat(5)).
const STOPPED: char = 'T';

impl Control {
    /// Whether the process called `name` exists now; stopped and frozen ones do.
    pub async fn is_running(&self, name: &str) -> Result<bool, ControlError> {
        self.pid(name).await.map(|pid| pid.is_some())
    }

    /// Number of the process called `name` if it exists now.
    pub async fn pid(&self, name: &str) -> Result<Option<u32>, ControlError> {
        if let Some(outpost) = self.outpost_of_process(name) {
            return self.order(outpost, Order::Pid(name.to_owned())).await;
        }
        let identity = self.lock_state().process(name).map(|process| process.identity);
        let identity = identity.ok_or_else(|| ControlErrorKind::UnknownProcess(name.to_owned()));
        let identity = identity.during(|| format!("look at `{name}`"))?;
        Ok(identity.is_alive().then_some(identity.pid))
    }

    /// Kills the process called `name` (SIGKILL) and waits until it is gone. One that is not there is an error: nothing
    /// would show that anything was done.
    pub async fn kill(&self, name: &str) -> Result<Ended, ControlError> {
        if let Some(outpost) = self.outpost_of_process(name) {
            return self.order(outpost, Order::Kill(name.to_owned())).await;
        }
        self.end(name, Signal::SIGKILL, KILL_DEADLINE).await.during(|| format!("kill `{name}`"))
    }

    /// Asks the process called `name` to end (SIGTERM, or what its description says) and waits until it is gone, at
    /// most for `deadline`. After an error it may still end, which is then no surprise to anybody.
    pub async fn stop(&self, name: &str, deadline: Duration) -> Result<Ended, ControlError> {
        if let Some(outpost) = self.outpost_of_process(name) {
            return self.order(outpost, Order::Stop(name.to_owned(), deadline)).await;
        }
        let stop = async {
            let number = self.process(name).await?.state().launch.stop_signal;
            self.end(name, Signal::try_from(number).unwrap_or(Signal::SIGTERM), deadline).await
        };
        stop.await.during(|| format!("stop `{name}`"))
    }

    /// Starts the process called `name` again after its end, as it was started the last time, and waits until it is ready.
    pub async fn start(&self, name: &str) -> Result<Started, ControlError> {
        if let Some(outpost) = self.outpost_of_process(name) {
            return self.order(outpost, Order::Start(name.to_owned())).await;
        }
        self.start_now(name).await.during(|| format!("start `{name}`"))
    }

    /// Stops the process called `name`, kills it if it does not end within [`END_DEADLINE`], and starts it again.
    pub async fn restart(&self, name: &str) -> Result<Started, ControlError> {
        if let Some(outpost) = self.outpost_of_process(name) {
            return self.order(outpost, Order::Restart(name.to_owned())).await;
        }
        match self.stop(name, END_DEADLINE).await {
            Err(ControlError { kind: ControlErrorKind::Process(ProcessError::NotEnded { .. }), .. }) => {
                self.kill(name).await?;
            }
            // A process that ended by itself may be restarted as well.
            Err(ControlError { kind: ControlErrorKind::Process(ProcessError::NotRunning { .. }), .. }) | Ok(_) => {}
            Err(error) => return Err(error),
        }
        self.start(name).await
    }

    /// Stops every thread of the process called `name` (SIGSTOP). It keeps its sockets, and the kernel goes on answering
    /// for them.
    pub async fn suspend(&self, name: &str) -> Result<Suspended, ControlError> {
        if let Some(outpost) = self.outpost_of_process(name) {
            return self.order(outpost, Order::Suspend(name.to_owned())).await;
        }
        let seen = self.signal_and_see(name, Signal::SIGSTOP, |states| states.iter().all(|state| *state == STOPPED));
        let (pid, threads) = seen.await.during(|| format!("suspend `{name}`"))?;
        Ok(Suspended { process: name.to_owned(), pid, threads })
    }

    /// Lets the process called `name` go on (SIGCONT).
    pub async fn resume(&self, name: &str) -> Result<Resumed, ControlError> {
        if let Some(outpost) = self.outpost_of_process(name) {
            return self.order(outpost, Order::Resume(name.to_owned())).await;
        }
        let seen = self.signal_and_see(name, Signal::SIGCONT, |states| states.iter().all(|state| *state != STOPPED));
        let (pid, threads) = seen.await.during(|| format!("resume `{name}`"))?;
        Ok(Resumed { process: name.to_owned(), pid, threads })
    }

    pub(super) async fn process(&self, name: &str) -> Result<MutexGuard<'_, Process>, ControlErrorKind> {
        match self.shared.processes.get(name) {
            Some(process) => Ok(process.lock().await),
            None => Err(ControlErrorKind::UnknownProcess(name.to_owned())),
        }
    }

    async fn end(&self, name: &str, signal: Signal, deadline: Duration) -> Result<Ended, ControlErrorKind> {
        let mut process = self.process(name).await?;
        let pid = process.state().identity.pid;
        process.end_with(signal, deadline).await?;
        Ok(Ended { process: name.to_owned(), pid })
    }

    pub(super) async fn start_now(&self, name: &str) -> Result<Started, ControlErrorKind> {
        let (ready, state) = {
            let mut process = self.process(name).await?;
            if !process.has_ended() {
                return Err(ProcessError::Running { name: name.to_owned() }.into());
            }
            let _pass = self.shared.gate.pass()?;
            process.start_again(self.shared.exits.as_ref())?;
            (process.wait_ready(), process.state().clone())
        };
        let pid = state.identity.pid;
        self.update(|run| {
            if let Some(known) = run.processes.iter_mut().find(|known| known.name == state.name) {
                *known = state;
            }
        })?;
        ready.await?;
        Ok(Started { process: name.to_owned(), pid })
    }

    /// Sends `signal` and waits until `seen` holds for the states of all threads.
    async fn signal_and_see(
        &self,
        name: &str,
        signal: Signal,
        seen: impl Fn(&[char]) -> bool,
    ) -> Result<(u32, usize), ControlErrorKind> {
        let process = self.process(name).await?;
        let identity = process.state().identity;
        let gone = || ControlErrorKind::from(ProcessError::NotRunning { name: name.to_owned() });
        let pidfd = Pidfd::open(identity).act(|| format!("open a pidfd of `{name}`"))?.ok_or_else(gone)?;
        pidfd.signal(signal).act(|| format!("send {signal}"))?;
        let threads = timeout(SUSPEND_DEADLINE, async {
            let mut looks = interval(LOOKING_INTERVAL);
            loop {
                looks.tick().await;
                let states = process_table::thread_states(identity.pid).unwrap_or_default();
                if !identity.is_alive() {
                    return Err(gone());
                }
                if !states.is_empty() && seen(&states) {
                    return Ok(states.len());
                }
            }
        });
        let late = |_| ControlErrorKind::NotSeen { what: format!("{signal} took effect"), deadline: SUSPEND_DEADLINE };
        Ok((identity.pid, threads.await.map_err(late)??))
    }
}
