//! What a step does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use mesh_types::{ClusterName, ServiceKey};

/// Namespace and name of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeploymentKey {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for DeploymentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A manifest file of an `apply` action; `{cluster}` in it stands for the cluster's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFile {
    /// As written in the scenario.
    pub(crate) written: String,
    /// Folder of the scenario file.
    pub(crate) folder: PathBuf,
}

/// What `{cluster}` is replaced in.
pub(crate) const CLUSTER_PLACEHOLDER: &str = "{cluster}";

impl ManifestFile {
    /// The file for `cluster`, relative to the working directory.
    pub fn path(&self, cluster: &ClusterName) -> PathBuf {
        self.folder.join(self.written.replace(CLUSTER_PLACEHOLDER, cluster.as_str()))
    }

    /// The last part of its path as written, for messages.
    pub fn name(&self) -> &str {
        self.written.rsplit('/').next().unwrap_or(&self.written)
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Apply manifests, as `kubectl apply` would.
    Apply {
        /// Where, in order.
        clusters: Vec<ClusterName>,
        /// What, in order.
        files: Vec<ManifestFile>,
    },
    /// Change annotations of a service.
    Annotate {
        /// Where, in order.
        clusters: Vec<ClusterName>,
        /// Which service.
        service: ServiceKey,
        /// Annotations to set.
        set: BTreeMap<String, String>,
        /// Annotations to remove; done in the same patch.
        remove: BTreeSet<String>,
    },
    /// Change the number of replicas of a deployment.
    Scale {
        /// Where, in order.
        clusters: Vec<ClusterName>,
        /// Which deployment.
        deployment: DeploymentKey,
        /// How many.
        replicas: u32,
    },
    /// Start the clients of a probe.
    StartProbe(String),
    /// Stop the clients of a probe.
    StopProbe(String),
    /// Inject a fault.
    Fault {
        /// Its name, unique in the scenario.
        name: String,
        /// What it does.
        fault: Fault,
    },
    /// Undo the fault of this name.
    Heal(String),
}

/// Something that is broken on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL all processes of a deployment's pods, then keep them away until it is healed.
    PodKill {
        /// Where.
        clusters: Vec<ClusterName>,
        /// Which deployment.
        deployment: DeploymentKey,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply { clusters, files } => {
                let files: Vec<&str> = files.iter().map(ManifestFile::name).collect();
                write!(f, "apply {} in {}", files.join(", "), join(clusters))
            }
            Self::Annotate { clusters, service, set, remove } => {
                write!(f, "annotate {service} in {}:", join(clusters))?;
                for (key, value) in set {
                    write!(f, " {key}={value}")?;
                }
                // kubectl's own way of writing a removal.
                remove.iter().try_for_each(|key| write!(f, " {key}-"))
            }
            Self::Scale { clusters, deployment, replicas } => {
                write!(f, "scale {deployment} to {replicas} in {}", join(clusters))
            }
            Self::StartProbe(name) => write!(f, "start probe {name}"),
            Self::StopProbe(name) => write!(f, "stop probe {name}"),
            Self::Fault { name, fault } => write!(f, "{fault} ({name})"),
            Self::Heal(name) => write!(f, "heal {name}"),
        }
    }
}

impl Fault {
    /// The word that events and reports use, such as `pod-kill`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::PodKill { .. } => "pod-kill",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PodKill { clusters, deployment } => write!(f, "kill pods of {deployment} in {}", join(clusters)),
        }
    }
}

fn join(clusters: &[ClusterName]) -> String {
    clusters.iter().map(ClusterName::as_str).collect::<Vec<_>>().join(", ")
}
