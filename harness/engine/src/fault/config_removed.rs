//! Config removed: the file with which agents know a remote cluster is removed (`cilium clustermesh disconnect`).
//!
//! Effect: the agents must let go of the cluster and take its backends out of their maps. Witness: the file is gone. Heal: the
//! file as it was.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_events::Micros;
use meshbed_oracle::Fate;
use meshbed_scenario::{ClusterName, Nodes, record};

use super::{Fault, FaultError, Injected, Injection, cuts};
use crate::probe::lock;

/// How long an agent may take to let go: an inotify event and one round over its services.
pub(super) const VANISH_MAX_US: u64 = 5_000_000;

record! {
    /// The file with which agents know a remote cluster is removed: they must let go of its backends.
    pub struct ConfigRemoved {
        /// On which nodes.
        pub nodes: Nodes,
        /// Which remote cluster.
        pub remote: ClusterName,
    }
}

impl fmt::Display for ConfigRemoved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remove the configuration of {} on {}", self.remote, self.nodes)
    }
}

impl Fault for ConfigRemoved {
    fn kind(&self) -> &'static str {
        "config-removed"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let mut injected = Vec::new();
            for node in &self.nodes {
                let (control, remote, node) = (injection.control.clone(), self.remote.clone(), node.clone());
                let what = |what: &str| format!("{what} the configuration of {remote} on {node}");
                let file =
                    control.mesh_config(&node.node, remote.as_str()).map_err(FaultError::failed(what("find")))?;
                let from = lock(&injection.world).clock.now();
                let by = Micros(from.0 + VANISH_MAX_US);
                let id = injection.strike(cuts::configuration(&node, &remote, Fate::MustVanish { from, by }));
                // Whoever copies the cluster for the agents must not know it either. Once a cluster, whatever the node.
                let copied = control.kvstoremesh_config(node.cluster.as_str(), remote.as_str());
                let copied = copied.map_err(FaultError::failed(what("find")))?;
                let theirs = match &copied {
                    Some(file) => file.remove().await.map_err(FaultError::failed(what("remove")))?,
                    None => None,
                };
                let before = file.remove().await.map_err(FaultError::failed(what("remove")))?;
                let left = file.read().await.map_err(FaultError::failed(what("read")))?;
                let Some(before) = before.filter(|_| left.is_none()) else {
                    let what = format!("`{}` was not there before, or still is", file.path().display());
                    return Err(FaultError::NoWitness { what });
                };
                injection.witnessed(id, format!("`{}` is gone", file.path().display()));
                let healing = async move {
                    let failed = FaultError::failed(format!("write the configuration of {remote} on {node}"));
                    let put_back = async {
                        if let Some((file, text)) = copied.zip(theirs) {
                            file.write(&text).await?;
                        }
                        file.write(&before).await
                    };
                    put_back.await.map_err(failed)?;
                    Ok(format!("the configuration of {remote} on {node} is as it was"))
                };
                injected.push(Injected { id, healing: healing.boxed() });
            }
            Ok(injected)
        }
        .boxed()
    }
}
