//! A node of the mesh: an emulated kubelet that runs pods as processes of this machine, and a way into those pods.
//!
//! A pod is a network namespace with a veth pair to the node's own namespace, a cgroup, and one process a
//! container in a private mount namespace over the machine's files. There are no images: a [catalogue] maps image
//! names to the programs of the binary `meshbed-pod` that this crate builds as well.
//!
//! Not here: the node's namespace, cgroup, bridge port and routes to other nodes (the driver makes them before it
//! starts the kubelet inside), and anything about services beyond their names (the mesh agent's datapath does that).
//!
//! [catalogue]: kubelet::catalogue

mod child;
pub mod exec;
mod files;
pub mod http;
pub mod kubelet;
mod pod_state;

pub use pod_state::{ContainerProcess, PodState, PodStateError, start_ticks};
