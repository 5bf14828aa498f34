//! Exit codes, as documented in the README.

use std::process::ExitCode;

use meshbed_events::Verdict;
use meshbed_scenario::Diagnostics;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: all is well.
    Success,
    /// 1: an expectation failed.
    Failed,
    /// 2: wrong usage or a wrong file.
    Usage,
    /// 3: the environment cannot run this.
    Environment,
    /// 4: a fault had no witness, so the run says nothing.
    Invalid,
    /// 5: a deadline passed.
    TimedOut,
    /// 130: Ctrl-C or SIGTERM.
    Interrupted,
    /// Another program's exit code, of `meshbed exec`.
    Other(u8),
}

impl Exit {
    /// The code of an error that ended a command.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if error.is::<Diagnostics>() || error.is::<UsageError>() { Self::Usage } else { Self::Environment }
    }

    /// What is said of a run that ended like this.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Success => "passed",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Environment => "environment",
            Self::Invalid => "invalid",
            Self::TimedOut => "timed out",
            Self::Interrupted => "interrupted",
            Self::Other(_) => "ended",
        }
    }

    /// The code itself.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Environment => 3,
            Self::Invalid => 4,
            Self::TimedOut => 5,
            Self::Interrupted => 130,
            Self::Other(code) => code,
        }
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Passed => Self::Success,
            Verdict::Failed => Self::Failed,
            Verdict::Environment => Self::Environment,
            Verdict::Invalid => Self::Invalid,
            Verdict::TimedOut => Self::TimedOut,
            Verdict::Interrupted => Self::Interrupted,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The user asked for something that does not exist.
#[derive(Debug)]
pub(crate) struct UsageError {
    /// What is wrong.
    pub(crate) message: String,
    /// What to do instead.
    pub(crate) hint: Option<String>,
}

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for UsageError {}

/// A usage error without much ado.
pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    let hint = hint.into();
    UsageError { message: message.into(), hint: (!hint.is_empty()).then_some(hint) }.into()
}
