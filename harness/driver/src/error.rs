//! Errors of the driver.

use std::{io, path::PathBuf, time::Duration};

use crate::{LogEnd, Rejection, RunId};

/// A system call, a file operation or a netlink request failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {act}")]
pub struct SystemError {
    /// What was tried, such as ``mount bpffs at `/run/…` ``.
    pub act: String,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// An error with all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Adds to an error what was tried.
pub(crate) trait Act<T> {
    /// Turns the error into a [`SystemError`] with `act` as context.
    fn act(self, act: impl FnOnce() -> String) -> Result<T, SystemError>;
}

impl<T, E: IntoIo> Act<T> for Result<T, E> {
    fn act(self, act: impl FnOnce() -> String) -> Result<T, SystemError> {
        self.map_err(|error| SystemError { act: act(), source: error.into_io() })
    }
}

/// What can be the source of a [`SystemError`].
pub(crate) trait IntoIo {
    /// The error as the kernel's error number where there is one.
    fn into_io(self) -> io::Error;
}

impl IntoIo for io::Error {
    fn into_io(self) -> io::Error {
        self
    }
}

impl IntoIo for nix::Error {
    fn into_io(self) -> io::Error {
        self.into()
    }
}

impl IntoIo for rtnetlink::Error {
    fn into_io(self) -> io::Error {
        match self {
            Self::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other),
        }
    }
}

/// A mesh did not come up. What had been made is removed again unless the options say otherwise.
#[derive(Debug, thiserror::Error)]
#[error("failed to bring up run `{run}`")]
pub struct UpError {
    /// The run.
    pub run: RunId,
    /// Why.
    #[source]
    pub kind: UpErrorKind,
}

impl UpError {
    /// The program that the kernel did not take, and the process that loads it, if that is why.
    pub fn rejection(&self) -> Option<(&str, &Rejection)> {
        match &self.kind {
            UpErrorKind::Process(ProcessError::Ended { name, log, .. } | ProcessError::NotReady { name, log, .. }) => {
                Some((name, log.rejection.as_ref()?))
            }
            UpErrorKind::Elsewhere { rejection: Some((name, rejection)), .. } => Some((name, rejection)),
            _ => None,
        }
    }
}

/// Why a mesh did not come up.
#[derive(Debug, thiserror::Error)]
pub enum UpErrorKind {
    /// The run ID is in use on this machine.
    #[error("`{}` exists already", .0.display())]
    Exists(PathBuf),
    /// A name that the environment needs for itself.
    #[error("cluster name `{0}` is taken by the environment itself")]
    ReservedName(String),
    /// The system refused something.
    #[error("the system refused a part of it")]
    System(#[source] SystemError),
    /// Keys or certificates.
    #[error("failed to make the certificates of cluster `{cluster}`")]
    Pki {
        /// Cluster.
        cluster: String,
        /// Why.
        #[source]
        kind: PkiError,
    },
    /// etcd got no users and roles.
    #[error("failed to set up the users of the etcd of cluster `{cluster}`")]
    EtcdSetup {
        /// Cluster.
        cluster: String,
        /// Why.
        #[source]
        kind: EtcdSetupError,
    },
    /// A process did not start or did not become ready.
    #[error("a process of the mesh failed")]
    Process(#[source] ProcessError),
    /// Clusters on another machine did not come up.
    #[error("clusters {clusters} did not come up on their machine: {why}")]
    Elsewhere {
        /// Which, in words.
        clusters: String,
        /// Why, with all causes.
        why: String,
        /// The program that the kernel there did not take, and the process that loads it, if that is why.
        rejection: Option<(String, Rejection)>,
    },
}

impl From<SystemError> for UpErrorKind {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}

impl From<ProcessError> for UpErrorKind {
    fn from(error: ProcessError) -> Self {
        Self::Process(error)
    }
}

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The cryptography failed.
    #[error("failed to generate a key or a certificate")]
    Generate(#[source] rcgen::Error),
    /// A file could not be written.
    #[error("failed to store it")]
    Store(#[source] SystemError),
}

/// Why an etcd has no users and roles.
#[derive(Debug, thiserror::Error)]
pub enum EtcdSetupError {
    /// Namespace or files.
    #[error("the system refused a part of it")]
    System(#[source] SystemError),
    /// etcd or the connection to it.
    #[error("etcd refused it or could not be reached")]
    Client(#[source] etcd_client::Error),
    /// No answer.
    #[error("it was not done within {0:?}")]
    TimedOut(Duration),
}

impl From<SystemError> for EtcdSetupError {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}

/// A process of the mesh did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is no such process in the run.
    #[error("no process `{name}` in this run")]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// It could not be started.
    #[error("failed to start `{name}`")]
    Start {
        /// Name of the process.
        name: String,
        /// Why.
        #[source]
        source: SystemError,
    },
    /// It could not be told something.
    #[error("failed to signal `{name}`")]
    Signal {
        /// Name of the process.
        name: String,
        /// Why.
        #[source]
        source: SystemError,
    },
    /// There is no such process now: it ended before.
    #[error("`{name}` is not running")]
    NotRunning {
        /// Name of the process.
        name: String,
    },
    /// It is there already.
    #[error("`{name}` is running")]
    Running {
        /// Name of the process.
        name: String,
    },
    /// It ended before it said that it is ready.
    #[error("`{name}` ended before it was ready ({status}); {log}")]
    Ended {
        /// Name of the process.
        name: String,
        /// Exit status in words.
        status: String,
        /// Its log. Boxed, because most errors have none.
        log: Box<LogEnd>,
    },
    /// It did not say that it is ready in time.
    #[error("`{name}` was not ready within {deadline:?}; {log}")]
    NotReady {
        /// Name of the process.
        name: String,
        /// How long it was given.
        deadline: Duration,
        /// Its log. Boxed, because most errors have none.
        log: Box<LogEnd>,
    },
    /// It did not end when it was told to.
    #[error("`{name}` did not end within {deadline:?}")]
    NotEnded {
        /// Name of the process.
        name: String,
        /// How long it was given.
        deadline: Duration,
    },
}

/// A run could not be removed, or not all of it.
#[derive(Debug, thiserror::Error)]
#[error("failed to take down run `{run}`")]
pub struct DownError {
    /// The run.
    pub run: RunId,
    /// Why.
    #[source]
    pub kind: DownErrorKind,
}

/// Why a run is not gone.
#[derive(Debug, thiserror::Error)]
pub enum DownErrorKind {
    /// The system refused something.
    #[error("the system refused a part of it")]
    System(#[source] SystemError),
    /// Everything was tried, and these are still there.
    #[error("still there: {}", .0.join(", "))]
    Leftovers(Vec<String>),
}
