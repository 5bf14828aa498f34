//! What must be done where a cluster is: on this machine, or by the outpost on another one.
//!
//! An [`Errand`] is done once and has a result. What goes on (probes, maps, logs) has a connection of its own; see [`Question`].

mod backends;
mod errand;
mod follow;
mod pods;
mod serve;
mod traces;

use std::path::PathBuf;

use meshbed_node::PodState;
use serde::{Deserialize, Serialize};

pub(crate) use backends::Backend;
pub(crate) use errand::{Errand, Output, Packets, Stopped, run};
pub(crate) use follow::Followers;
pub(crate) use pods::{PodOn, of_cluster};
pub use serve::answerer;
pub(crate) use traces::fetch as fetch_traces;

use crate::{logs::Since, maps::Pace};

/// What the engine asks an outpost for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Question {
    /// Answered with what came of it.
    Errand(Errand),
    /// A program of ours in a pod: what it prints comes back as it is, until it ends. The end of our half of the connection asks it
    /// to end.
    Program {
        /// The pod.
        pod: Box<PodState>,
        /// The program.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
    },
    /// The maps below these bpffs: [`MapsSaid`] comes back; whether something changes at the moment (`bool`) may be said meanwhile.
    Maps(Vec<PathBuf>, Pace, f64),
    /// The logs in a folder: [`Line`](crate::logs::Line)s come back.
    Logs(PathBuf, Since),
}

/// What comes of [`Question::Maps`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MapsSaid {
    /// The maps of a node, by its position in the question, hold this now.
    Changed(usize, Box<meshbed_events::MapState>),
    /// All maps were read; that began at this time there (`CLOCK_MONOTONIC`, nanoseconds).
    Round(u64),
}
