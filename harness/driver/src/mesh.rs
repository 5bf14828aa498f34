//! A mesh that is up.

use std::{os::fd::OwnedFd, sync::Arc};

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex, mpsc},
    task::spawn_blocking,
};

use crate::{
    Control, ControlError, DownError, DownErrorKind, LogEnd, RunState,
    down::take_down,
    error::SystemError,
    outpost::{Far, Shadow},
    process::{ExitSender, Process},
    teardown::Ownership,
};

/// A mesh that is up. Dropping it takes it down as well as that is possible without being able to tell about errors.
#[derive(Debug)]
pub struct Mesh {
    state: RunState,
    control: Control,
    exited: Mutex<mpsc::Receiver<ExitedProcess>>,
    spread: Spread,
    /// Last, so that it is dropped last.
    ownership: Ownership,
}

/// What a mesh has on other machines.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    /// The clusters there.
    pub(crate) far: Vec<Far>,
    /// What they have here.
    pub(crate) shadows: Vec<Shadow>,
}

/// A process of the mesh ended although nobody told it to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitedProcess {
    /// Its name, such as `agent-alpha-1`.
    pub name: String,
    /// How it ended, in words.
    pub status: String,
    /// Its log.
    pub log: LogEnd,
}

impl Mesh {
    pub(crate) fn new(
        state: RunState,
        processes: Vec<Process>,
        reservations: Vec<OwnedFd>,
        exits: ExitSender,
        exited: mpsc::Receiver<ExitedProcess>,
        spread: Spread,
        ownership: Ownership,
    ) -> Self {
        let outposts = spread.far.iter().map(|far| Arc::clone(far.outpost())).collect();
        let control = Control::of_owner(state.clone(), processes, reservations, exits, outposts, ownership.gate());
        Self { state, control, exited: Mutex::new(exited), spread, ownership }
    }

    /// What the run consists of, as it was when it had come up: names, addresses and paths never change, but see
    /// [`Control::state`] for who its processes are now.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// Control over its processes, nodes and clusters. May be cloned and used from anywhere, at the same time.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Waits for the next process that ends although nobody told it to. Cancel-safe; never returns while all is well.
    pub async fn exited(&self) -> ExitedProcess {
        match self.exited.lock().await.recv().await {
            Some(exited) => exited,
            // Cannot happen: `self` has a sender.
            None => std::future::pending().await,
        }
    }

    /// Takes everything down and makes sure that nothing is left.
    pub async fn down(self) -> Result<(), DownError> {
        let Self { state, control, exited, spread, ownership } = self;
        // Nobody wants to know about ends any more.
        drop(exited);
        drop(spread.shadows);
        let run = state.run.clone();
        let elsewhere = join_all(spread.far.into_iter().map(Far::down)).await;
        let gate = Arc::clone(ownership.gate());
        let result = spawn_blocking(move || {
            gate.close();
            take_down(&state.run)
        });
        let result = match result.await {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        if result.is_ok() {
            control.all_reaped().await;
        }
        // What could not be removed now cannot be removed by trying again at once.
        ownership.release();
        let left: Vec<String> = elsewhere.into_iter().filter_map(Result::err).collect();
        match result {
            Ok(()) if !left.is_empty() => Err(DownError { run, kind: DownErrorKind::Leftovers(left) }),
            result => result,
        }
    }

    /// Leaves everything running and marks the run as kept. Its processes no longer belong to this program: they
    /// survive its end, and only [`crate::down`] ends them.
    pub fn keep(self) -> Result<RunState, SystemError> {
        let Self { control, ownership, .. } = self;
        control.update(|state| state.kept = true)?;
        ownership.release();
        Ok(control.state())
    }

    /// Ends the agent of `node` in an orderly way and starts it again; returns when the new one is ready.
    pub async fn restart_agent(&self, node: &str) -> Result<(), ControlError> {
        self.restart(&format!("agent-{node}")).await
    }

    /// Ends the process called `name`, such as `etcd-alpha`, in an orderly way and starts it again; returns when the
    /// new one is ready. When that fails, the process is left as it is then.
    pub async fn restart(&self, name: &str) -> Result<(), ControlError> {
        self.control.restart(name).await.map(drop)
    }
}
