//! Bad certificates: one of a cluster's mesh is replaced, and etcd restarted, so that everybody has to show theirs again.

use futures::FutureExt;
use meshbed_driver::{Authority, CertificateName, Control, Validity};
use meshbed_etcd::Etcd;
use meshbed_scenario::{ClusterName, words};

use super::{FaultError, Injected, Injection, cuts};
use crate::world::Strike;

words! {
    /// Whose certificate.
    pub enum Whose {
        /// That of etcd: clients refuse the server.
        Server = "server",
        /// That of the agents of other clusters: the server refuses clients.
        Remote = "remote",
    }
}

impl Whose {
    fn certificate(self) -> CertificateName {
        match self {
            Self::Server => CertificateName::EtcdServer,
            Self::Remote => CertificateName::Remote,
        }
    }
}

/// Replaces a certificate by one that must be refused; it is when a connection of our own is. Heals by the files that were
/// there before.
pub(super) async fn replace(
    injection: &Injection,
    cluster: &ClusterName,
    whose: Whose,
    validity: Validity,
    authority: Authority,
) -> Result<Vec<Injected>, FaultError> {
    let (cluster, control) = (cluster.clone(), injection.control.clone());
    let target = format!("certificate {} of {cluster}", whose.certificate().as_str());
    let id = injection.strike(cuts::others_blind(injection, Strike::at(target), &cluster).hits(&cluster));
    let failed = |what: &str| FaultError::failed(format!("{what} of {cluster}"));
    let reissued = control.reissue(cluster.as_str(), whose.certificate(), validity, authority).await;
    reissued.map_err(failed("reissue a certificate"))?;
    control.restart(&etcd_of(&cluster)).await.map_err(failed("restart the etcd"))?;
    injection.witnessed(id, witness(&control, &cluster, whose).await?);
    let healing = async move {
        let failed = |what: &str| FaultError::failed(format!("{what} of {cluster}"));
        control.restore_certificates(cluster.as_str()).await.map_err(failed("restore the certificate"))?;
        control.restart(&etcd_of(&cluster)).await.map_err(failed("restart the etcd"))?;
        Ok(format!("the old certificate of {cluster} is back"))
    };
    Ok(vec![Injected { id, healing: healing.boxed() }])
}

fn etcd_of(cluster: &ClusterName) -> String {
    format!("etcd-{cluster}")
}

/// A connection of our own is refused: with a bad certificate of the server, any; with a bad one of remote agents, one that
/// shows it.
async fn witness(control: &Control, cluster: &ClusterName, whose: Whose) -> Result<String, FaultError> {
    let state = control.state();
    let found = state.cluster(cluster.as_str());
    let found = found.ok_or_else(|| FaultError::NoTarget { what: format!("no cluster `{cluster}`") })?;
    let certificate = match whose {
        Whose::Server => CertificateName::EtcdRoot,
        Whose::Remote => CertificateName::Remote,
    };
    let Some(certificate) = certificate.file_names(found).into_iter().next() else {
        return Err(FaultError::NoTarget { what: format!("no other cluster reads the etcd of `{cluster}`") });
    };
    let refused = match Etcd::connect_as(found, &certificate).await {
        // What has to be refused is the connection, and not the question.
        Ok(etcd) => etcd.list("cilium/state/").await.err().filter(|error| !error.is_permission_denied()),
        Err(error) => Some(error),
    };
    match refused {
        Some(error) => {
            Ok(format!("with the {whose} certificate etcd cannot be asked: {}", crate::stage::chain(&error)))
        }
        None => Err(FaultError::NoWitness { what: format!("etcd of {cluster} could be asked all the same") }),
    }
}
