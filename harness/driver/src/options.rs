//! What the caller decides about a run.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mesh_types::ClusterName;
use meshbed_scenario::AgentSpec;
use serde::{Deserialize, Serialize};

use crate::{Outpost, RunId};

/// How long a node may be silent before it counts as gone, unless the options say otherwise: Kubernetes' 40 s would make
/// every scenario about it long.
const NODE_MONITOR_GRACE_PERIOD: Duration = Duration::from_secs(4);
/// How long a node's lease is valid, unless the options say otherwise. Kubelets renew it four times in that time.
const NODE_LEASE_DURATION: Duration = Duration::from_secs(4);

/// The programs that a mesh is made of, and where those of the agent under test are looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Programs {
    /// `meshbed`, for its hidden subcommands.
    pub meshbed: PathBuf,
    /// `meshbed-pod`, which the kubelet runs in pods.
    pub meshbed_pod: PathBuf,
    /// etcd's server.
    pub etcd: PathBuf,
    /// Where the agent's programs are looked for first (`--agent-bin-dir`).
    pub agent_bin_dir: Option<PathBuf>,
}

impl Programs {
    /// Our programs next to `meshbed` itself, etcd from `PATH`. Names that are found nowhere stay relative, and
    /// [`crate::preflight`] reports them.
    pub fn next_to(meshbed: &Path) -> Self {
        let directory = meshbed.parent().unwrap_or(Path::new(""));
        Self {
            meshbed: meshbed.to_owned(),
            meshbed_pod: directory.join("meshbed-pod"),
            etcd: find_in_path("etcd").unwrap_or_else(|| PathBuf::from("etcd")),
            agent_bin_dir: None,
        }
    }

    /// All that are named.
    pub(crate) fn all(&self) -> [&Path; 3] {
        [&self.meshbed, &self.meshbed_pod, &self.etcd]
    }

    /// Folder of the agent's programs: `agent_bin_dir`, or the one that `meshbed` is in.
    pub fn bin_dir(&self) -> &Path {
        let next_to_us = || self.meshbed.parent().unwrap_or(Path::new(""));
        self.agent_bin_dir.as_deref().unwrap_or_else(next_to_us)
    }

    /// The program that an agent's description calls `name`: looked up in `agent_bin_dir`, next to `meshbed` and in
    /// `PATH`, unless it is absolute. One that is nowhere gets the first place where it could be, so that messages name it.
    pub fn find(&self, name: &str) -> PathBuf {
        let given = Path::new(name);
        if given.is_absolute() {
            return given.to_owned();
        }
        let next_to_us = self.meshbed.parent().map(|directory| directory.join(given));
        let folders = [self.agent_bin_dir.as_ref().map(|directory| directory.join(given)), next_to_us];
        let in_folder = folders.into_iter().flatten().find(|path| path.is_file());
        let in_path = || if name.contains('/') { None } else { find_in_path(name) };
        in_folder.or_else(in_path).unwrap_or_else(|| self.bin_dir().join(given))
    }
}

fn find_in_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// What happens to a run that does not come up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    /// Everything made so far is removed.
    #[default]
    Remove,
    /// Everything stays (and is marked as kept), for looking at it.
    Keep,
}

/// How a run is brought up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpOptions {
    /// Its name.
    pub run: RunId,
    /// The programs that it runs.
    pub programs: Programs,
    /// The agent under test.
    pub agent: AgentSpec,
    /// Other agents for some clusters, for a mesh of different ones.
    pub agents: BTreeMap<ClusterName, AgentSpec>,
    /// More environment for the agents (nodes' agents and exporters), such as `MESH_AGENT_DEFECT`.
    pub env: Vec<(String, String)>,
    /// What happens when it fails.
    pub on_failure: OnFailure,
    /// How long a node may be silent before its cluster counts it as gone.
    pub node_monitor_grace_period: Duration,
    /// Where the random decisions of the environment come from, such as which packets a link loses.
    pub seed: u64,
    /// How many times longer than usual programs may take to become ready.
    pub slowness: f64,
    /// How long a node's lease is valid; rounded up to whole seconds. Kubelets renew it four times in that time.
    pub node_lease_duration: Duration,
    /// Machines that have some of the clusters. Each knows of itself alone.
    #[serde(skip)]
    pub outposts: Vec<Arc<Outpost>>,
}

impl UpOptions {
    /// For a machine that needs `factor` times as long for everything.
    #[must_use]
    pub fn slowed(mut self, factor: f64) -> Self {
        self.slowness = factor;
        self.node_monitor_grace_period = self.node_monitor_grace_period.mul_f64(factor);
        self.node_lease_duration = self.node_lease_duration.mul_f64(factor);
        self
    }

    /// Options for `run` with the agent that is built in and no more environment.
    pub fn new(run: RunId, programs: Programs) -> Self {
        Self {
            run,
            programs,
            agent: AgentSpec::default(),
            agents: BTreeMap::new(),
            env: Vec::new(),
            on_failure: OnFailure::Remove,
            node_monitor_grace_period: NODE_MONITOR_GRACE_PERIOD,
            seed: 0,
            slowness: 1.0,
            node_lease_duration: NODE_LEASE_DURATION,
            outposts: Vec::new(),
        }
    }

    /// The machine that has `cluster`, if it is not this one.
    pub fn outpost_of(&self, cluster: &ClusterName) -> Option<&Arc<Outpost>> {
        self.outposts.iter().find(|outpost| outpost.clusters().contains(cluster))
    }

    /// The agent that `cluster` gets.
    pub fn agent_of(&self, cluster: &ClusterName) -> &AgentSpec {
        self.agents.get(cluster).unwrap_or(&self.agent)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::Programs;

    #[test]
    fn programs_of_agents_are_looked_up() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, theirs) = (directory.path().join("ours"), directory.path().join("theirs"));
        for (folder, names) in [(&ours, ["meshbed", "both"]), (&theirs, ["only", "both"])] {
            fs::create_dir(folder).unwrap();
            for name in names {
                fs::write(folder.join(name), "").unwrap();
            }
        }
        let mut programs = Programs::next_to(&ours.join("meshbed"));
        assert_eq!(programs.find("both"), ours.join("both"));
        assert_eq!(programs.bin_dir(), ours);
        assert_eq!(programs.find("only"), ours.join("only"), "where it could be");
        programs.agent_bin_dir = Some(theirs.clone());
        assert_eq!(programs.find("both"), theirs.join("both"), "the given folder comes first");
        assert_eq!(programs.find("only"), theirs.join("only"));
        assert_eq!(programs.find("nowhere-at-all"), theirs.join("nowhere-at-all"));
        assert_eq!(programs.find("meshbed"), ours.join("meshbed"));
        assert!(programs.find("sh").ends_with("bin/sh"));
        assert_eq!(programs.find("/absolute"), Path::new("/absolute"));
    }
}
