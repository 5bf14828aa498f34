//! The netns environment: brings a topology up on this machine and takes it down without a trace.
//!
//! [`up`] makes network namespaces, cgroups, bpffs mounts and certificates, starts the processes of a mesh in them and
//! returns a [`Mesh`]; [`down`] removes a run by its ID alone, whoever made it and however far it came. Everything
//! that a run owns carries its [`RunId`] in its name. The README of this folder has the picture.
//!
//! Not here: pods (the kubelet makes them), faults and what any of it means (the engine).

mod cgroup;
mod command;
mod config;
mod down;
mod error;
mod gate;
mod ground;
mod inventory;
mod layout;
mod links;
mod mesh;
mod mount_table;
mod namespace;
mod notify;
mod options;
mod pki;
mod preflight;
mod process;
mod process_table;
mod programs;
mod run_id;
mod site;
mod state;
mod teardown;
#[cfg(test)]
mod testing;
mod up;

pub use command::{command_in_netns, command_in_node};
pub use down::down;
pub use error::{DownError, DownErrorKind, PkiError, ProcessError, SystemError, UpError, UpErrorKind};
pub use inventory::{Orphan, find_run, leftovers, orphans, runs};
pub use layout::{pod_netns_prefix, run_dir, run_json};
pub use mesh::{ExitedProcess, Mesh};
pub use namespace::in_netns;
pub use options::{OnFailure, Programs, UpOptions};
pub use preflight::{Missing, preflight};
pub use run_id::{RunId, RunIdError};
pub use state::{ClusterState, NodeState, ProcessIdentity, ProcessRole, ProcessState, RunState};
pub use up::{up, up_network_and_etcd};
