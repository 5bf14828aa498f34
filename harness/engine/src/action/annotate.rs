//! `annotate`: annotations of a service.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use meshbed_scenario::{Clusters, Element, ServiceKey, StringMap, Strings, element, record};

use super::{Action, AnyAction};
use crate::{
    probe::lock,
    stage::{Stage, StepError},
};

/// In the language.
pub(super) const ELEMENT: Element<AnyAction> = element!("annotate", Annotate);

record! {
    /// Set and remove annotations of a service, in one patch.
    pub struct Annotate {
        /// Where, in order.
        pub clusters: Clusters,
        /// Which service.
        pub service: ServiceKey,
        /// Annotations to set.
        pub set: Option<StringMap>,
        /// Annotations to remove.
        pub remove: Option<Strings>,
    }
    check |record, at, context| {
        if record.set.is_none() && record.remove.is_none() {
            context.report(at, "nothing to annotate: expected `set`, `remove` or both", None);
        }
        for key in record.remove.iter().flatten() {
            if record.set.as_ref().is_some_and(|set| set.contains_key(key)) {
                context.report(at, format!("annotation `{key}` is set and removed by the same action"), None);
            }
        }
    }
}

impl fmt::Display for Annotate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "annotate {} in {}:", self.service, self.clusters)?;
        for (key, value) in self.set.iter().flatten() {
            write!(f, " {key}={value}")?;
        }
        // kubectl's own way of writing a removal.
        self.remove.iter().flatten().try_for_each(|key| write!(f, " {key}-"))
    }
}

impl Action for Annotate {
    fn perform<'a>(&'a self, stage: &'a Stage) -> BoxFuture<'a, Result<(), StepError>> {
        async move {
            for cluster in &self.clusters {
                let set = self.set.iter().flatten().map(|(key, value)| (key.clone(), value.clone()));
                let remove = self.remove.iter().flatten().cloned();
                let changed = stage.clusters[cluster].annotate(&self.service, set, remove).await?;
                lock(&stage.world).must_see(cluster, changed);
            }
            Ok(())
        }
        .boxed()
    }
}
