//! Config projected: the file with which agents know a remote cluster becomes what Kubernetes makes of a Secret: a link to a
//! file in a folder that `..data` points at, and `..data` is then swapped for another folder.
//!
//! Effect: the agents must see the new content, and lose nothing by it: it leads to the same cluster. Witness: the file's
//! content through both links. Heal: a plain file as it was.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_oracle::Fate;
use meshbed_scenario::{ClusterName, Nodes, record};

use super::{Fault, FaultError, Injected, Injection, cuts};

/// What makes the new content another one, for whoever compares bytes.
const NEW_LINE: &str = "# swapped\n";

record! {
    /// The file with which agents know a remote cluster becomes a link through `..data`, as Kubernetes projects a Secret, and
    /// `..data` is swapped for a folder with new content that leads to the same cluster.
    pub struct ConfigProjected {
        /// On which nodes.
        pub nodes: Nodes,
        /// Which remote cluster.
        pub remote: ClusterName,
    }
}

impl fmt::Display for ConfigProjected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "swap `..data` under the configuration of {} on {}", self.remote, self.nodes)
    }
}

impl Fault for ConfigProjected {
    fn kind(&self) -> &'static str {
        "config-projected"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let mut injected = Vec::new();
            for node in &self.nodes {
                let (control, remote, node) = (injection.control.clone(), self.remote.clone(), node.clone());
                let what = |what: &str| format!("{what} the configuration of {remote} on {node}");
                let file =
                    control.mesh_config(&node.node, remote.as_str()).map_err(FaultError::failed(what("find")))?;
                let id = injection.strike(cuts::configuration(&node, &remote, Fate::Kept));
                let Some(before) = file.read().await.map_err(FaultError::failed(what("read")))? else {
                    return Err(FaultError::NoTarget { what: format!("no `{}`", file.path().display()) });
                };
                let new = format!("{before}{NEW_LINE}");
                let found = file.project(&before, &new).await.map_err(FaultError::failed(what("swap")))?;
                if found.as_ref() != Some(&new) {
                    let what = format!("`{}` has not the content that was swapped in", file.path().display());
                    return Err(FaultError::NoWitness { what });
                }
                injection.witnessed(id, format!("`{}` has new content behind `..data`", file.path().display()));
                let healing = async move {
                    let failed = FaultError::failed(format!("write the configuration of {remote} on {node}"));
                    let put_back = async {
                        file.write(&before).await?;
                        file.unproject().await
                    };
                    put_back.await.map_err(failed)?;
                    Ok(format!("the configuration of {remote} on {node} is a plain file again"))
                };
                injected.push(Injected { id, healing: healing.boxed() });
            }
            Ok(injected)
        }
        .boxed()
    }
}
