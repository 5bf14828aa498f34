//! How a process is started, and started again, by whoever does it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// Everything that is needed to start a process in its place. Part of `run.json`, so that any program can do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Additions to the environment of whoever starts it.
    pub env: Vec<(String, String)>,
    /// Files that are written before: path and content.
    pub files: Vec<(PathBuf, String)>,
    /// Pinned network namespace.
    pub netns: PathBuf,
    /// cgroup.
    pub cgroup: PathBuf,
    /// The bpffs that it sees as `/sys/fs/bpf`.
    pub bpf_root: Option<PathBuf>,
    /// Root of a cgroup namespace of its own, which it sees as `/sys/fs/cgroup`.
    pub cgroup_root: Option<PathBuf>,
    /// A listener on the machine itself that it inherits.
    pub listen: Option<Listen>,
    /// Where it tells of each step of each change, if it does (`trace` of a `kind: Agent`).
    pub trace: Option<PathBuf>,
    /// Program and arguments that print how its remote clusters are, if it can tell (`status` of a `kind: Agent`).
    pub status: Vec<String>,
    /// Where it says that it is ready.
    pub notify_socket: PathBuf,
    /// When it is ready.
    pub ready: ReadyCheck,
    /// How long it may take to become ready.
    pub ready_timeout: Duration,
    /// Number of the signal that asks it to end (signal(7)).
    pub stop_signal: i32,
}

impl Launch {
    /// Value of the argument behind `flag`, for changing it.
    pub(crate) fn argument_mut(&mut self, flag: &str) -> Option<&mut String> {
        let position = self.arguments.iter().position(|argument| argument == flag)?;
        self.arguments.get_mut(position + 1)
    }
}

/// A listener that a process inherits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// Where it listens, in the machine's own network namespace.
    pub address: SocketAddr,
    /// The flag that tells the process the number of the descriptor.
    pub flag: String,
}

/// When a process is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadyCheck {
    /// It sends `READY=1` to its notification socket.
    Notify,
    /// A GET of this URL from within its network namespace is answered with 2xx.
    Http(String),
    /// This command, run in its place, ends with 0.
    Exec(Vec<String>),
    /// This path exists, as the process sees it.
    Exists(PathBuf),
    /// It ended with 0.
    Ended,
}

#[cfg(test)]
mod tests {
    use super::Launch;

    /// A launch of nothing in particular with `arguments`.
    fn launch(arguments: &[&str]) -> Launch {
        let json = serde_json::json!({
            "program": "/bin/true", "arguments": arguments, "env": [["A", "b"]], "files": [], "netns": "/n", "cgroup": "/c",
            "bpf_root": null, "cgroup_root": "/c", "listen": {"address": "127.0.0.1:1", "flag": "--listen-fd"}, "trace": null,
            "status": [], "notify_socket": "/s", "ready": {"http": "http://127.0.0.1:1/"},
            "ready_timeout": {"secs": 1, "nanos": 0}, "stop_signal": 15,
        });
        let launch: Launch = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&launch).unwrap(), json, "what is stored is what was read");
        launch
    }

    #[test]
    fn arguments_by_flag() {
        let mut launch = launch(&["--token", "a", "--last"]);
        *launch.argument_mut("--token").unwrap() = "b".to_owned();
        assert_eq!(launch.arguments, ["--token", "b", "--last"]);
        assert_eq!(launch.argument_mut("--last"), None);
        assert_eq!(launch.argument_mut("--other"), None);
    }
}
