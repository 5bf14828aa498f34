//! Whether an answer or an error was right.

use std::{collections::BTreeSet, fmt, net::Ipv4Addr};

use mesh_types::{ClusterName, ServiceKey};
use meshbed_events::{ErrorKind, Micros};

use crate::AllowedBackend;

/// One request of a client and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Cluster of the client.
    pub cluster: ClusterName,
    /// Service asked.
    pub service: ServiceKey,
    /// TCP port of the service asked.
    pub port: u16,
    /// Just before `connect()`.
    pub sent: Micros,
    /// When the answer was complete or the error was known.
    pub done: Micros,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A complete answer.
    Answered {
        /// Pod address of who answered, in its own words.
        ip: Ipv4Addr,
        /// Cluster of who answered, in its own words.
        cluster: ClusterName,
    },
    /// No answer.
    Failed(ErrorKind),
}

/// What the oracle says about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It may be so.
    Right,
    /// It may be so because of something that happened on purpose; counts as lost.
    Excused {
        /// What happened, as a sentence without a full stop.
        why: String,
    },
    /// It may not be so.
    Wrong {
        /// A sentence that names the service and the backends.
        message: String,
    },
}

/// What was true at one moment of the interval, until the next one.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    /// Who may answer.
    pub(crate) allowed: BTreeSet<AllowedBackend>,
    /// Those of them that are dead.
    pub(crate) dead: BTreeSet<AllowedBackend>,
}

/// Judges `asked` by the moments of its interval, which began at `start`.
pub(crate) fn judge(asked: &Asked, start: Micros, moments: &[Moment]) -> Judgement {
    match &asked.outcome {
        Outcome::Answered { ip, cluster } => {
            let is_it = |backend: &AllowedBackend| backend.address.ip == *ip && backend.cluster == *cluster;
            if moments.iter().any(|moment| moment.allowed.iter().any(is_it)) {
                Judgement::Right
            } else {
                let found = format!("{ip} of {cluster} answered");
                Judgement::Wrong { message: sentence(asked, start, moments, &found) }
            }
        }
        Outcome::Failed(kind) => judge_failure(asked, *kind, start, moments),
    }
}

fn judge_failure(asked: &Asked, kind: ErrorKind, start: Micros, moments: &[Moment]) -> Judgement {
    let wrong = |why: &str| Judgement::Wrong { message: sentence(asked, start, moments, why) };
    match kind {
        // Nobody may let a client hang, and whoever answered must have said who he is.
        ErrorKind::TimedOut => return wrong("a client got no answer and no error in time"),
        ErrorKind::Malformed => return wrong("a client got an answer that does not say who gave it"),
        ErrorKind::Refused | ErrorKind::Unreachable | ErrorKind::NotPermitted | ErrorKind::Reset | ErrorKind::Other => {
        }
    }
    if moments.iter().any(|moment| moment.allowed.is_empty()) {
        return Judgement::Right;
    }
    if let Some(backend) = moments.iter().find_map(|moment| moment.dead.first()) {
        return Judgement::Excused { why: format!("{backend} was dead and still listed") };
    }
    if let (ErrorKind::Refused | ErrorKind::Reset, Some(backend)) = (kind, closed(moments)) {
        return Judgement::Excused { why: format!("{backend} was just being taken out") };
    }
    wrong(&format!("a request failed ({})", kind.as_str()))
}

/// A backend that was allowed at one moment and not at the next.
fn closed(moments: &[Moment]) -> Option<&AllowedBackend> {
    moments.windows(2).find_map(|pair| pair[0].allowed.difference(&pair[1].allowed).next())
}

/// `service default/rebel-base asked from alpha at 1.500000 s: <found>; allowed since 0.500000 s: …`.
fn sentence(asked: &Asked, start: Micros, moments: &[Moment], found: &str) -> String {
    let allowed: BTreeSet<&AllowedBackend> = moments.iter().flat_map(|moment| &moment.allowed).collect();
    let allowed: Vec<String> = allowed.into_iter().map(ToString::to_string).collect();
    let allowed = if allowed.is_empty() { "nobody".to_owned() } else { allowed.join(", ") };
    format!(
        "service {}:{} asked from {} at {}: {found}; allowed since {}: {allowed}",
        asked.service,
        asked.port,
        asked.cluster,
        Seconds(asked.sent),
        Seconds(start),
    )
}

struct Seconds(Micros);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MICROS_PER_SECOND: u64 = 1_000_000;
        write!(f, "{}.{:06} s", self.0.0 / MICROS_PER_SECOND, self.0.0 % MICROS_PER_SECOND)
    }
}
