//! Who may do what in the etcd of a cluster: users, roles and ranges of keys, as Cilium's clustermesh-apiserver sets them
//! up (`etcdinit`). A user is the common name of a client certificate; nobody has a password. Pure.

use std::fmt;

use mesh_types::ClusterName;
use meshbed_scenario::{AuthMode, Cluster, Topology};

use crate::state::ClusterState;

/// The harness itself. etcd wants a user of this name before it checks anybody.
pub(crate) const ROOT: &str = "root";
/// Agents of all other clusters in the modes `legacy` and `migration`.
const REMOTE: &str = "remote";

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtcdRole {
    /// Everything. etcd has this role by itself.
    Root,
    /// What agents of the same cluster may do: read the copies of remote clusters.
    Local,
    /// What agents of other clusters may do: read what this cluster tells of itself.
    Remote,
}

impl EtcdRole {
    /// Those that etcd does not have by itself.
    pub(crate) const MADE: [Self; 2] = [Self::Local, Self::Remote];

    /// What etcd calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => ROOT,
            Self::Local => "local",
            Self::Remote => REMOTE,
        }
    }

    /// What it may read in the etcd of `cluster`, without what etcd itself gives to the role `root`. Nobody else may write.
    pub fn reads(self, cluster: &ClusterName) -> Vec<KeyRange> {
        let heartbeat = KeyRange::prefix("cilium/.heartbeat");
        match self {
            Self::Root => Vec::new(),
            Self::Local => {
                let prefixes = ["cilium/cache/", "cilium/cluster-config/", "cilium/synced/"].map(KeyRange::prefix);
                [heartbeat].into_iter().chain(prefixes).collect()
            }
            Self::Remote => vec![
                heartbeat,
                KeyRange::prefix("cilium/state/"),
                KeyRange::Key(format!("cilium/cluster-config/{cluster}")),
                KeyRange::Prefix(format!("cilium/synced/{cluster}/")),
            ],
        }
    }
}

/// Keys that a permission is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRange {
    /// This one.
    Key(String),
    /// All that begin like this.
    Prefix(String),
}

impl KeyRange {
    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: &str) -> Self {
        Self::Prefix(prefix.to_owned())
    }

    /// Where it begins.
    pub fn start(&self) -> &str {
        let (Self::Key(start) | Self::Prefix(start)) = self;
        start
    }
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.pad(key),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// The user of the exporter, which writes everything.
pub(crate) fn admin(cluster: &ClusterName) -> String {
    format!("admin-{cluster}")
}

/// The user of agents of the same cluster.
pub(crate) fn local(cluster: &ClusterName) -> String {
    format!("local-{cluster}")
}

/// The user of agents of `reader` in the mode `cluster`.
pub(crate) fn remote(reader: &ClusterName) -> String {
    format!("{REMOTE}-{reader}")
}

/// Users of the etcd of `cluster` with the role `remote`.
pub(crate) fn remote_users(topology: &Topology, cluster: &Cluster) -> Vec<String> {
    let others = topology.clusters().iter().map(Cluster::name).filter(|other| *other != cluster.name());
    let each = others.map(remote);
    let all = std::iter::once(REMOTE.to_owned());
    match topology.tls().auth_mode {
        AuthMode::Legacy => all.collect(),
        AuthMode::Migration => all.chain(each).collect(),
        AuthMode::Cluster => each.collect(),
    }
}

/// Those of [`remote_users`] that have a certificate, because agents of other clusters use them.
pub(crate) fn remote_certificates(topology: &Topology, cluster: &Cluster) -> Vec<String> {
    let mut users = remote_users(topology, cluster);
    // On the way to `cluster` everybody still comes as before, as with Cilium.
    if topology.tls().auth_mode == AuthMode::Migration {
        users.truncate(1);
    }
    users
}

/// All users of the etcd of `cluster`.
pub(crate) fn users(cluster: &ClusterState) -> Vec<(String, EtcdRole)> {
    let mut users = vec![
        (ROOT.to_owned(), EtcdRole::Root),
        (admin(&cluster.name), EtcdRole::Root),
        (local(&cluster.name), EtcdRole::Local),
    ];
    users.extend(cluster.remote_users.iter().map(|user| (user.clone(), EtcdRole::Remote)));
    users
}

#[cfg(test)]
mod tests {
    use meshbed_scenario::Topology;
    use test_case::test_case;

    use super::{EtcdRole, users};
    use crate::testing;

    #[test_case("legacy", &["remote"], &["remote"], "remote")]
    #[test_case("migration", &["remote", "remote-beta"], &["remote"], "remote")]
    #[test_case("cluster", &["remote-beta"], &["remote-beta"], "remote-beta")]
    fn users_of_others(mode: &str, known: &[&str], certificates: &[&str], beta: &str) {
        let text = format!("{}tls: {{authMode: {mode}}}\n", testing::two_clusters().text());
        let topology = Topology::parse(&text, "two-clusters.yaml").unwrap();
        let state = testing::planned_for(&topology, &testing::options("k3f9x2".parse().unwrap()));
        let [alpha, reader] = &state.clusters[..] else { panic!("two clusters") };
        assert_eq!(alpha.remote_users, known);
        assert_eq!(alpha.remote_certificates, certificates);
        assert_eq!(alpha.remote_certificate(&reader.name), beta);
        let names: Vec<String> =
            users(alpha).into_iter().map(|(name, role)| format!("{name}:{}", role.name())).collect();
        assert_eq!(names[..3], ["root:root", "admin-alpha:root", "local-alpha:local"]);
        assert_eq!(names[3..], known.iter().map(|user| format!("{user}:remote")).collect::<Vec<_>>());
    }

    #[test]
    fn what_roles_may_read() {
        let alpha = "alpha".parse().unwrap();
        let reads = |role: EtcdRole| role.reads(&alpha).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(reads(EtcdRole::Root).is_empty());
        assert_eq!(
            reads(EtcdRole::Local),
            ["cilium/.heartbeat*", "cilium/cache/*", "cilium/cluster-config/*", "cilium/synced/*"]
        );
        assert_eq!(
            reads(EtcdRole::Remote),
            ["cilium/.heartbeat*", "cilium/state/*", "cilium/cluster-config/alpha", "cilium/synced/alpha/*"]
        );
    }
}
