//! A mesh that is up.

use std::path::PathBuf;

use tokio::{
    sync::{Mutex, mpsc},
    task::spawn_blocking,
};

use crate::{
    DownError, ProcessError, RunState,
    down::take_down,
    error::SystemError,
    layout::run_json,
    process::{ExitSender, Process},
    teardown::Ownership,
};

/// A mesh that is up. Dropping it takes it down as well as that is possible without being able to tell about errors.
#[derive(Debug)]
pub struct Mesh {
    state: RunState,
    processes: Vec<Process>,
    exits: ExitSender,
    exited: Mutex<mpsc::Receiver<ExitedProcess>>,
    /// Last, so that it is dropped last.
    ownership: Ownership,
}

/// A process of the mesh ended although nobody told it to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitedProcess {
    /// Its name, such as `agent-alpha-1`.
    pub name: String,
    /// How it ended, in words.
    pub status: String,
    /// Its log.
    pub log: PathBuf,
    /// Last lines of the log.
    pub tail: String,
}

impl Mesh {
    pub(crate) fn new(
        state: RunState,
        processes: Vec<Process>,
        exits: ExitSender,
        exited: mpsc::Receiver<ExitedProcess>,
        ownership: Ownership,
    ) -> Self {
        Self { state, processes, exits, exited: Mutex::new(exited), ownership }
    }

    /// What the run consists of.
    pub fn state(&self) -> &RunState {
        &self.state
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
        let Self { state, processes, ownership, .. } = self;
        for process in &processes {
            process.expect_end();
        }
        let gate = std::sync::Arc::clone(ownership.gate());
        let run = state.run.clone();
        let result = spawn_blocking(move || {
            gate.close();
            take_down(&run)
        });
        let result = match result.await {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        if result.is_ok() {
            for process in processes {
                process.reaped().await;
            }
        }
        // What could not be removed now cannot be removed by trying again at once.
        ownership.release();
        result
    }

    /// Leaves everything running and marks the run as kept. Its processes no longer belong to this program: they
    /// survive its end, and only [`crate::down`] ends them.
    pub fn keep(self) -> Result<RunState, SystemError> {
        let Self { mut state, ownership, .. } = self;
        state.kept = true;
        state.store(&run_json(&state.run))?;
        ownership.release();
        Ok(state)
    }

    /// Ends the agent of `node` in an orderly way (SIGTERM) and starts it again; returns when the new one is ready.
    pub async fn restart_agent(&mut self, node: &str) -> Result<(), ProcessError> {
        self.restart(&format!("agent-{node}")).await
    }

    /// Ends the process called `name`, such as `etcd-alpha`, in an orderly way (SIGTERM) and starts it again; returns
    /// when the new one is ready. When that fails, the process is left as it is then.
    pub async fn restart(&mut self, name: &str) -> Result<(), ProcessError> {
        let unknown = || ProcessError::Unknown { name: name.to_owned() };
        let position = self.processes.iter().position(|process| process.state().name == name).ok_or_else(unknown)?;
        self.processes[position].end().await?;
        self.processes[position].start_again(&self.exits)?;
        self.state.processes[position] = self.processes[position].state().clone();
        self.state
            .store(&run_json(&self.state.run))
            .map_err(|source| ProcessError::Start { name: name.to_owned(), source })?;
        self.processes[position].wait_ready().await
    }
}
