//! What the caller decides about a run.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::RunId;

/// The programs that a mesh is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// `meshbed`, for its hidden subcommands `apiserver` and `kubelet`.
    pub meshbed: PathBuf,
    /// `mesh-agent`.
    pub mesh_agent: PathBuf,
    /// `meshbed-pod`, which the kubelet runs in pods.
    pub meshbed_pod: PathBuf,
    /// etcd's server.
    pub etcd: PathBuf,
}

impl Programs {
    /// Our programs next to `meshbed` itself, etcd from `PATH`. Names that are found nowhere stay relative, and
    /// [`crate::preflight`] reports them.
    pub fn next_to(meshbed: &Path) -> Self {
        let directory = meshbed.parent().unwrap_or(Path::new(""));
        Self {
            meshbed: meshbed.to_owned(),
            mesh_agent: directory.join("mesh-agent"),
            meshbed_pod: directory.join("meshbed-pod"),
            etcd: find_in_path("etcd").unwrap_or_else(|| PathBuf::from("etcd")),
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> [&Path; 4] {
        [&self.meshbed, &self.mesh_agent, &self.meshbed_pod, &self.etcd]
    }
}

fn find_in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// What happens to a run that does not come up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Everything made so far is removed.
    #[default]
    Remove,
    /// Everything stays (and is marked as kept), for looking at it.
    Keep,
}

/// How a run is brought up.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// Its name.
    pub run: RunId,
    /// The programs that it runs.
    pub programs: Programs,
    /// More environment for the agents (nodes' agents and exporters), such as `MESH_AGENT_DEFECT`.
    pub env: Vec<(String, String)>,
    /// What happens when it fails.
    pub on_failure: OnFailure,
}

impl UpOptions {
    /// Options for `run` with no more environment.
    pub fn new(run: RunId, programs: Programs) -> Self {
        Self { run, programs, env: Vec::new(), on_failure: OnFailure::Remove }
    }
}
