//! The defects.

/// Makes the enum, and with the feature also what is said about each defect: the name is the one that
/// `MESH_AGENT_DEFECT` takes, the doc comment is its meaning, `like` is the problem of real users that it resembles.
macro_rules! defects {
    ($($(#[doc = $meaning:literal])+ $defect:ident = $name:literal $(like $like:literal)?,)+) => {
        /// A way for the agent to be wrong. Each shows only when its trigger happens, unless it says otherwise.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Defect {
            $($(#[doc = $meaning])+ $defect,)+
        }

        #[cfg(feature = "planted-defects")]
        impl Defect {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$defect),+];

            /// Its name, in kebab case.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$defect => $name,)+
                }
            }

            /// What is wrong, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$defect => concat!($($meaning),+).trim_ascii(),)+
                }
            }

            /// The issue of cilium/cilium that it resembles, if there is one.
            pub fn resembles(self) -> Option<&'static str> {
                match self {
                    $(Self::$defect => None$(.or(Some($like)))?,)+
                }
            }
        }
    };
}

defects! {
    /// The reader ignores the backends of remote clusters, always.
    RemoteBackendsDropped = "remote-backends-dropped",
    /// A backend that was once seen stays in its frontend for ever.
    DeadBackendsKept = "dead-backends-kept" like "45441",
    /// The exporter exports services that say `shared: "false"`.
    SharedIgnored = "shared-ignored",
    /// Remote backends are dropped the moment the connection to their cluster's etcd breaks.
    RemoteRemovedTooEarly = "remote-removed-too-early" like "23823",
    /// Remote backends are dropped once their cluster's etcd has been unreachable for two seconds.
    DeadClusterForgotten = "dead-cluster-forgotten",
    /// A service that prefers local backends gets remote ones, and the other way round.
    AffinityInverted = "affinity-inverted",
    /// A service whose preferred side is empty gets no backends from the other side.
    AffinityFallbackMissing = "affinity-fallback-missing",
    /// Endpoints that are listed but not ready hold back the fall-back to the other side.
    AffinityIgnoresReadiness = "affinity-ignores-readiness" like "27096",
    /// A service port takes the backends of all ports of its protocol, whatever their names.
    PortNamesIgnored = "port-names-ignored",
    /// Of two service ports with one number, one TCP and one UDP, only the first is served.
    ProtocolConfused = "protocol-confused",
    /// UDP ports are not served.
    UdpIgnored = "udp-ignored",
    /// Remote services are merged by name, whatever their namespace.
    NamespaceIgnored = "namespace-ignored",
    /// `sessionAffinity: ClientIP` has no effect.
    SessionAffinityIgnored = "session-affinity-ignored",
    /// Annotations under their legacy names `io.cilium/…` have no effect.
    LegacyAnnotationIgnored = "legacy-annotation-ignored",
    /// The legacy name of an annotation wins when both are there.
    LegacyAnnotationWins = "legacy-annotation-wins",
    /// Services of a remote cluster are not waited for: a restarted agent prunes first and learns later.
    CanaryIgnored = "canary-ignored" like "23823",
    /// What a remote cluster deleted while it was not connected stays.
    RelistDoesNotPrune = "relist-does-not-prune" like "24740",
    /// The deletion of a remote service has no effect.
    RemoteDeletionIgnored = "remote-deletion-ignored" like "25675",
    /// After a new connection the watch goes on from where it was, and is stuck if that is compacted.
    WatchStuckAfterCompaction = "watch-stuck-after-compaction" like "22923",
    /// Removing a remote cluster's configuration file keeps its backends.
    ConfigRemovalIgnored = "config-removal-ignored" like "37333",
    /// A remote cluster's configuration file is read once and never again.
    ConfigChangeIgnored = "config-change-ignored",
    /// A cluster ID that another cluster has is accepted, our own too.
    DuplicateClusterIdAccepted = "duplicate-cluster-id-accepted" like "32753",
    /// The exporter's values carry the ID of another cluster, always.
    WrongClusterId = "wrong-cluster-id" like "36338",
    /// The exporter's cluster configuration carries the ID of another cluster, always.
    WrongConfigId = "wrong-config-id" like "20312",
    /// Endpoints that are not ready are exported.
    NotReadyExported = "not-ready-exported" like "40504",
    /// The exporter does not keep its lease of ten seconds alive, and does not notice that it is gone.
    LeaseNotKept = "lease-not-kept",
    /// The exporter's keys have no lease, always.
    LeaseNotUsed = "lease-not-used",
    /// After its etcd lost the keys the exporter does not write the services again.
    KeysNotRewritten = "keys-not-rewritten",
    /// The exporter deletes no key.
    ExporterNeverDeletes = "exporter-never-deletes",
    /// An exporter that finds services of an earlier life or connection exports no later change.
    ExporterMissesUpdatesAfterReconnect = "exporter-misses-updates-after-reconnect" like "19813",
    /// After the Kubernetes API said `410 Gone` the watch is never begun again.
    Api410Ignored = "api-410-ignored",
    /// Objects deleted while the Kubernetes API was away stay.
    ApiRelistDoesNotPrune = "api-relist-does-not-prune" like "26067",
    /// The reverse NAT entry has the address after the frontend's, always.
    RevNatWrong = "rev-nat-wrong",
    /// The master of a service with several backends counts one less than there are.
    SlotCountOffByOne = "slot-count-off-by-one",
    /// The master of a service that has shrunk counts one more than there are.
    SlotCountTooMany = "slot-count-too-many",
    /// The master is written before its slots and backends.
    MasterWrittenFirst = "master-written-first",
    /// Slots beyond the count and their backends stay after a service has shrunk.
    StaleSlotLeft = "stale-slot-left" like "45441",
    /// Backends that no slot refers to any more stay.
    OrphanBackendLeft = "orphan-backend-left" like "45441",
    /// The wildcard entry of a cluster IP stays after its last service is gone.
    WildcardLeft = "wildcard-left",
    /// Terminating backends are chosen although there are active ones.
    TerminatingPreferred = "terminating-preferred" like "27096",
    /// Each change of a service first takes all its backends out.
    BackendsFlapping = "backends-flapping",
    /// An agent that starts removes the maps of the one before.
    RestartClearsMaps = "restart-clears-maps" like "23823",
    /// An agent that ends detaches its programs.
    RestartDetaches = "restart-detaches",
    /// Its programs are none that a verifier takes.
    ProgramRejected = "program-rejected",
}

#[cfg(feature = "planted-defects")]
mod names {
    use std::{error::Error, fmt, str::FromStr};

    use super::Defect;

    impl fmt::Display for Defect {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.pad(self.name())
        }
    }

    impl FromStr for Defect {
        type Err = UnknownDefect;

        fn from_str(name: &str) -> Result<Self, Self::Err> {
            let found = Self::ALL.iter().find(|defect| defect.name() == name);
            found.copied().ok_or_else(|| UnknownDefect(name.to_owned()))
        }
    }

    /// A name that is none of [`Defect::ALL`].
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct UnknownDefect(pub String);

    impl fmt::Display for UnknownDefect {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "unknown defect `{}`, `--list-defects` lists those that there are", self.0)
        }
    }

    impl Error for UnknownDefect {}
}

#[cfg(feature = "planted-defects")]
pub use names::UnknownDefect;

#[cfg(all(test, feature = "planted-defects"))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_defect_has_a_name_of_its_own_and_a_meaning() {
        let names: BTreeSet<&str> = Defect::ALL.iter().map(|defect| defect.name()).collect();
        assert_eq!(names.len(), Defect::ALL.len());
        for defect in Defect::ALL {
            assert_eq!(defect.name().parse(), Ok(*defect));
            let meaning = defect.meaning();
            assert!(
                meaning.ends_with('.') && !meaning.starts_with(' ') && !meaning.contains(['\n', '\t']),
                "{meaning}"
            );
            let kebab: String = format!("{defect:?}").chars().flat_map(kebab).collect();
            assert_eq!(kebab.trim_start_matches('-'), defect.name());
        }
        assert_eq!("typo".parse::<Defect>(), Err(UnknownDefect("typo".to_owned())));
        assert_eq!(Defect::DuplicateClusterIdAccepted.resembles(), Some("32753"));
    }

    /// `B` becomes `-b`, `4` of `410` only its first digit gets a hyphen.
    fn kebab(letter: char) -> Vec<char> {
        match letter {
            'A'..='Z' => vec!['-', letter.to_ascii_lowercase()],
            '4' => vec!['-', '4'],
            other => vec![other],
        }
    }
}
