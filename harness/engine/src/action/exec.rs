//! `exec`: a command in a pod.

use std::{fmt, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use mesh_types::ClusterName;
use meshbed_node::PodState;
use meshbed_scenario::{Clusters, DeploymentKey, Element, Strings, element, record};

use super::{Action, AnyAction};
use crate::{
    place::{self, Errand, Output},
    stage::{Stage, StepError},
};

/// In the language.
pub(super) const ELEMENT: Element<AnyAction> = element!("exec", Exec);

/// How long a command may run when the scenario does not say.
const TIMEOUT: Duration = Duration::from_secs(10);

record! {
    /// Run a command in every ready pod of a deployment. It must end with 0.
    pub struct Exec {
        /// Where, in order.
        pub clusters: Clusters,
        /// In whose pods.
        pub deployment: DeploymentKey,
        /// Program and arguments; no shell is involved.
        pub command: Strings,
        /// How long it may take; 10 s when it is not given.
        pub timeout: Option<Duration>,
        /// Text that its output must contain.
        pub contains: Option<String>,
    }
}

impl fmt::Display for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command: Vec<&str> = self.command.iter().map(String::as_str).collect();
        write!(f, "exec `{}` in {} of {}", command.join(" "), self.deployment, self.clusters)
    }
}

impl Action for Exec {
    fn perform<'a>(&'a self, stage: &'a Stage) -> BoxFuture<'a, Result<(), StepError>> {
        async move {
            for cluster in &self.clusters {
                for (_, pod) in stage.pods(cluster, &self.deployment).await? {
                    self.run_in(stage, cluster, pod).await?;
                }
            }
            Ok(())
        }
        .boxed()
    }
}

impl Exec {
    async fn run_in(&self, stage: &Stage, cluster: &ClusterName, pod: PodState) -> Result<(), StepError> {
        let name = pod.name.clone();
        let what = || format!("run `{}` in pod `{name}` of {cluster}", self.command.join(" "));
        let errand = Errand::Exec(Box::new(pod), self.command.to_vec(), self.timeout.unwrap_or(TIMEOUT));
        let output = place::run(&stage.control, cluster.as_str(), errand).await;
        let Output { failure, text } = output.map_err(StepError::action(what()))?;
        if let Some(status) = failure {
            return Err(StepError::action(what())(format!("{status}: {}", text.trim())));
        }
        match &self.contains {
            Some(wanted) if !text.contains(wanted) => {
                Err(StepError::action(what())(format!("its output does not contain `{wanted}`: {}", text.trim())))
            }
            _ => Ok(()),
        }
    }
}
