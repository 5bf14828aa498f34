//! Role revoked: agents of other clusters may no longer read a part of what they need from a cluster's etcd, as when its
//! role was made by hand and lacks a prefix (cilium/cilium issue 43625).
//!
//! Effect: etcd looks at rights when a watch begins, so this fault restarts it, and nobody lives on an old watch; from then on
//! agents hear `permission denied`. They must keep what they know. Witness: a read with their certificate is refused, and
//! with the words that say why. Heal: the right is given back, and the same read works.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_driver::{CertificateName, Control, EtcdRole, KeyRange};
use meshbed_etcd::{Etcd, EtcdError};
use meshbed_scenario::{ClusterName, Clusters, record, words};

use super::{Fault, FaultError, Injected, Injection, cuts};
use crate::{stage::chain, world::Strike};

words! {
    /// What agents of other clusters may not read any more.
    pub enum Lost {
        /// `cilium/state/`: services, nodes, addresses, identities.
        State = "state",
        /// `cilium/synced/<cluster>/`: what says that a part of the state is complete.
        Synced = "synced",
        /// `cilium/cluster-config/<cluster>`: the cluster's ID and what it can do.
        ClusterConfig = "cluster-config",
        /// `cilium/.heartbeat`: what says that the cluster is alive.
        Heartbeat = "heartbeat",
    }
}

impl Lost {
    /// The range, which is exactly one of those that the role has.
    fn range(self, cluster: &ClusterName) -> KeyRange {
        match self {
            Self::State => KeyRange::prefix("cilium/state/"),
            Self::Synced => KeyRange::Prefix(format!("cilium/synced/{cluster}/")),
            Self::ClusterConfig => KeyRange::Key(format!("cilium/cluster-config/{cluster}")),
            Self::Heartbeat => KeyRange::prefix("cilium/.heartbeat"),
        }
    }
}

record! {
    /// Agents of other clusters may not read a part of a cluster's etcd any more. etcd is restarted, so that nobody lives on an
    /// old watch.
    pub struct RoleRevoked {
        /// Whose etcd.
        pub clusters: Clusters,
        /// Which part; the state when it is not given.
        pub lost: Option<Lost>,
    }
}

impl RoleRevoked {
    fn lost(&self) -> Lost {
        self.lost.unwrap_or(Lost::State)
    }
}

impl fmt::Display for RoleRevoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "others may not read the {} of {}", self.lost(), self.clusters)
    }
}

impl Fault for RoleRevoked {
    fn kind(&self) -> &'static str {
        "role-revoked"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let mut injected = Vec::new();
            for cluster in &self.clusters {
                let range = self.lost().range(cluster);
                let strike = Strike::at(format!("role remote in the etcd of {cluster}"));
                let id = injection.strike(cuts::others_blind(injection, strike, cluster).hits(cluster));
                let etcd = injection.etcd(cluster).await?;
                let failed = FaultError::failed(format!("revoke a right in the etcd of {cluster}"));
                etcd.revoke_reading(EtcdRole::Remote, &range).await.map_err(failed)?;
                let control = injection.control.clone();
                let witness = witness(&control, cluster, &range).await;
                let healing = heal(control, cluster.clone(), range);
                match witness {
                    Ok(witness) => injection.witnessed(id, witness),
                    Err(error) => {
                        healing.await?;
                        return Err(error);
                    }
                }
                injected.push(Injected { id, healing: healing.boxed() });
            }
            Ok(injected)
        }
        .boxed()
    }
}

/// After etcd's restart nobody has an old watch, and a read is refused for the right reason.
async fn witness(control: &Control, cluster: &ClusterName, range: &KeyRange) -> Result<String, FaultError> {
    let failed = FaultError::failed(format!("restart the etcd of {cluster}"));
    control.restart(&format!("etcd-{cluster}")).await.map_err(failed)?;
    let instead = match read(control, cluster, range).await? {
        Err(error) if error.is_permission_denied() => return Ok(chain(&error)),
        Err(error) => chain(&error),
        Ok(()) => "agents of others still may".to_owned(),
    };
    Err(FaultError::NoWitness { what: format!("reading `{range}` in {cluster} was not refused: {instead}") })
}

async fn heal(control: Control, cluster: ClusterName, range: KeyRange) -> Result<String, FaultError> {
    let failed = || FaultError::failed(format!("give a right back in the etcd of {cluster}"));
    let state = control.state();
    let found = state.cluster(cluster.as_str());
    let found = found.ok_or_else(|| FaultError::NoTarget { what: format!("no cluster `{cluster}`") })?;
    let etcd = Etcd::connect(found).await.map_err(failed())?;
    etcd.grant_reading(EtcdRole::Remote, &range).await.map_err(failed())?;
    read(&control, &cluster, &range).await?.map_err(failed())?;
    Ok(format!("agents of other clusters may read `{range}` in {cluster}"))
}

/// Reads as agents of other clusters do, on a connection of its own.
async fn read(control: &Control, cluster: &ClusterName, range: &KeyRange) -> Result<Result<(), EtcdError>, FaultError> {
    let state = control.state();
    let found = state.cluster(cluster.as_str());
    let found = found.ok_or_else(|| FaultError::NoTarget { what: format!("no cluster `{cluster}`") })?;
    let Some(certificate) = CertificateName::Remote.file_names(found).into_iter().next() else {
        return Err(FaultError::NoTarget { what: format!("no other cluster reads the etcd of `{cluster}`") });
    };
    let failed = FaultError::failed(format!("connect to the etcd of {cluster}"));
    let etcd = Etcd::connect_as(found, &certificate).await.map_err(failed)?;
    Ok(match range {
        KeyRange::Key(key) => etcd.get(key).await.map(drop),
        KeyRange::Prefix(prefix) => etcd.list(prefix).await.map(drop),
    })
}
