//! Config corrupted: the file with which agents know a remote cluster is overwritten with something that is none.
//!
//! Effect: the agents must say so and keep what they know. Witness: the file has the other content. Heal: the file as it was.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_oracle::Fate;
use meshbed_scenario::{ClusterName, Nodes, record};

use super::{Fault, FaultError, Injected, Injection, cuts};

/// What is written when the scenario does not say.
const NONSENSE: &str = "endpoints: [\n";

record! {
    /// The file with which agents know a remote cluster is overwritten with something that is none.
    pub struct ConfigCorrupted {
        /// On which nodes.
        pub nodes: Nodes,
        /// Which remote cluster.
        pub remote: ClusterName,
        /// What is written; text that is no YAML when it is not given.
        pub content: Option<String>,
    }
}

impl fmt::Display for ConfigCorrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "corrupt the configuration of {} on {}", self.remote, self.nodes)
    }
}

impl Fault for ConfigCorrupted {
    fn kind(&self) -> &'static str {
        "config-corrupted"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let content = self.content.clone().unwrap_or_else(|| NONSENSE.to_owned());
            let mut injected = Vec::new();
            for node in &self.nodes {
                let (control, remote, node) = (injection.control.clone(), self.remote.clone(), node.clone());
                let what = |what: &str| format!("{what} the configuration of {remote} on {node}");
                let file =
                    control.mesh_config(&node.node, remote.as_str()).map_err(FaultError::failed(what("find")))?;
                let before = file.read().await.map_err(FaultError::failed(what("read")))?;
                // Whether an agent goes on with its old connection or gives it up is its own affair; what it knows stays.
                let id = injection.strike(cuts::configuration(&node, &remote, Fate::Kept));
                if file.write(&content).await.map_err(FaultError::failed(what("overwrite")))?.as_ref() != Some(&content)
                {
                    let what = format!("`{}` has not the content that was written", file.path().display());
                    return Err(FaultError::NoWitness { what });
                }
                injection.witnessed(id, format!("`{}` has other content", file.path().display()));
                let healing = async move {
                    let failed = FaultError::failed(format!("write the configuration of {remote} on {node}"));
                    match before {
                        Some(before) => file.write(&before).await,
                        None => file.remove().await,
                    }
                    .map_err(failed)?;
                    Ok(format!("the configuration of {remote} on {node} is as it was"))
                };
                injected.push(Injected { id, healing: healing.boxed() });
            }
            Ok(injected)
        }
        .boxed()
    }
}
