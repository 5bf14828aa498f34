//! Faults: each has a file, an effect, a witness and a heal.

pub(crate) mod pod_kill;

use mesh_types::ClusterName;

use crate::kubernetes::KubernetesError;

/// Why a fault could not be injected or healed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FaultError {
    /// There is nothing that the fault could hit.
    #[error("deployment `{deployment}` of cluster `{cluster}` has no pods to kill")]
    NoTarget {
        /// Where.
        cluster: ClusterName,
        /// What.
        deployment: String,
    },
    /// A process could not be signalled.
    #[error("failed to kill process {pid} of pod `{pod}`")]
    Kill {
        /// The process.
        pid: i32,
        /// Its pod.
        pod: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The fault was injected and nothing showed that it took effect.
    #[error("process {pid} of pod `{pod}` was still there {waited_s} s after SIGKILL")]
    NoWitness {
        /// The process.
        pid: i32,
        /// Its pod.
        pod: String,
        /// How long was waited, in seconds.
        waited_s: u32,
    },
    /// The Kubernetes API refused its part.
    #[error("failed to change the deployment")]
    Kubernetes(#[source] KubernetesError),
}
