//! What the kubelet tells other programs of the harness about a pod that runs here: one JSON file a pod.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::files;

/// Folder below the kubelet's state directory that holds the files.
const PODS_FOLDER: &str = "pods";

/// A pod as it runs on this node. Written by the kubelet to `<state dir>/pods/<namespace>_<name>.json`, replaced
/// atomically whenever a process changes, removed after everything else of the pod is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodState {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// UID that the Kubernetes API gave it.
    pub uid: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Path of its named network namespace, such as `/run/netns/mb-k3f9x2-alpha-alpha-1-0a1b2c3d`.
    pub netns: PathBuf,
    /// Absolute path of its cgroup (v2).
    pub cgroup: PathBuf,
    /// Labels of the pod.
    pub labels: BTreeMap<String, String>,
    /// Phase as in the pod's status, such as `Running`.
    pub phase: String,
    /// Processes of its containers, in the order of the pod's spec. A container without a live process is left out.
    pub containers: Vec<ContainerProcess>,
}

/// The first process of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerProcess {
    /// Name of the container.
    pub name: String,
    /// Process ID in the kubelet's PID namespace.
    pub pid: i32,
    /// When the process started, in clock ticks since boot: field 22 of `/proc/<pid>/stat`. It tells the process
    /// from a later one with the same ID.
    pub pid_start_ticks: u64,
}

/// A pod's state file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("failed to {act} pod state `{}`", path.display())]
pub struct PodStateError {
    /// What was tried: `read`, `write`, `decode`, `list` or `remove`.
    act: &'static str,
    /// The file or folder.
    path: PathBuf,
    /// Why.
    #[source]
    source: std::io::Error,
}

impl PodState {
    /// Path of the state file of a pod below a kubelet's state directory.
    pub fn path(state_dir: &Path, namespace: &str, name: &str) -> PathBuf {
        Self::folder(state_dir).join(format!("{namespace}_{name}.json"))
    }

    /// Folder with all state files below a kubelet's state directory.
    pub fn folder(state_dir: &Path) -> PathBuf {
        state_dir.join(PODS_FOLDER)
    }

    /// Reads one file.
    pub fn read(path: &Path) -> Result<Self, PodStateError> {
        let bytes = fs::read(path).map_err(error("read", path))?;
        serde_json::from_slice(&bytes).map_err(|source| error("decode", path)(source.into()))
    }

    /// All pods below a kubelet's state directory, by namespace and name. A pod that goes away meanwhile is left out;
    /// a folder that does not exist holds none.
    pub fn list(state_dir: &Path) -> Result<Vec<Self>, PodStateError> {
        let folder = Self::folder(state_dir);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(error("list", &folder)(source)),
        };
        let mut pods = Vec::new();
        for entry in entries {
            let path = entry.map_err(error("list", &folder))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match Self::read(&path) {
                Ok(pod) => pods.push(pod),
                Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        Ok(pods)
    }

    /// Writes the file so that a reader sees the old content or the new one, never a part.
    pub fn write(&self, state_dir: &Path) -> Result<(), PodStateError> {
        let path = Self::path(state_dir, &self.namespace, &self.name);
        let bytes = serde_json::to_vec_pretty(self).map_err(|source| error("write", &path)(source.into()))?;
        files::replace(&path, &bytes).map_err(error("write", &path))
    }

    /// Removes the pod's file, if it is still this pod's (same UID) and not that of a successor with the same name.
    pub fn remove(state_dir: &Path, namespace: &str, name: &str, uid: &str) -> Result<(), PodStateError> {
        let path = Self::path(state_dir, namespace, name);
        match Self::read(&path) {
            Ok(pod) if pod.uid == uid => fs::remove_file(&path).map_err(error("remove", &path)),
            Ok(_) => Ok(()),
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl ContainerProcess {
    /// Whether this very process is still there (a zombie counts as gone).
    pub fn is_alive(&self) -> bool {
        start_ticks(self.pid) == Some(self.pid_start_ticks)
    }
}

/// Start time of a live process in clock ticks since boot; none when it is gone or a zombie. Source: proc(5).
pub fn start_ticks(pid: i32) -> Option<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields after the last `)`: the command may itself contain spaces and brackets.
fn parse_stat(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    // Field 3 is the state, which was just taken; field 22 is the start time.
    fields.nth(18)?.parse().ok()
}

fn error(act: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PodStateError {
    let path = path.to_owned();
    move |source| PodStateError { act, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str) -> PodState {
        PodState {
            namespace: "default".into(),
            name: "x-wing-1".into(),
            uid: uid.into(),
            ip: Ipv4Addr::new(10, 1, 1, 2),
            netns: "/run/netns/mb-test".into(),
            cgroup: "/sys/fs/cgroup/meshbed".into(),
            labels: BTreeMap::from([("name".into(), "x-wing".into())]),
            phase: "Running".into(),
            containers: vec![ContainerProcess { name: "x-wing".into(), pid: 1, pid_start_ticks: 2 }],
        }
    }

    #[test]
    fn written_state_is_listed_and_removed_by_uid() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(PodState::folder(folder.path())).expect("a folder in it");
        pod("a").write(folder.path()).expect("written");
        assert_eq!(PodState::list(folder.path()).expect("listed"), vec![pod("a")]);
        PodState::remove(folder.path(), "default", "x-wing-1", "b").expect("nothing to do");
        assert_eq!(PodState::list(folder.path()).expect("listed").len(), 1, "another pod's file stays");
        PodState::remove(folder.path(), "default", "x-wing-1", "a").expect("removed");
        assert_eq!(PodState::list(folder.path()).expect("listed"), vec![]);
    }

    #[test]
    fn start_time_is_found_behind_any_command() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 100 200";
        assert_eq!(parse_stat(stat), Some(98765));
        assert_eq!(parse_stat(&stat.replace(") S", ") Z")), None, "a zombie answers nobody");
    }

    #[test]
    fn this_process_is_alive() {
        let pid = i32::try_from(std::process::id()).expect("PIDs are below 2^22");
        let ticks = start_ticks(pid).expect("we run");
        assert!(ContainerProcess { name: String::new(), pid, pid_start_ticks: ticks }.is_alive());
        assert!(!ContainerProcess { name: String::new(), pid, pid_start_ticks: ticks + 1 }.is_alive());
    }
}
