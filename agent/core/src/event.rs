//! What the agent sees and what it wants done.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use mesh_types::{ClusterId, ClusterName, Frontend, FrontendAddress, ServiceKey};
use mesh_wire::{ClusterService, EndpointSlicesExportMode};

use crate::{LocalService, LocalSlice, RemoteSlice};

/// Something that was seen. Objects come whole: the newest value, or `None` once they are gone.
///
/// Repeated values do nothing, so a producer may send everything again after a relist; what vanished during
/// a broken watch must then be sent as `None`.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A Service of the local cluster.
    Service {
        /// Namespace and name.
        key: ServiceKey,
        /// `None`: deleted.
        service: Option<LocalService>,
    },
    /// An EndpointSlice of the local cluster.
    Slice {
        /// Namespace.
        namespace: String,
        /// Name of the slice.
        name: String,
        /// `None`: deleted.
        slice: Option<LocalSlice>,
    },
    /// A Namespace of the local cluster.
    Namespace {
        /// Name.
        name: String,
        /// Its annotations; `None`: deleted.
        annotations: Option<BTreeMap<String, String>>,
    },
    /// The zone that the node is in (its label `topology.kubernetes.io/zone`), once it is known or when it changes.
    NodeZone {
        /// `None`: in no zone.
        zone: Option<String>,
    },
    /// The labels of the node, once they are known or when they change. Until then no service is kept away from it.
    NodeLabels {
        /// All of them.
        labels: BTreeMap<String, String>,
    },
    /// The IPv4 addresses of the node that node ports are put on, once they are known or when they change.
    NodeAddresses {
        /// Besides the surrogate 0.0.0.0.
        addresses: Vec<Ipv4Addr>,
    },
    /// The first list of services and of slices is complete, and of namespaces and the own node where they are watched.
    ///
    /// Every remote cluster whose configuration file was there at the start must be added before this.
    LocalSynced,
    /// A configuration file of a remote cluster was seen.
    ///
    /// For a cluster that is there already: its file changed and its reader starts over from nothing. What it has
    /// not reported again by [`Self::RemoteSynced`] is then dropped.
    RemoteAdded {
        /// Name of the file.
        cluster: ClusterName,
    },
    /// In which formats a remote cluster says that it writes its services (the capability `endpointSlicesExportMode`).
    /// Until then services v1 are assumed, as if its configuration did not tell.
    RemoteExports {
        /// The remote cluster.
        cluster: ClusterName,
        /// What it says.
        exports: EndpointSlicesExportMode,
    },
    /// A service of a remote cluster. Ignored for clusters that were not added, or removed since.
    RemoteService {
        /// The remote cluster.
        cluster: ClusterName,
        /// ID in its cluster configuration. Another ID than before drops all that was known of the cluster.
        cluster_id: ClusterId,
        /// Namespace and name.
        key: ServiceKey,
        /// `None`: deleted.
        service: Option<ClusterService>,
    },
    /// An endpoint slice of a remote cluster. The same rules as for its services.
    RemoteSlice {
        /// The remote cluster.
        cluster: ClusterName,
        /// ID in its cluster configuration.
        cluster_id: ClusterId,
        /// Namespace.
        namespace: String,
        /// Name of the slice.
        name: String,
        /// `None`: deleted.
        slice: Option<RemoteSlice>,
    },
    /// The lists of everything that is read of a remote cluster are complete.
    RemoteSynced {
        /// The remote cluster.
        cluster: ClusterName,
    },
    /// The configuration file of a remote cluster is gone: drop everything of it.
    ///
    /// Not for a connection that broke: what a cluster said last stays in force until it says otherwise.
    RemoteRemoved {
        /// The remote cluster.
        cluster: ClusterName,
    },
    /// Remote clusters had enough time to become synced: go on without those that are not.
    InitTimeout,
}

/// Something that the datapath should do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make the load balancer hold this frontend with exactly these backends.
    Upsert(Frontend),
    /// Take this frontend out.
    Delete(FrontendAddress),
    /// Take out every frontend that is not in this set. Comes once, after the first upserts.
    Prune(BTreeSet<FrontendAddress>),
}
