//! Authority swapped: a certificate of a cluster's mesh is replaced by one that somebody else signed, as when a cluster was
//! installed anew and its peers still trust the old authority.
//!
//! Effect, witness and heal: as with `certificateExpired`.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_driver::{Authority, Validity};
use meshbed_scenario::{ClusterName, record};

use super::{
    Fault, FaultError, Injected, Injection,
    certificate::{self, Whose},
};

record! {
    /// A certificate of a cluster's mesh is signed by an authority that nobody trusts. etcd is restarted, so that nobody
    /// lives on an old connection.
    pub struct AuthoritySwapped {
        /// The cluster.
        pub cluster: ClusterName,
        /// Whose certificate.
        pub whose: Whose,
    }
}

impl fmt::Display for AuthoritySwapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "another authority signs the {} certificate of {}", self.whose, self.cluster)
    }
}

impl Fault for AuthoritySwapped {
    fn kind(&self) -> &'static str {
        "authority-swapped"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        certificate::replace(injection, &self.cluster, self.whose, Validity::Usual, Authority::Foreign).boxed()
    }
}
