//! Keys of the kvstore and the prefixes that readers watch.

use std::{fmt, num::ParseIntError, str::FromStr};

use mesh_types::{ClusterName, ClusterNameError, NumericIdentity, ServiceKey};

use crate::{IpPrefix, IpPrefixError};

/// Key whose value is refreshed every 60 seconds by a living cluster.
pub const HEARTBEAT: &str = "cilium/.heartbeat";

/// All cluster configurations; the rest of a key is the cluster name.
pub const CLUSTER_CONFIG_PREFIX: &str = "cilium/cluster-config/";

/// All synced canaries of all clusters. Use [`synced_prefix`] for those of one.
pub const SYNCED_PREFIX: &str = "cilium/synced/";

/// In which of the two trees a cluster's data lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layout {
    /// `cilium/state`: written by the cluster itself.
    State,
    /// `cilium/cache`: copied by KVStoreMesh; announced by the capability `cached`.
    Cache,
}

impl Layout {
    const ALL: [Self; 2] = [Self::State, Self::Cache];

    /// First part of all keys of the tree, without a slash at the end.
    pub fn base(self) -> &'static str {
        match self {
            Self::State => "cilium/state",
            Self::Cache => "cilium/cache",
        }
    }
}

/// A kind of object that a cluster exports, each with its own canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// Nodes and their addresses.
    Nodes,
    /// Global services with their backends.
    Services,
    /// Endpoint slices (Cilium 1.20 and later).
    EndpointSlices,
    /// Addresses and their identities.
    Ip,
    /// Identities and their labels.
    Identities,
    /// Service exports of the MCS API.
    ServiceExports,
}

impl Resource {
    /// All of them, in the order of their names in Cilium's documentation.
    pub const ALL: [Self; 6] =
        [Self::Nodes, Self::Services, Self::EndpointSlices, Self::Ip, Self::Identities, Self::ServiceExports];

    /// Path below [`Layout::base`], version included.
    pub fn path(self) -> &'static str {
        match self {
            Self::Nodes => "nodes/v1",
            Self::Services => "services/v1",
            Self::EndpointSlices => "endpointslices/v1",
            Self::Ip => "ip/v1",
            Self::Identities => "identities/v1",
            Self::ServiceExports => "serviceexports/v1",
        }
    }
}

/// Where the ip entries of the state layout lie: an "address space", of which Cilium has one.
const ADDRESS_SPACE: &str = "default";

/// What stands before the number of an identity. Its neighbours are for allocating numbers and not for readers.
const IDENTITY_ID: &str = "id";

/// Prefix of the keys of `resource` of `cluster`, ending in `/` so that `a` is not taken for `ab`.
///
/// Ip entries and identities of the state layout do not name their cluster: an etcd in that layout has one cluster's only.
pub fn prefix(resource: Resource, layout: Layout, cluster: &ClusterName) -> String {
    let base = format!("{}/{}", layout.base(), resource.path());
    match (resource, layout) {
        (Resource::Ip, Layout::State) => format!("{base}/{ADDRESS_SPACE}/"),
        (Resource::Identities, Layout::State) => format!("{base}/{IDENTITY_ID}/"),
        (Resource::Identities, Layout::Cache) => format!("{base}/{cluster}/{IDENTITY_ID}/"),
        _ => format!("{base}/{cluster}/"),
    }
}

/// Prefix of the synced canaries of `cluster`, ending in `/`.
pub fn synced_prefix(cluster: &ClusterName) -> String {
    format!("{SYNCED_PREFIX}{cluster}/")
}

/// Namespace and name of an EndpointSlice object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointSliceKey {
    /// Kubernetes namespace.
    pub namespace: String,
    /// The slice's own name, not its service's.
    pub name: String,
}

impl EndpointSliceKey {
    /// The key of slice `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for EndpointSliceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A key that this crate knows the meaning of. `Display` writes it, `FromStr` reads it; what was read is written to the
/// same text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// [`HEARTBEAT`]; value: the time of writing.
    Heartbeat,
    /// Configuration of a cluster; value: [`ClusterConfig`](crate::ClusterConfig).
    ClusterConfig(ClusterName),
    /// A node of a cluster; value: [`Node`](crate::Node).
    Node {
        /// Tree that it lies in.
        layout: Layout,
        /// Cluster that exports it.
        cluster: ClusterName,
        /// The node's name.
        name: String,
    },
    /// A service of a cluster; value: [`ClusterService`](crate::ClusterService).
    Service {
        /// Tree that it lies in.
        layout: Layout,
        /// Cluster that exports it.
        cluster: ClusterName,
        /// Namespace and name.
        key: ServiceKey,
    },
    /// Endpoints of a service of a cluster; value: [`EndpointSlice`](crate::EndpointSlice).
    EndpointSlice {
        /// Tree that it lies in.
        layout: Layout,
        /// Cluster that exports it.
        cluster: ClusterName,
        /// Namespace and name of the slice.
        key: EndpointSliceKey,
    },
    /// An address or CIDR and its identity; value: [`IpEntry`](crate::IpEntry).
    Ip {
        /// Cluster that exports it. `None` in the state layout, where the key does not say.
        cluster: Option<ClusterName>,
        /// What it is about.
        prefix: IpPrefix,
    },
    /// An identity; value: [`IdentityLabels`](crate::IdentityLabels).
    Identity {
        /// Cluster that exports it. `None` in the state layout, where the key does not say.
        cluster: Option<ClusterName>,
        /// Its number.
        identity: NumericIdentity,
    },
    /// A service that a cluster exports by the MCS API. Its value is not read here.
    ServiceExport {
        /// Tree that it lies in.
        layout: Layout,
        /// Cluster that exports it.
        cluster: ClusterName,
        /// Namespace and name of service and export.
        key: ServiceKey,
    },
    /// Canary: everything of that kind was written once; value: the time of writing.
    Synced {
        /// Cluster that exports it.
        cluster: ClusterName,
        /// Tree that was filled.
        layout: Layout,
        /// Kind of object.
        resource: Resource,
    },
}

impl Key {
    /// Key of node `name` of `cluster`.
    pub fn node(layout: Layout, cluster: &ClusterName, name: impl Into<String>) -> Self {
        Self::Node { layout, cluster: cluster.clone(), name: name.into() }
    }

    /// Key of service `key` of `cluster`.
    pub fn service(layout: Layout, cluster: &ClusterName, key: &ServiceKey) -> Self {
        Self::Service { layout, cluster: cluster.clone(), key: key.clone() }
    }

    /// Key of endpoint slice `key` of `cluster`.
    pub fn endpoint_slice(layout: Layout, cluster: &ClusterName, key: &EndpointSliceKey) -> Self {
        Self::EndpointSlice { layout, cluster: cluster.clone(), key: key.clone() }
    }

    /// Key of the ip entry of `prefix` of `cluster`.
    pub fn ip(layout: Layout, cluster: &ClusterName, prefix: IpPrefix) -> Self {
        Self::Ip { cluster: named(layout, cluster), prefix }
    }

    /// Key of `identity` of `cluster`.
    pub fn identity(layout: Layout, cluster: &ClusterName, identity: NumericIdentity) -> Self {
        Self::Identity { cluster: named(layout, cluster), identity }
    }

    /// Key of the export of service `key` of `cluster`.
    pub fn service_export(layout: Layout, cluster: &ClusterName, key: &ServiceKey) -> Self {
        Self::ServiceExport { layout, cluster: cluster.clone(), key: key.clone() }
    }

    /// Key of the canary of `resource` of `cluster`.
    pub fn synced(layout: Layout, cluster: &ClusterName, resource: Resource) -> Self {
        Self::Synced { cluster: cluster.clone(), layout, resource }
    }
}

/// The cluster, in the layout where keys of ip entries and identities name it.
fn named(layout: Layout, cluster: &ClusterName) -> Option<ClusterName> {
    match layout {
        Layout::State => None,
        Layout::Cache => Some(cluster.clone()),
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heartbeat => f.write_str(HEARTBEAT),
            Self::ClusterConfig(cluster) => write!(f, "{CLUSTER_CONFIG_PREFIX}{cluster}"),
            Self::Node { layout, cluster, name } => {
                write!(f, "{}{name}", prefix(Resource::Nodes, *layout, cluster))
            }
            Self::Service { layout, cluster, key } => {
                write!(f, "{}{key}", prefix(Resource::Services, *layout, cluster))
            }
            Self::EndpointSlice { layout, cluster, key } => {
                write!(f, "{}{key}", prefix(Resource::EndpointSlices, *layout, cluster))
            }
            Self::Ip { cluster, prefix } => write_unnamed(f, Resource::Ip, cluster.as_ref(), prefix),
            Self::Identity { cluster, identity } => write_unnamed(f, Resource::Identities, cluster.as_ref(), identity),
            Self::ServiceExport { layout, cluster, key } => {
                write!(f, "{}{key}", prefix(Resource::ServiceExports, *layout, cluster))
            }
            Self::Synced { cluster, layout, resource } => {
                write!(f, "{SYNCED_PREFIX}{cluster}/{}/{}", layout.base(), resource.path())
            }
        }
    }
}

/// Writes a key of a kind that names its cluster in the cache layout only.
fn write_unnamed(
    f: &mut fmt::Formatter<'_>,
    resource: Resource,
    cluster: Option<&ClusterName>,
    tail: &dyn fmt::Display,
) -> fmt::Result {
    match (resource, cluster) {
        (_, Some(cluster)) => write!(f, "{}{tail}", prefix(resource, Layout::Cache, cluster)),
        (Resource::Ip, None) => write!(f, "{}/{}/{ADDRESS_SPACE}/{tail}", Layout::State.base(), resource.path()),
        (_, None) => write!(f, "{}/{}/{IDENTITY_ID}/{tail}", Layout::State.base(), resource.path()),
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let canonical = |key: Key| if key.to_string() == text { Ok(key) } else { Err(KeyErrorKind::NotCanonical) };
        parse(text).and_then(canonical).map_err(|kind| KeyError { key: text.to_owned(), kind })
    }
}

fn parse(text: &str) -> Result<Key, KeyErrorKind> {
    if text == HEARTBEAT {
        return Ok(Key::Heartbeat);
    }
    if let Some(name) = text.strip_prefix(CLUSTER_CONFIG_PREFIX) {
        return Ok(Key::ClusterConfig(cluster_name(name)?));
    }
    if let Some(rest) = text.strip_prefix(SYNCED_PREFIX) {
        let (cluster, path) = rest.split_once('/').ok_or(KeyErrorKind::Unknown)?;
        let (layout, resource) = layout_and_resource(path).ok_or(KeyErrorKind::Resource)?;
        return Ok(Key::Synced { cluster: cluster_name(cluster)?, layout, resource });
    }
    let below = |layout: Layout, resource: Resource| {
        let below_base = text.strip_prefix(layout.base())?.strip_prefix('/')?;
        below_base.strip_prefix(resource.path())?.strip_prefix('/')
    };
    for layout in Layout::ALL {
        for resource in Resource::ALL {
            if let Some(rest) = below(layout, resource) {
                return exported(layout, resource, rest);
            }
        }
    }
    Err(KeyErrorKind::Unknown)
}

/// Reads what stands below `layout` and `resource`.
fn exported(layout: Layout, resource: Resource, rest: &str) -> Result<Key, KeyErrorKind> {
    match resource {
        Resource::Nodes => node(layout, rest),
        Resource::Services => {
            let (cluster, namespace, name) = namespaced(rest)?;
            Ok(Key::Service { layout, cluster, key: ServiceKey::new(namespace, name) })
        }
        Resource::EndpointSlices => {
            let (cluster, namespace, name) = namespaced(rest)?;
            Ok(Key::EndpointSlice { layout, cluster, key: EndpointSliceKey::new(namespace, name) })
        }
        Resource::Ip => ip(layout, rest),
        Resource::Identities => identity(layout, rest),
        Resource::ServiceExports => {
            let (cluster, namespace, name) = namespaced(rest)?;
            Ok(Key::ServiceExport { layout, cluster, key: ServiceKey::new(namespace, name) })
        }
    }
}

fn node(layout: Layout, rest: &str) -> Result<Key, KeyErrorKind> {
    match rest.split_once('/') {
        Some((cluster, name)) if !name.is_empty() && !name.contains('/') => {
            Ok(Key::Node { layout, cluster: cluster_name(cluster)?, name: name.to_owned() })
        }
        _ => Err(KeyErrorKind::NodeParts),
    }
}

fn ip(layout: Layout, rest: &str) -> Result<Key, KeyErrorKind> {
    let (place, prefix) = rest.split_once('/').ok_or(KeyErrorKind::IpParts)?;
    let cluster = match layout {
        Layout::State if place == ADDRESS_SPACE => None,
        Layout::State => return Err(KeyErrorKind::AddressSpace),
        Layout::Cache => Some(cluster_name(place)?),
    };
    Ok(Key::Ip { cluster, prefix: prefix.parse().map_err(KeyErrorKind::Ip)? })
}

fn identity(layout: Layout, rest: &str) -> Result<Key, KeyErrorKind> {
    let (cluster, rest) = match layout {
        Layout::State => (None, rest),
        Layout::Cache => {
            let (cluster, rest) = rest.split_once('/').ok_or(KeyErrorKind::IdentityParts)?;
            (Some(cluster_name(cluster)?), rest)
        }
    };
    let number = rest.strip_prefix(IDENTITY_ID).and_then(|rest| rest.strip_prefix('/'));
    let identity = number.ok_or(KeyErrorKind::IdentityParts)?.parse().map_err(KeyErrorKind::Identity)?;
    Ok(Key::Identity { cluster, identity })
}

/// Cluster, namespace and name.
fn namespaced(rest: &str) -> Result<(ClusterName, &str, &str), KeyErrorKind> {
    let mut parts = rest.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(cluster), Some(namespace), Some(name), None) if !namespace.is_empty() && !name.is_empty() => {
            Ok((cluster_name(cluster)?, namespace, name))
        }
        _ => Err(KeyErrorKind::NamespacedParts),
    }
}

fn layout_and_resource(path: &str) -> Option<(Layout, Resource)> {
    Layout::ALL.into_iter().find_map(|layout| {
        let rest = path.strip_prefix(layout.base())?.strip_prefix('/')?;
        let resource = Resource::ALL.into_iter().find(|resource| resource.path() == rest)?;
        Some((layout, resource))
    })
}

fn cluster_name(name: &str) -> Result<ClusterName, KeyErrorKind> {
    ClusterName::new(name).map_err(KeyErrorKind::Cluster)
}

/// A key that this crate cannot make sense of. Readers skip it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unexpected kvstore key `{key}`")]
pub struct KeyError {
    /// The key as found.
    pub key: String,
    /// What is wrong with it.
    #[source]
    pub kind: KeyErrorKind,
}

/// What is wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyErrorKind {
    /// Under none of the prefixes that this crate reads.
    #[error("no known prefix")]
    Unknown,
    /// The part that should be a cluster name is none.
    #[error("bad cluster name in the key")]
    Cluster(#[source] ClusterNameError),
    /// A canary of something that this version does not know.
    #[error("unknown kind of object")]
    Resource,
    /// Not exactly cluster, namespace and name after the prefix of services, endpoint slices or service exports.
    #[error("expected `<cluster>/<namespace>/<name>` after the prefix")]
    NamespacedParts,
    /// Not exactly cluster and name after the prefix of nodes.
    #[error("expected `<cluster>/<node>` after the prefix")]
    NodeParts,
    /// No second part after the prefix of ip entries.
    #[error("expected `{}/<ip>` or `<cluster>/<ip>` after the prefix", ADDRESS_SPACE)]
    IpParts,
    /// An address space that Cilium does not have.
    #[error("unknown address space, expected `{}`", ADDRESS_SPACE)]
    AddressSpace,
    /// What should be an address or a CIDR is neither.
    #[error("bad address in the key")]
    Ip(#[source] IpPrefixError),
    /// Not the key of an identity by its number: those of the allocator lie beside them.
    #[error("expected `{0}/<number>` or `<cluster>/{0}/<number>` after the prefix", IDENTITY_ID)]
    IdentityParts,
    /// What should be the number of an identity is none.
    #[error("bad identity in the key")]
    Identity(#[source] ParseIntError),
    /// An address or number that Cilium would write otherwise; two keys of one object must not be.
    #[error("address or number not in canonical form")]
    NotCanonical,
}

#[cfg(test)]
mod tests;
