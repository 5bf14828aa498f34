//! `delete`: objects.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Clusters, Element, element, record, words};

use super::{Action, AnyAction};
use crate::stage::{Stage, StepError};

/// In the language.
pub(super) const ELEMENT: Element<AnyAction> = element!("delete", Delete);

words! {
    /// Kinds that can be deleted.
    pub enum Kind {
        /// A service.
        Service = "Service",
        /// A deployment with its pods.
        Deployment = "Deployment",
        /// A pod; its replica set makes another.
        Pod = "Pod",
        /// An endpoint slice.
        EndpointSlice = "EndpointSlice",
        /// A node object; its pods go with it.
        Node = "Node",
    }
}

record! {
    /// Delete an object, as `kubectl delete` would. It is gone when the action ends.
    pub struct Delete {
        /// Where, in order.
        pub clusters: Clusters,
        /// What kind of object.
        pub kind: Kind,
        /// Its name.
        pub name: String,
        /// Its namespace; `default` when it is not given.
        pub namespace: Option<String>,
    }
}

impl fmt::Display for Delete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delete {} {} in {}", self.kind, self.name, self.clusters)
    }
}

impl Action for Delete {
    fn perform<'a>(&'a self, stage: &'a Stage) -> BoxFuture<'a, Result<(), StepError>> {
        async move {
            for cluster in &self.clusters {
                let namespace = self.namespace.as_deref();
                stage.clusters[cluster].delete(self.kind.as_str(), namespace, &self.name).await?;
                let gone = (cluster.clone(), self.kind.as_str(), self.qualified());
                stage.wait(stage.scenario.deadline(), |world| world.still_there(&gone)).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

impl Delete {
    /// As watches call it: nodes have no namespace.
    fn qualified(&self) -> String {
        let namespace = match self.kind {
            Kind::Node => "",
            _ => self.namespace.as_deref().unwrap_or("default"),
        };
        format!("{namespace}/{}", self.name)
    }
}
