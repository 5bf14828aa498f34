//! What a fault cuts, in the words of the oracle: knowledge, paths, maps.

use mesh_types::ClusterName;
use meshbed_events::Micros;

/// Number of a cut within its oracle, for [`crate::Oracle::mend`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CutId(pub(crate) usize);

/// Something that a fault takes away, from the time at which it is told until it is mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The observers may have no news of the cluster `about`: they know some version of each of its objects, out of all
    /// versions from just before the cut up to now.
    Knowledge {
        /// Who has no news.
        observers: Observers,
        /// Of whom. The cluster of the observers itself, when they have lost their own Kubernetes API.
        about: ClusterName,
        /// What becomes of what was known.
        fate: Fate,
    },
    /// Packets may not arrive between the two places. A request needs both directions, so the order of the places
    /// does not matter: requests of clients at either that may have been sent to a backend at the other may fail
    /// in any way.
    Path {
        /// One end.
        from: Place,
        /// The other.
        to: Place,
    },
    /// Packets between the two places are late or lost at random: requests may time out or be reset. Answers are judged
    /// as ever.
    Slow {
        /// One end.
        from: Place,
        /// The other.
        to: Place,
    },
    /// The node's maps were changed by us, or are gone: nothing can be said about them, and its clients are excused.
    NodeMaps {
        /// Cluster of the node.
        cluster: ClusterName,
        /// Its name.
        node: String,
    },
}

/// Who has no news of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observers {
    /// The agent of one node.
    Node(ClusterName, String),
    /// The agents of all nodes of a cluster.
    ClusterNodes(ClusterName),
    /// The agents of all nodes that are not of the cluster that it is about.
    OtherClusters,
    /// The etcd of the cluster that it is about, because nobody writes to it: [`crate::Oracle::kvstore`].
    Kvstore,
    /// Everyone: the agents of all nodes, and the cluster's etcd.
    All,
}

/// What becomes of what the observers of a [`Cut::Knowledge`] knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Kept,
    /// It may also be gone altogether, all services of the cluster at once or each at its own time.
    MayVanish {
        /// From when on: a lease expires, a configuration is removed.
        from: Micros,
    },
    /// It goes, and must be gone at a known time.
    MustVanish {
        /// From when on it may be gone.
        from: Micros,
        /// From when on it must be gone.
        by: Micros,
    },
}

/// Where clients and backends are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Everywhere in the mesh.
    Anywhere,
    /// All nodes of a cluster.
    Cluster(ClusterName),
    /// One node.
    Node(ClusterName, String),
}

impl Place {
    /// Whether something on `node` of `cluster` is here. An unknown node may be any node of its cluster.
    pub(crate) fn covers(&self, cluster: &ClusterName, node: Option<&str>) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Cluster(here) => here == cluster,
            Self::Node(here, name) => here == cluster && node.is_none_or(|node| node == name),
        }
    }
}

impl Fate {
    /// From when on the knowledge may be gone, if ever.
    pub(crate) fn may_be_gone_from(self) -> Option<Micros> {
        match self {
            Self::Kept => None,
            Self::MayVanish { from } | Self::MustVanish { from, .. } => Some(from),
        }
    }

    /// From when on the knowledge must be gone, if ever.
    pub(crate) fn gone_from(self) -> Option<Micros> {
        match self {
            Self::Kept | Self::MayVanish { .. } => None,
            Self::MustVanish { by, .. } => Some(by),
        }
    }
}
