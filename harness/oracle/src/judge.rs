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
    /// Node of the client.
    pub node: String,
    /// Service asked.
    pub service: ServiceKey,
    /// TCP port of the service asked.
    pub port: u16,
    /// Just before `connect()`.
    pub sent: Micros,
    /// When the answer was complete or the error was known.
    pub done: Micros,
    /// When the connection was opened that it was sent on; `None` for a connection of its own. A connection stays with
    /// its backend, so who was allowed at any time since then may answer.
    pub opened: Option<Micros>,
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
#[derive(Clone, Debug, Default)]
pub(crate) struct Moment {
    /// Everyone who may answer, as far as the client's node can know.
    pub(crate) allowed: BTreeSet<AllowedBackend>,
    /// The client's node may see nobody who can answer.
    pub(crate) may_be_empty: bool,
    /// A failure at this moment may have come of these. Those that are the best excuse come first.
    pub(crate) excuses: Vec<Excuse>,
}

/// Something that was done on purpose, or follows from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Excuse {
    /// We changed the maps of the client's node, or they are gone: anything may come of it.
    MapsUnknown,
    /// An allowed backend's process is dead.
    Dead(AllowedBackend),
    /// An allowed backend is gone from its own cluster, and the client's node may not have heard of it.
    Gone(AllowedBackend),
    /// An allowed backend terminates, as its own cluster says, and the client's node may not have heard of it.
    Leaving(AllowedBackend),
    /// Packets to or from an allowed backend may not arrive.
    CutOff(AllowedBackend),
    /// An allowed backend's process is stopped.
    Hung(AllowedBackend),
    /// Packets to or from an allowed backend are late, or some are lost.
    Slow(AllowedBackend),
}

impl Excuse {
    /// Whether a failure of this kind can come of it.
    fn covers(&self, kind: ErrorKind) -> bool {
        match (self, kind) {
            (Self::MapsUnknown, _) => true,
            // Whoever answered must have said who he is.
            (_, ErrorKind::Malformed) => false,
            // The kernel of a dead process answers at once.
            (Self::Dead(_), kind) => kind != ErrorKind::TimedOut,
            (Self::Gone(_) | Self::CutOff(_), _) => true,
            // While there is its network namespace, the kernel answers for it.
            (Self::Leaving(_), kind) => matches!(kind, ErrorKind::Refused | ErrorKind::Reset),
            (Self::Hung(_), kind) => kind == ErrorKind::TimedOut,
            (Self::Slow(_), kind) => matches!(kind, ErrorKind::TimedOut | ErrorKind::Reset),
        }
    }

    fn why(&self, asked: &Asked) -> String {
        match self {
            Self::MapsUnknown => format!("the maps of node {} were not what its agent made them", asked.node),
            Self::Dead(backend) => format!("{backend} was dead and still listed"),
            Self::Gone(backend) => format!("{backend} was gone and node {} may not have heard of it", asked.node),
            Self::Leaving(backend) => {
                format!("{backend} was terminating and node {} may not have heard of it", asked.node)
            }
            Self::CutOff(backend) => format!("packets to or from {backend} may not have arrived"),
            Self::Hung(backend) => format!("{backend} was stopped and still listed"),
            Self::Slow(backend) => format!("packets to or from {backend} may have been late or lost"),
        }
    }
}

/// Judges `asked` by the moments of its interval, which began at `start`.
pub(crate) fn judge(asked: &Asked, start: Micros, moments: &[Moment]) -> Judgement {
    match &asked.outcome {
        Outcome::Answered { ip, cluster } => {
            let is_it = |backend: &AllowedBackend| backend.address.ip == *ip && backend.cluster == *cluster;
            if moments.iter().any(|moment| moment.allowed.iter().any(is_it)) {
                return Judgement::Right;
            }
            if moments.iter().any(|moment| moment.excuses.contains(&Excuse::MapsUnknown)) {
                return Judgement::Excused { why: Excuse::MapsUnknown.why(asked) };
            }
            let found = format!("{ip} of {cluster} answered");
            Judgement::Wrong { message: sentence(asked, start, moments, &found) }
        }
        Outcome::Failed(kind) => judge_failure(asked, *kind, start, moments),
    }
}

fn judge_failure(asked: &Asked, kind: ErrorKind, start: Micros, moments: &[Moment]) -> Judgement {
    let hangs_or_lies = matches!(kind, ErrorKind::TimedOut | ErrorKind::Malformed);
    if !hangs_or_lies && moments.iter().any(|moment| moment.may_be_empty) {
        return Judgement::Right;
    }
    let excuses = moments.iter().flat_map(|moment| &moment.excuses);
    if let Some(excuse) = excuses.filter(|excuse| excuse.covers(kind)).min() {
        return Judgement::Excused { why: excuse.why(asked) };
    }
    if let (ErrorKind::Refused | ErrorKind::Reset, Some(backend)) = (kind, closed(moments)) {
        return Judgement::Excused { why: format!("{backend} was just being taken out") };
    }
    let why = match kind {
        ErrorKind::TimedOut => "a client got no answer and no error in time".to_owned(),
        ErrorKind::Malformed => "a client got an answer that does not say who gave it".to_owned(),
        _ => format!("a request failed ({})", kind.as_str()),
    };
    Judgement::Wrong { message: sentence(asked, start, moments, &why) }
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
    let node = if asked.node.is_empty() { String::new() } else { format!("/{}", asked.node) };
    format!(
        "service {}:{} asked from {}{node} at {}: {found}; allowed since {}: {allowed}",
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
