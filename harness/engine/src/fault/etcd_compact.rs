//! etcd compaction: everything before the newest revision is forgotten.
//!
//! Effect: whoever wants to go on from an older revision is refused and must list again. Nobody may lose knowledge by it.
//! Witness: etcd refuses to read the revision before. There is nothing to heal.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Clusters, record};

use super::{Fault, FaultError, Injected, Injection};
use crate::world::Strike;

record! {
    /// etcd forgets everything before its newest revision.
    pub struct EtcdCompact {
        /// Whose etcd.
        pub clusters: Clusters,
    }
}

impl fmt::Display for EtcdCompact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "compact the etcd of {}", self.clusters)
    }
}

impl Fault for EtcdCompact {
    fn kind(&self) -> &'static str {
        "etcd-compact"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let mut injected = Vec::new();
            for cluster in &self.clusters {
                let id = injection.strike(Strike::at(format!("etcd of {cluster}")).hits(cluster));
                let failed = FaultError::failed(format!("compact the etcd of {cluster}"));
                let compacted = injection.etcd(cluster).await?.compact().await.map_err(failed)?;
                let revision = compacted.revision;
                injection.witnessed(id, format!("reading before revision {revision} in {cluster} was refused"));
                injected.push(Injected::for_good(id));
            }
            Ok(injected)
        }
        .boxed()
    }
}
