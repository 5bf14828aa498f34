//! Runs a scenario on a mesh: actions, faults with witnesses, probes, belief against reality, and the verdict.
//!
//! The engine owns time and I/O; what it decides with is pure: the oracle (`meshbed-oracle`), the conditions of
//! settling ([`settle`]), the expectations ([`expect`]) and the stopwatch ([`stopwatch`]) take values and return
//! values. Everything that happens becomes an event of `meshbed-events`; reports are made from those alone.
//!
//! The engine reads BPF maps by pin path and Cilium's layout, never through the agent under test.

mod action;
pub mod bench;
mod by_hand;
mod clear;
mod clock;
mod expect;
mod fault;
mod fence;
mod kubernetes;
mod language;
mod logs;
mod maps;
mod observers;
mod place;
mod probe;
mod propagation;
mod recorder;
mod run;
mod settle;
mod stage;
mod steps;
mod stopwatch;
pub mod truth_table;
mod view;
mod watch;
mod world;

pub use by_hand::{ByHand, ByHandError, FaultFile, FaultState, HeldFault, Told, faults_dir};
pub use clock::RunClock;
pub use fault::AnyFault;
pub use kubernetes::{Cluster, KubernetesError};
pub use language::{Mesh, Scenario};
pub use maps::{MapReadError, read_maps};
pub use place::answerer;
pub use recorder::{Listener, Recorder};
pub use run::{Keep, RunOptions, RunOutcome, run};
pub use view::{
    AnswersView, ClusterView, MeshView, NodeView, ServiceView, ViewError, Viewer, ViewerOptions, ViewerProbe, WrongView,
};
