//! What happens: probes, steps, actions and expectations.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use mesh_types::ServiceKey;

use crate::{Action, DeploymentKey, Diagnostics, Expect, Located, Position, Topology};

/// A scenario and the topology that it runs on. Valid by construction: every cluster, probe and fault that is
/// named exists, every manifest file is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    pub(crate) file: PathBuf,
    pub(crate) name: String,
    pub(crate) question: String,
    pub(crate) topology_file: PathBuf,
    pub(crate) topology: Topology,
    pub(crate) grace: Duration,
    pub(crate) deadline: Duration,
    pub(crate) probes: Vec<Probe>,
    pub(crate) steps: Vec<Step>,
}

impl Scenario {
    /// Reads and checks the scenario file `path` and the topology that it names.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Diagnostics> {
        crate::read_scenario::load(path.as_ref())
    }

    /// Reads and checks `text`; `file` is what findings call it, and files that it names are looked for relative
    /// to the folder of `file`.
    pub fn parse(text: &str, file: impl AsRef<Path>) -> Result<Self, Diagnostics> {
        crate::read_scenario::parse(text, file.as_ref())
    }

    /// The file that it was read from, as it was given.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The question that it answers.
    pub fn question(&self) -> &str {
        &self.question
    }

    /// The topology's file, relative to the working directory.
    pub fn topology_file(&self) -> &Path {
        &self.topology_file
    }

    /// What it runs on.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// How far before a request's start the oracle looks back.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// How long a step may take to settle.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Its probes, in the order of the file.
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    /// The probe called `name`.
    pub fn probe(&self, name: &str) -> Option<&Probe> {
        self.probes.iter().find(|probe| probe.name == name)
    }

    /// Its steps, in order; at least one.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

/// Clients that ask a service at a steady rate: every ready pod of a deployment, in every cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Its name, unique in the scenario.
    pub name: String,
    /// The deployment whose pods are the clients.
    pub from: DeploymentKey,
    /// The service that they ask.
    pub service: ServiceKey,
    /// The service port that they ask.
    pub port: u16,
    /// Requests a second of each client.
    pub rate: NonZeroU32,
    /// How long a client waits for an answer.
    pub timeout: Duration,
    /// Where it stands in the scenario file.
    pub position: Position,
}

/// One step: actions in order, then the mesh settles, then a steady window, then the expectations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name; made from its actions when the file gives none.
    pub name: String,
    /// Where it stands in the scenario file.
    pub position: Position,
    /// What to do, in order; may be empty.
    pub actions: Vec<Located<Action>>,
    /// Requests that each client finishes after settling before the expectations are judged.
    pub steady_requests: u32,
    /// What must hold; may be empty.
    pub expectations: Vec<Located<Expect>>,
}

/// Requests of the steady window when a step does not say: one second of the default rate.
pub const STEADY_REQUESTS_DEFAULT: u32 = 200;
