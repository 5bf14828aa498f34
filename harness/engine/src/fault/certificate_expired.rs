//! Certificate expired: a certificate of a cluster's mesh is replaced by one that is no longer valid.
//!
//! Effect: connections that exist live on until they break, which this fault sees to by restarting etcd; new ones fail.
//! Witness: a TLS handshake of our own is refused. Heal: the files that were there before, and etcd restarted.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_driver::{Authority, CertificateName, Control, Validity};
use meshbed_etcd::Etcd;
use meshbed_scenario::{ClusterName, record, words};

use super::{Fault, FaultError, Injected, Injection, cuts};
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

record! {
    /// A certificate of a cluster's mesh has expired. etcd is restarted, so that nobody lives on an old connection.
    pub struct CertificateExpired {
        /// The cluster.
        pub cluster: ClusterName,
        /// Whose certificate.
        pub whose: Whose,
    }
}

impl fmt::Display for CertificateExpired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} certificate of {} expires", self.whose, self.cluster)
    }
}

impl Fault for CertificateExpired {
    fn kind(&self) -> &'static str {
        "certificate-expired"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let (cluster, control) = (self.cluster.clone(), injection.control.clone());
            let target = format!("certificate {} of {cluster}", self.whose.certificate().as_str());
            let id = injection.strike(cuts::others_blind(Strike::at(target), &cluster).hits(&cluster));
            let failed = |what: &str| FaultError::failed(format!("{what} of {cluster}"));
            let name = self.whose.certificate();
            let reissued = control.reissue(cluster.as_str(), name, Validity::Expired, Authority::Own).await;
            reissued.map_err(failed("reissue a certificate"))?;
            control.restart(&etcd_of(&cluster)).await.map_err(failed("restart the etcd"))?;
            injection.witnessed(id, witness(&control, &cluster, self.whose).await?);
            let healing = async move {
                let failed = |what: &str| FaultError::failed(format!("{what} of {cluster}"));
                control.restore_certificates(cluster.as_str()).await.map_err(failed("restore the certificate"))?;
                control.restart(&etcd_of(&cluster)).await.map_err(failed("restart the etcd"))?;
                Ok(format!("the old certificate of {cluster} is back"))
            };
            Ok(vec![Injected { id, healing: healing.boxed() }])
        }
        .boxed()
    }
}

fn etcd_of(cluster: &ClusterName) -> String {
    format!("etcd-{cluster}")
}

/// A connection of our own is refused: with the server's certificate expired, any; with that of remote agents expired,
/// one that shows it.
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
