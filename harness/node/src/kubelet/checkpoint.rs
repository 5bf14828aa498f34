//! What a kubelet writes down of each pod for the one that comes after it, should it be killed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::ContainerStatus;
use serde::{Deserialize, Serialize};

use crate::{PodState, files};

/// Folder below the state directory.
pub(crate) const CHECKPOINTS_FOLDER: &str = "checkpoints";

/// A pod with a sandbox, as it was last seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Boot of the node in which the sandbox was made. It does not outlive that.
    pub(crate) boot_id: String,
    /// The sandbox and the processes in it.
    pub(crate) state: PodState,
    /// What was told of its containers, in the words of the API.
    pub(crate) statuses: Vec<ContainerStatus>,
}

/// A checkpoint could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("failed to {act} checkpoint `{}`", path.display())]
pub struct CheckpointError {
    act: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Checkpoint {
    fn path(state_dir: &Path, uid: &str) -> PathBuf {
        state_dir.join(CHECKPOINTS_FOLDER).join(format!("{uid}.json"))
    }

    /// Replaces the pod's file.
    pub(crate) fn write(&self, state_dir: &Path) -> Result<(), CheckpointError> {
        let path = Self::path(state_dir, &self.state.uid);
        let bytes = serde_json::to_vec(self).map_err(|source| error("encode", &path)(source.into()))?;
        files::replace(&path, &bytes).map_err(error("write", &path))
    }

    /// Removes the pod's file, if there is one.
    pub(crate) fn remove(state_dir: &Path, uid: &str) -> Result<(), CheckpointError> {
        let path = Self::path(state_dir, uid);
        files::remove(&path).map_err(error("remove", &path))
    }

    /// All that can be read. What cannot, such as that of another version of this program, is removed with a warning:
    /// its pod then starts anew.
    pub(crate) fn list(state_dir: &Path) -> Result<Vec<Self>, CheckpointError> {
        let folder = state_dir.join(CHECKPOINTS_FOLDER);
        let mut checkpoints = Vec::new();
        for entry in fs::read_dir(&folder).map_err(error("list", &folder))? {
            let path = entry.map_err(error("list", &folder))?.path();
            let bytes = fs::read(&path).map_err(error("read", &path))?;
            match serde_json::from_slice(&bytes) {
                Ok(checkpoint) => checkpoints.push(checkpoint),
                Err(problem) => {
                    tracing::warn!(path = %path.display(), %problem, "a checkpoint cannot be used");
                    files::remove(&path).map_err(error("remove", &path))?;
                }
            }
        }
        Ok(checkpoints)
    }
}

fn error(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = path.to_owned();
    move |source| CheckpointError { act, path, source }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::Ipv4Addr};

    use super::*;

    #[test]
    fn what_is_written_is_listed_and_what_is_torn_is_dropped() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join(CHECKPOINTS_FOLDER)).expect("a folder in it");
        let state = PodState {
            namespace: "default".into(),
            name: "rebel-base-1".into(),
            uid: "u-1".into(),
            ip: Ipv4Addr::new(10, 1, 1, 2),
            netns: "/run/netns/mb-test".into(),
            cgroup: "/sys/fs/cgroup/meshbed/u-1".into(),
            labels: BTreeMap::new(),
            phase: "Running".into(),
            containers: Vec::new(),
        };
        let statuses = vec![ContainerStatus { name: "web".into(), restart_count: 2, ..ContainerStatus::default() }];
        let checkpoint = Checkpoint { boot_id: "boot".into(), state, statuses };
        checkpoint.write(folder.path()).expect("written");
        let torn = Checkpoint::path(folder.path(), "u-2");
        fs::write(&torn, "{\"boot_id\":").expect("written");
        assert_eq!(Checkpoint::list(folder.path()).expect("listed"), [checkpoint]);
        assert!(!torn.exists());
        Checkpoint::remove(folder.path(), "u-1").expect("removed");
        assert_eq!(Checkpoint::list(folder.path()).expect("listed"), []);
    }
}
