//! What a step expects.

use std::{collections::BTreeSet, fmt, time::Duration};

use mesh_types::{ClusterName, ServiceKey};
use meshbed_events::ErrorKind;

/// One thing that must hold for the steady requests of a step (those sent after it settled).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Clients in a cluster got answers, from exactly these clusters.
    Answers {
        /// Where the clients are.
        in_: ClusterName,
        /// Who answered; never empty.
        from: BTreeSet<ClusterName>,
    },
    /// At most so many steady requests failed, over all clients.
    Errors {
        /// How many may fail.
        max: u64,
    },
    /// Every steady request of clients in a cluster failed, at once, and none was answered.
    Failures {
        /// Where the clients are.
        in_: ClusterName,
        /// In which ways it may fail; never empty.
        kinds: BTreeSet<ErrorKind>,
        /// How long a failing request may take.
        within: Duration,
    },
    /// The ready endpoints of a service that the Kubernetes API of a cluster shows are in exactly these clusters.
    Endpoints {
        /// Whose API.
        in_: ClusterName,
        /// Which service.
        service: ServiceKey,
        /// Where the endpoints' addresses belong; empty: there are none.
        from: BTreeSet<ClusterName>,
    },
}

/// In the scenario's own words.
impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answers { in_, from } => write!(f, "answers: {{in: {in_}, from: [{}]}}", join(from)),
            Self::Errors { max } => write!(f, "errors: {{max: {max}}}"),
            Self::Failures { in_, kinds, within } => {
                let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
                let within = humantime::format_duration(*within);
                write!(f, "failures: {{in: {in_}, kinds: [{}], within: {within}}}", kinds.join(", "))
            }
            Self::Endpoints { in_, service, from } => {
                write!(f, "endpoints: {{in: {in_}, service: {service}, from: [{}]}}", join(from))
            }
        }
    }
}

fn join(clusters: &BTreeSet<ClusterName>) -> String {
    clusters.iter().map(ClusterName::as_str).collect::<Vec<_>>().join(", ")
}
