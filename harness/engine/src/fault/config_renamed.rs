//! Config renamed: the file with which agents know a remote cluster gets the name of another one. The name of the file is the
//! name of the cluster.
//!
//! Effect: the agents must let go of the one and get to know the other, which is none. Witness: the one file is gone, the
//! other has its content. Heal: the file under its old name.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_events::Micros;
use meshbed_oracle::Fate;
use meshbed_scenario::{ClusterName, Nodes, record};

use super::{Fault, FaultError, Injected, Injection, config_removed::VANISH_MAX_US, cuts};
use crate::probe::lock;

record! {
    /// The file with which agents know a remote cluster gets the name of another one.
    pub struct ConfigRenamed {
        /// On which nodes.
        pub nodes: Nodes,
        /// Which remote cluster.
        pub remote: ClusterName,
        /// What it is called afterwards; no cluster of the mesh.
        pub to: String,
    }
    check |record, at, context| {
        if record.to == record.remote.as_str() || ClusterName::new(&record.to).is_err() {
            context.report(at, format!("`{}` is no other name of a cluster", record.to), None);
        }
    }
}

impl fmt::Display for ConfigRenamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rename the configuration of {} on {} to {}", self.remote, self.nodes, self.to)
    }
}

impl Fault for ConfigRenamed {
    fn kind(&self) -> &'static str {
        "config-renamed"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let mut injected = Vec::new();
            for node in &self.nodes {
                let (control, remote, node) = (injection.control.clone(), self.remote.clone(), node.clone());
                let what = |what: &str| format!("{what} the configuration of {remote} on {node}");
                let find = |name: &str| control.mesh_config(&node.node, name).map_err(FaultError::failed(what("find")));
                let (old, new) = (find(remote.as_str())?, find(&self.to)?);
                let from = lock(&injection.world).clock.now();
                let by = Micros(from.0 + VANISH_MAX_US);
                let id = injection.strike(cuts::configuration(&node, &remote, Fate::MustVanish { from, by }));
                let failed = || FaultError::failed(what("rename"));
                let before = old.rename(&new).await.map_err(failed())?;
                if old.read().await.map_err(failed())?.is_some() || new.read().await.map_err(failed())? != before {
                    let what = format!("`{}` is not `{}` now", old.path().display(), new.path().display());
                    return Err(FaultError::NoWitness { what });
                }
                injection.witnessed(id, format!("`{}` is `{}` now", old.path().display(), new.path().display()));
                let healing = async move {
                    let failed = FaultError::failed(format!("rename the configuration of {remote} on {node} again"));
                    new.rename(&old).await.map_err(failed)?;
                    Ok(format!("the configuration of {remote} on {node} has its name again"))
                };
                injected.push(Injected { id, healing: healing.boxed() });
            }
            Ok(injected)
        }
        .boxed()
    }
}
