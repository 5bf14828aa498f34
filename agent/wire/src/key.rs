//! Keys of the kvstore and the prefixes that readers watch.

use std::{fmt, str::FromStr};

use mesh_types::{ClusterName, ClusterNameError, ServiceKey};

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

/// Prefix of the services of `cluster`, ending in `/` so that `a` is not taken for `ab`.
pub fn services_prefix(layout: Layout, cluster: &ClusterName) -> String {
    format!("{}/{}/{cluster}/", layout.base(), Resource::Services.path())
}

/// Prefix of the synced canaries of `cluster`, ending in `/`.
pub fn synced_prefix(cluster: &ClusterName) -> String {
    format!("{SYNCED_PREFIX}{cluster}/")
}

/// A key that this crate knows the meaning of. `Display` writes it, `FromStr` reads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// [`HEARTBEAT`]; value: the time of writing.
    Heartbeat,
    /// Configuration of a cluster; value: [`ClusterConfig`](crate::ClusterConfig).
    ClusterConfig(ClusterName),
    /// A service of a cluster; value: [`ClusterService`](crate::ClusterService).
    Service {
        /// Tree that it lies in.
        layout: Layout,
        /// Cluster that exports it.
        cluster: ClusterName,
        /// Namespace and name.
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
    /// Key of service `key` of `cluster`.
    pub fn service(layout: Layout, cluster: &ClusterName, key: &ServiceKey) -> Self {
        Self::Service { layout, cluster: cluster.clone(), key: key.clone() }
    }

    /// Key of the canary of `resource` of `cluster`.
    pub fn synced(layout: Layout, cluster: &ClusterName, resource: Resource) -> Self {
        Self::Synced { cluster: cluster.clone(), layout, resource }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heartbeat => f.write_str(HEARTBEAT),
            Self::ClusterConfig(cluster) => write!(f, "{CLUSTER_CONFIG_PREFIX}{cluster}"),
            Self::Service { layout, cluster, key } => {
                write!(f, "{}/{}/{cluster}/{key}", layout.base(), Resource::Services.path())
            }
            Self::Synced { cluster, layout, resource } => {
                write!(f, "{SYNCED_PREFIX}{cluster}/{}/{}", layout.base(), resource.path())
            }
        }
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|kind| KeyError { key: text.to_owned(), kind })
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
    for layout in Layout::ALL {
        let below_base = text.strip_prefix(layout.base()).and_then(|rest| rest.strip_prefix('/'));
        let below_path = below_base.and_then(|rest| rest.strip_prefix(Resource::Services.path()));
        if let Some(rest) = below_path.and_then(|rest| rest.strip_prefix('/')) {
            return service(layout, rest);
        }
    }
    Err(KeyErrorKind::Unknown)
}

fn service(layout: Layout, rest: &str) -> Result<Key, KeyErrorKind> {
    let mut parts = rest.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(cluster), Some(namespace), Some(name), None) if !namespace.is_empty() && !name.is_empty() => {
            Ok(Key::Service { layout, cluster: cluster_name(cluster)?, key: ServiceKey::new(namespace, name) })
        }
        _ => Err(KeyErrorKind::ServiceParts),
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
    /// Not exactly cluster, namespace and name after the prefix.
    #[error("expected `<cluster>/<namespace>/<name>` after the prefix")]
    ServiceParts,
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    fn alpha() -> ClusterName {
        ClusterName::new("alpha").unwrap()
    }

    #[test_case("cilium/.heartbeat", Key::Heartbeat ; "heartbeat")]
    #[test_case("cilium/cluster-config/alpha", Key::ClusterConfig(alpha()) ; "cluster config")]
    #[test_case("cilium/state/services/v1/alpha/default/web", Key::service(Layout::State, &alpha(), &ServiceKey::new("default", "web")) ; "state service")]
    #[test_case("cilium/cache/services/v1/alpha/default/web", Key::service(Layout::Cache, &alpha(), &ServiceKey::new("default", "web")) ; "cached service")]
    #[test_case("cilium/synced/alpha/cilium/state/ip/v1", Key::synced(Layout::State, &alpha(), Resource::Ip) ; "state canary")]
    #[test_case("cilium/synced/alpha/cilium/cache/nodes/v1", Key::synced(Layout::Cache, &alpha(), Resource::Nodes) ; "cache canary")]
    fn reads_and_writes(text: &str, key: Key) {
        assert_eq!(text.parse(), Ok(key.clone()));
        assert_eq!(key.to_string(), text);
    }

    #[test_case("" => KeyErrorKind::Unknown ; "empty")]
    #[test_case("cilium/state/services/v10/alpha/default/web" => KeyErrorKind::Unknown ; "other version")]
    #[test_case("cilium/state/nodes/v1/alpha/n" => KeyErrorKind::Unknown ; "kind without values here")]
    #[test_case("cilium/synced/alpha" => KeyErrorKind::Unknown ; "canary without path")]
    #[test_case("cilium/synced/alpha/cilium/state/dragons/v1" => KeyErrorKind::Resource ; "canary of the future")]
    #[test_case("cilium/state/services/v1/alpha/default" => KeyErrorKind::ServiceParts ; "no name")]
    #[test_case("cilium/state/services/v1/alpha/default/a/b" => KeyErrorKind::ServiceParts ; "too many parts")]
    #[test_case("cilium/state/services/v1/alpha//b" => KeyErrorKind::ServiceParts ; "empty namespace")]
    #[test_case("cilium/cluster-config/" => KeyErrorKind::Cluster(ClusterNameError::Empty) ; "empty cluster")]
    fn refuses(text: &str) -> KeyErrorKind {
        text.parse::<Key>().unwrap_err().kind
    }

    #[test]
    fn prefixes_end_in_a_slash() {
        assert_eq!(services_prefix(Layout::State, &alpha()), "cilium/state/services/v1/alpha/");
        assert_eq!(services_prefix(Layout::Cache, &alpha()), "cilium/cache/services/v1/alpha/");
        assert_eq!(synced_prefix(&alpha()), "cilium/synced/alpha/");
    }
}
