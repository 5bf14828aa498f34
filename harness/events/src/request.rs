//! One request of a probe and what became of it.

use serde::{Deserialize, Serialize};

use crate::Micros;

/// One request of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Cluster of the client.
    pub cluster: String,
    /// Name of the client pod.
    pub client: String,
    /// Node of the client pod.
    #[serde(default)]
    pub node: String,
    /// Service asked, as `namespace/name`.
    pub service: String,
    /// Counts up from 0 for each client.
    pub sequence: u64,
    /// Just before `connect()`.
    pub sent: Micros,
    /// When the answer was complete or the error was known.
    pub done: Micros,
    /// When the connection was opened that it was sent on; `None` for a connection of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Micros>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A complete answer.
    Answered(Answer),
    /// No answer.
    Failed(ErrorKind),
}

/// Who answered, in the backend's own words (response headers), not as the client believes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Answer {
    /// Cluster of the backend.
    pub cluster: String,
    /// Its pod's name.
    pub pod: String,
    /// Its pod's address.
    pub ip: String,
    /// HTTP status.
    pub status: u16,
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// `ECONNREFUSED`: somebody is there, nobody listens.
    Refused,
    /// `EHOSTUNREACH` or `ENETUNREACH`; what the socket load balancer says when a service has no backend.
    Unreachable,
    /// `EPERM`: the same on kernels that cannot set a return value from BPF (before 5.18).
    NotPermitted,
    /// `ECONNRESET`, `EPIPE` or an end of stream in the middle of the answer.
    Reset,
    /// Nothing within the probe's time-out. Always a defect: it means that a client hung.
    TimedOut,
    /// The answer was no HTTP, or its headers did not say who answered.
    Malformed,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// The word used in tables and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::NotPermitted => "not-permitted",
            Self::Reset => "reset",
            Self::TimedOut => "timed-out",
            Self::Malformed => "malformed",
            Self::Other => "other",
        }
    }
}
