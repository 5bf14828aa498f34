//! The netns environment: brings a topology up on this machine and takes it down without a trace.
//!
//! [`up`] makes network namespaces, cgroups, bpffs mounts and certificates, starts the processes of a mesh in them and
//! returns a [`Mesh`]; [`down`] removes a run by its ID alone, whoever made it and however far it came. Everything
//! that a run owns carries its [`RunId`] in its name. The README of this folder has the picture.
//!
//! [`Control`] changes a running mesh on purpose and returns what the kernel showed of it; which agent is under test says
//! a file (`meshbed_scenario::AgentSpec`).
//!
//! Not here: pods (the kubelet makes them), what a fault is and what any of it means (the engine), and etcd's keys
//! (`meshbed-etcd`).

mod agent;
mod cgroup;
mod command;
mod config;
mod control;
mod down;
mod error;
mod etcd_setup;
mod etcd_users;
mod gate;
mod ground;
mod http;
mod inventory;
mod launch;
mod layout;
mod links;
mod log_end;
mod mesh;
mod mount_table;
mod namespace;
mod network;
mod notify;
mod options;
mod outpost;
mod pidfd;
mod pki;
mod preflight;
mod process;
mod process_table;
mod programs;
mod ready;
mod rejection;
mod run_id;
mod serial;
mod site;
mod state;
mod teardown;
#[cfg(test)]
mod testing;
mod up;
mod wal;

pub use command::{command_in_netns, command_in_node};
pub use control::{
    Authority, CertificateName, ClusterBooted, ClusterCrashed, Control, ControlError, ControlErrorKind, END_DEADLINE,
    Emptied, Ended, EtcdReset, Frozen, LinkSeen, MeshConfig, NodeBooted, NodeCrashed, Reissued, Resumed, Rotated,
    Started, Suspended, Thawed, Validity,
};
pub use down::down;
pub use error::{
    DownError, DownErrorKind, EtcdSetupError, PkiError, ProcessError, SystemError, UpError, UpErrorKind, chain,
};
pub use etcd_users::{EtcdRole, KeyRange};
pub use inventory::{Orphan, find_run, leftovers, orphans, runs};
pub use launch::{Launch, Listen, ReadyCheck};
pub use layout::{pod_netns_prefix, run_dir, run_json, topology_yaml};
pub use links::Link;
pub use log_end::LogEnd;
pub use mesh::{ExitedProcess, Mesh};
pub use namespace::in_netns;
pub use options::{OnFailure, Programs, UpOptions};
pub use outpost::{
    Answer, Answerer, Hello, OUTPOST, OUTPOSTS, Outpost, OutpostLink, Reader, Writer, kernel_release, monotonic_ns,
    receive, send, serve as serve_outpost,
};
pub use preflight::{Missing, agent_preflight, agent_programs, preflight};
pub use rejection::Rejection;
pub use run_id::{RunId, RunIdError};
pub use serial::Serial;
pub use state::{AgentSetup, ClusterState, CutLink, NodeState, ProcessIdentity, ProcessRole, ProcessState, RunState};
pub use up::{up, up_network_and_etcd};
