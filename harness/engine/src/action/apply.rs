//! `apply`: manifests, as `kubectl apply` would.

use std::{fmt, path::Path};

use futures::{FutureExt, future::BoxFuture};
use mesh_types::ClusterName;
use meshbed_scenario::{Clusters, Element, ManifestFiles, element, record};

use super::{Action, AnyAction};
use crate::{
    probe::lock,
    stage::{Stage, StepError},
};

/// In the language.
pub(super) const ELEMENT: Element<AnyAction> = element!("apply", Apply);

record! {
    /// Apply manifests, as `kubectl apply` would.
    pub struct Apply {
        /// Where, in order.
        pub clusters: Clusters,
        /// What, in order. `{cluster}` in a name stands for the name of the cluster.
        pub files: ManifestFiles,
    }
}

impl fmt::Display for Apply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "apply {} in {}", self.files, self.clusters)
    }
}

impl Action for Apply {
    fn perform<'a>(&'a self, stage: &'a Stage) -> BoxFuture<'a, Result<(), StepError>> {
        async move {
            for cluster in &self.clusters {
                for file in &self.files {
                    apply(stage, cluster, &file.path(cluster)).await?;
                }
            }
            Ok(())
        }
        .boxed()
    }
}

async fn apply(stage: &Stage, cluster: &ClusterName, path: &Path) -> Result<(), StepError> {
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| StepError::Manifest { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.into()))?;
    let documents = meshbed_scenario::manifests(&text).map_err(|error| failed(error.into()))?;
    for document in documents {
        let changed = stage.clusters[cluster].apply(&document).await?;
        lock(&stage.world).must_see(cluster, changed);
    }
    Ok(())
}
