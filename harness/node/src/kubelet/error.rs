//! Why a kubelet ends early.

use std::{io, path::PathBuf};

use super::{checkpoint::CheckpointError, network::NetworkError};
use crate::PodStateError;

/// The kubelet could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    /// A folder or file could not be made or read.
    #[error("failed to {act} `{}`", path.display())]
    File {
        /// What was tried.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kubeconfig file cannot be used.
    #[error("failed to load kubeconfig `{}`", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: kube::config::KubeconfigError,
    },
    /// No client could be made of the kubeconfig.
    #[error("failed to make a client for the Kubernetes API")]
    Client(#[source] Box<kube::Error>),
    /// The node could not be registered; the API server refused it.
    #[error("failed to register node `{node}`")]
    Register {
        /// Name of the node.
        node: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The node's own network could not be prepared.
    #[error("failed to prepare the node's network")]
    Network(#[source] NetworkError),
    /// What an earlier kubelet left could not be listed.
    #[error("failed to look for pods of an earlier kubelet")]
    Leftovers(#[source] PodStateError),
    /// What an earlier kubelet wrote down could not be read.
    #[error("failed to look for pods of an earlier kubelet")]
    Checkpoints(#[source] CheckpointError),
    /// The kernel does not tell in which boot we are.
    #[error("failed to find the node's boot ID")]
    BootId(#[source] io::Error),
    /// The pod CIDR has no room for a gateway and a pod.
    #[error("pod CIDR `{cidr}` has no room for pods")]
    PodCidr {
        /// The CIDR.
        cidr: ipnet::Ipv4Net,
    },
    /// One of the kubelet's tasks ended, which none of them ever does by itself.
    #[error("task `{task}` ended")]
    Task {
        /// Which.
        task: &'static str,
    },
    /// Telling the supervisor that the kubelet is ready failed.
    #[error("failed to notify readiness")]
    Notify(#[source] io::Error),
}
