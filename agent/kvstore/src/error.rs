//! What can go wrong while talking to an etcd.

use std::{error::Error, time::Duration};

use crate::EtcdConfigError;

/// Why a session with an etcd ended or never began. Every one of them is retried.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The configuration file is unusable; a corrected one is picked up at the next attempt.
    #[error("{}", chain(.0))]
    Config(EtcdConfigError),
    /// A certificate or key file cannot be read.
    #[error("failed to read `{path}`: {error}")]
    Pem {
        /// The file.
        path: String,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// No endpoint took a connection; the text is the last one's.
    #[error("unable to connect to `{endpoint}`: {reason}")]
    Connect {
        /// The endpoint's URL.
        endpoint: String,
        /// The chain of causes.
        reason: String,
    },
    /// A request or a watch failed.
    #[error("{act}: {error}")]
    Request {
        /// What was being done.
        act: &'static str,
        /// What the kvstore said.
        error: RequestError,
    },
    /// No answer in time.
    #[error("{act}: timed out after {after:?}")]
    TimedOut {
        /// What was being done.
        act: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// The server ended a watch.
    #[error("{act}: watch ended by the server: {reason}")]
    WatchEnded {
        /// What was watched.
        act: &'static str,
        /// The server's words, if any.
        reason: String,
    },
    /// The server ended a watch because the revisions that it asked for are gone: list again.
    #[error("{act}: etcdserver: mvcc: required revision has been compacted")]
    Compacted {
        /// What was watched.
        act: &'static str,
    },
    /// An answer came from another etcd than the connection's first: revisions are not comparable.
    #[error("etcd cluster ID changed from {first:x} to {now:x}")]
    OtherEtcd {
        /// ID in the first answer.
        first: u64,
        /// ID in this answer.
        now: u64,
    },
    /// An answer had no header, which etcd always sends.
    #[error("{act}: answer without header")]
    NoHeader {
        /// What was being done.
        act: &'static str,
    },
    /// A lease of ours is gone, and all keys with it.
    #[error("lease {0:x} expired")]
    LeaseLost(i64),
    /// Nobody takes our events any more. The only error that is not retried.
    #[error("receiver of events is gone")]
    ReceiverGone,
}

impl SessionError {
    /// Whether another attempt makes sense.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::ReceiverGone)
    }
}

/// What a kvstore answered instead of doing as it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// We may not do that, in the kvstore's words: `etcdserver: permission denied`.
    #[error("{0}")]
    Refused(String),
    /// Any other refusal.
    #[error("{code}: {message}")]
    Status {
        /// gRPC's word for it.
        code: String,
        /// The kvstore's words.
        message: String,
    },
    /// The connection broke, with all causes.
    #[error("{0}")]
    Transport(String),
}

/// An error and all its causes in one line: these texts end up in a status report, where no chain can be shown.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
