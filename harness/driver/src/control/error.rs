//! Errors of control.

use std::{path::PathBuf, time::Duration};

use crate::error::{EtcdSetupError, PkiError, ProcessError, SystemError};

/// Something could not be done to a running mesh, or nothing showed that it was.
#[derive(Debug, thiserror::Error)]
#[error("failed to {act}")]
pub struct ControlError {
    /// What was tried, such as ``kill `etcd-alpha` ``.
    pub act: String,
    /// Why it failed.
    #[source]
    pub kind: ControlErrorKind,
}

impl ControlError {
    pub(crate) fn new(act: String, kind: ControlErrorKind) -> Self {
        Self { act, kind }
    }
}

/// Why something could not be done to a running mesh.
#[derive(Debug, thiserror::Error)]
pub enum ControlErrorKind {
    /// There is no such run on this machine.
    #[error("there is no such run on this machine")]
    NoRun,
    /// The run belongs to a program that is at work.
    #[error("process {pid} made it and is still at work with it")]
    Owned {
        /// The program.
        pid: u32,
    },
    /// The run has no such process.
    #[error("no process `{0}` in this run")]
    UnknownProcess(String),
    /// The run has no such node.
    #[error("no node `{0}` in this run")]
    UnknownNode(String),
    /// The run has no such cluster.
    #[error("no cluster `{0}` in this run")]
    UnknownCluster(String),
    /// The description of the process names no command that asks it.
    #[error("the description of process `{0}` has no `status`")]
    NoStatus(String),
    /// The node is switched off.
    #[error("node `{0}` is switched off")]
    SwitchedOff(String),
    /// The node is not switched off.
    #[error("node `{0}` is not switched off")]
    SwitchedOn(String),
    /// There is no file to change or to put back.
    #[error("there is no `{}`", .0.display())]
    NoFile(PathBuf),
    /// A process did not do what it should.
    #[error("a process did not do what it should")]
    Process(#[source] ProcessError),
    /// The system refused something.
    #[error("the system refused a part of it")]
    System(#[source] SystemError),
    /// Keys or certificates.
    #[error("there is no certificate")]
    Pki(#[source] PkiError),
    /// Users and roles of an etcd.
    #[error("etcd knows no users")]
    EtcdSetup(#[source] EtcdSetupError),
    /// It was done, and the kernel did not show it in time.
    #[error("within {deadline:?} nothing showed that {what}")]
    NotSeen {
        /// What should have been seen.
        what: String,
        /// How long was waited.
        deadline: Duration,
    },
}

impl From<ProcessError> for ControlErrorKind {
    fn from(error: ProcessError) -> Self {
        Self::Process(error)
    }
}

impl From<SystemError> for ControlErrorKind {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}

impl From<EtcdSetupError> for ControlErrorKind {
    fn from(error: EtcdSetupError) -> Self {
        Self::EtcdSetup(error)
    }
}

impl From<PkiError> for ControlErrorKind {
    fn from(error: PkiError) -> Self {
        Self::Pki(error)
    }
}

/// Adds to an error what was tried.
pub(crate) trait While<T> {
    /// Turns the error into a [`ControlError`] with `act` as context.
    fn during(self, act: impl FnOnce() -> String) -> Result<T, ControlError>;
}

impl<T, E: Into<ControlErrorKind>> While<T> for Result<T, E> {
    fn during(self, act: impl FnOnce() -> String) -> Result<T, ControlError> {
        self.map_err(|kind| ControlError { act: act(), kind: kind.into() })
    }
}
