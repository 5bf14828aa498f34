//! Certificates rotated: certificates of a cluster's etcd and of its clients are replaced, with their keys, before they run
//! out; the authority stays.
//!
//! Effect: none. Nothing is restarted: etcd reads its own for each handshake, and clients have to read theirs when they
//! connect again. Witness: etcd shows the new serial number to a client that connects, and takes clients that show the new
//! ones. There is nothing to heal.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_driver::{CertificateName, Rotated};
use meshbed_etcd::Etcd;
use meshbed_scenario::{ClusterName, Clusters, record, words};

use super::{Fault, FaultError, Injected, Injection};
use crate::world::Strike;

/// How much of a serial number is told: the first four bytes.
const SHOWN: usize = 11;

words! {
    /// Whose certificates.
    pub enum Whose {
        /// That of etcd.
        Server = "server",
        /// Those of all its clients.
        Clients = "clients",
        /// Both.
        All = "all",
    }
}

impl Whose {
    fn names(self) -> Vec<CertificateName> {
        let (server, clients) = (CertificateName::EtcdServer, CertificateName::CLIENTS);
        match self {
            Self::Server => vec![server],
            Self::Clients => clients.to_vec(),
            Self::All => std::iter::once(server).chain(clients).collect(),
        }
    }
}

record! {
    /// Certificates of the etcds of clusters and of their clients are replaced, with their keys, and nothing is restarted.
    pub struct CertificateRotated {
        /// Whose etcd.
        pub clusters: Clusters,
        /// Whose certificates; all when it is not given.
        pub whose: Option<Whose>,
    }
}

impl CertificateRotated {
    fn whose(&self) -> Whose {
        self.whose.unwrap_or(Whose::All)
    }
}

impl fmt::Display for CertificateRotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.whose() {
            Whose::All => write!(f, "rotate all certificates of the etcd of {}", self.clusters),
            whose => write!(f, "rotate the certificates ({whose}) of the etcd of {}", self.clusters),
        }
    }
}

impl Fault for CertificateRotated {
    fn kind(&self) -> &'static str {
        "certificate-rotated"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let mut injected = Vec::new();
            for cluster in &self.clusters {
                let id = injection.strike(Strike::at(format!("certificates of {cluster}")).hits(cluster));
                let mut witnesses = Vec::new();
                for name in self.whose().names() {
                    let failed = FaultError::failed(format!("rotate the certificate {} of {cluster}", name.as_str()));
                    for rotated in injection.control.rotate(cluster.as_str(), name).await.map_err(failed)? {
                        witnesses.push(witness(injection, cluster, name, &rotated).await?);
                    }
                }
                injection.witnessed(id, witnesses.join("; "));
                injected.push(Injected { id, healing: async { Ok(String::new()) }.boxed() });
            }
            Ok(injected)
        }
        .boxed()
    }
}

/// A handshake with the new certificate: etcd shows it, or takes a client that does.
async fn witness(
    injection: &Injection,
    cluster: &ClusterName,
    name: CertificateName,
    rotated: &Rotated,
) -> Result<String, FaultError> {
    let Rotated { file_name, file, before, after } = rotated;
    if before == after {
        return Err(FaultError::NoWitness { what: format!("`{}` still has serial number {after}", file.display()) });
    }
    if name == CertificateName::EtcdServer {
        let failed = FaultError::failed(format!("look at the certificate of the etcd of {cluster}"));
        let shown = injection.control.presented_serial(cluster.as_str()).await.map_err(failed)?;
        if shown != *after {
            return Err(FaultError::NoWitness { what: format!("the etcd of {cluster} shows {shown}, not {after}") });
        }
        return Ok(format!("etcd shows serial number {after:.SHOWN$}… instead of {before:.SHOWN$}…"));
    }
    let state = injection.control.state();
    let found = state.cluster(cluster.as_str());
    let found = found.ok_or_else(|| FaultError::NoTarget { what: format!("no cluster `{cluster}`") })?;
    let failed =
        |error| FaultError::failed(format!("connect to the etcd of {cluster} with `{}`", file.display()))(error);
    let etcd = Etcd::connect_as(found, file_name).await.map_err(failed)?;
    // Everybody may read this.
    etcd.list(&format!("cilium/synced/{cluster}/")).await.map_err(failed)?;
    Ok(format!("etcd takes {file_name} with {after:.SHOWN$}… instead of {before:.SHOWN$}…"))
}
