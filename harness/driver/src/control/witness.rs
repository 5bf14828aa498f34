//! What the kernel showed when something had been done.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A process ended: its pidfd became readable, and it was waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its name.
    pub process: String,
    /// Its number, which is free again.
    pub pid: u32,
}

/// A process was started and said that it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its name.
    pub process: String,
    /// Its number.
    pub pid: u32,
}

/// A process is stopped (SIGSTOP): each of its threads was seen in state `T`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspended {
    /// Its name.
    pub process: String,
    /// Its number.
    pub pid: u32,
    /// How many threads it has.
    pub threads: usize,
}

/// A process goes on (SIGCONT): none of its threads was seen in state `T`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// Its name.
    pub process: String,
    /// Its number.
    pub pid: u32,
    /// How many threads it has.
    pub threads: usize,
}

/// A cgroup is frozen: `frozen 1` in its `cgroup.events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// The cgroup.
    pub cgroup: PathBuf,
    /// Processes in it and below. Without any, nothing was stopped.
    pub processes: usize,
}

/// A cgroup is not frozen: `frozen 0` in its `cgroup.events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thawed {
    /// The cgroup.
    pub cgroup: PathBuf,
    /// Processes in it and below.
    pub processes: usize,
}

/// A cgroup has no processes any more: `populated 0` in its `cgroup.events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emptied {
    /// The cgroup.
    pub cgroup: PathBuf,
    /// Processes that were in it and below before.
    pub killed: Vec<u32>,
}

/// How the far end of a link sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSeen {
    /// Namespace of the far end: the node's, or the router's.
    pub netns: PathBuf,
    /// Name of the interface there.
    pub interface: String,
    /// Whether it has a carrier (`IFF_LOWER_UP`).
    pub carrier: bool,
}

/// A node lost its power.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCrashed {
    /// The node.
    pub node: String,
    /// Its link, taken down first so that nobody heard of the end.
    pub link: LinkSeen,
    /// Its processes, pods included.
    pub emptied: Emptied,
    /// BPF pins that vanished with it.
    pub pins: usize,
    /// Network namespaces that vanished with it: its own and those of its pods.
    pub namespaces: usize,
}

/// A node runs again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeBooted {
    /// The node.
    pub node: String,
    /// Its kubelet and its agent.
    pub started: Vec<Started>,
    /// Its link.
    pub link: LinkSeen,
}

/// A whole cluster lost its power.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterCrashed {
    /// The cluster.
    pub cluster: String,
    /// Its link to the others, taken down first.
    pub link: LinkSeen,
    /// Its control plane.
    pub control_plane: Emptied,
    /// Its nodes, without those that were off before.
    pub nodes: Vec<NodeCrashed>,
}

/// A whole cluster runs again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterBooted {
    /// The cluster.
    pub cluster: String,
    /// Its link to the others.
    pub link: LinkSeen,
    /// etcd, API server and exporter.
    pub control_plane: Vec<Started>,
    /// Its nodes.
    pub nodes: Vec<NodeBooted>,
}

/// An etcd lost its data and has another identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdReset {
    /// The cluster.
    pub cluster: String,
    /// etcd's cluster ID before, in hexadecimal digits.
    pub before: String,
    /// etcd's cluster ID now; another one.
    pub after: String,
}
