//! API compaction: the Kubernetes API of clusters forgets every change until now, as when the etcd under it is compacted.
//!
//! Effect: whoever was away and wants to go on from an older revision is answered 410 and must list again; watches that
//! are open go on. Nobody may lose knowledge by it. Witness: a watch from the first revision is answered 410. There is
//! nothing to heal.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use mesh_types::ClusterName;
use meshbed_scenario::{Clusters, record};

use super::{Fault, FaultError, Injected, Injection};
use crate::world::Strike;

/// The revision that is asked for: older than the first object of every cluster.
const OLDEST: u64 = 1;
/// What Kubernetes answers when it has forgotten what happened since a revision (`metav1.StatusReasonExpired`).
const EXPIRED: u16 = 410;

record! {
    /// The Kubernetes API forgets every change until now: watches that were away must list again.
    pub struct ApiCompact {
        /// Whose API.
        pub clusters: Clusters,
    }
}

impl fmt::Display for ApiCompact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "compact the Kubernetes API of {}", self.clusters)
    }
}

impl Fault for ApiCompact {
    fn kind(&self) -> &'static str {
        "api-compact"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let mut injected = Vec::new();
            for cluster in &self.clusters {
                injected.push(on(injection, cluster).await?);
            }
            Ok(injected)
        }
        .boxed()
    }
}

async fn on(injection: &Injection, cluster: &ClusterName) -> Result<Injected, FaultError> {
    let mut client = injection.api_admin(cluster).await?;
    let id = injection.strike(Strike::at(format!("Kubernetes API of {cluster}")).hits(cluster));
    let compacting = FaultError::failed(format!("compact the history of the API server of {cluster}"));
    let revision = client.compact().await.map_err(compacting)?;
    let watching = FaultError::failed(format!("open a watch at the API server of {cluster}"));
    let refusal = injection.cluster(cluster)?.refusal_from(OLDEST).await.map_err(watching)?;
    match refusal {
        Some(status) if status.code == EXPIRED => {
            let witness = format!("a watch of {cluster} from revision {OLDEST} was refused: {}", status.message);
            injection.witnessed(id, witness);
            Ok(Injected::for_good(id))
        }
        Some(status) => Err(FaultError::NoWitness { what: format!("a watch was answered {}", status.code) }),
        None => {
            let what =
                format!("a watch from revision {OLDEST} was accepted, though all before {revision} is forgotten");
            Err(FaultError::NoWitness { what })
        }
    }
}
