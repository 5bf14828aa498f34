//! `scale`: the number of a deployment's replicas.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Clusters, DeploymentKey, Element, element, record};

use super::{Action, AnyAction};
use crate::{
    probe::lock,
    stage::{Stage, StepError},
};

/// In the language.
pub(super) const ELEMENT: Element<AnyAction> = element!("scale", Scale);

/// Replicas of a deployment: what fits in a node's pod CIDR.
const REPLICAS_MAX: u64 = 250;

record! {
    /// Change the number of replicas of a deployment.
    pub struct Scale {
        /// Where, in order.
        pub clusters: Clusters,
        /// Which deployment.
        pub deployment: DeploymentKey,
        /// How many; at most 250.
        pub replicas: u64,
    }
    check |record, at, context| {
        if record.replicas > REPLICAS_MAX {
            context.report(at, format!("expected a number from 0 to {REPLICAS_MAX}, found {}", record.replicas), None);
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scale {} to {} in {}", self.deployment, self.replicas, self.clusters)
    }
}

impl Action for Scale {
    fn perform<'a>(&'a self, stage: &'a Stage) -> BoxFuture<'a, Result<(), StepError>> {
        async move {
            let replicas = i32::try_from(self.replicas).unwrap_or(i32::MAX);
            for cluster in &self.clusters {
                let (_, changed) = stage.clusters[cluster].scale(&self.deployment, replicas).await?;
                lock(&stage.world).must_see(cluster, changed);
            }
            Ok(())
        }
        .boxed()
    }
}
