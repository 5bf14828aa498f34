//! Certificate expired: a certificate of a cluster's mesh is replaced by one that is no longer valid.
//!
//! Effect: connections that exist live on until they break, which this fault sees to by restarting etcd; new ones fail.
//! Witness: a TLS handshake of our own is refused. Heal: the files that were there before, and etcd restarted.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_driver::{Authority, Validity};
use meshbed_scenario::{ClusterName, record};

use super::{
    Fault, FaultError, Injected, Injection,
    certificate::{self, Whose},
};

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
        certificate::replace(injection, &self.cluster, self.whose, Validity::Expired, Authority::Own).boxed()
    }
}
