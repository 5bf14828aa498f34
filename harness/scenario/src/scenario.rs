//! What happens: probes and steps.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{Conformance, Diagnostics, Language, MapLimits, Plan, Probe, Step, Topology};

/// A scenario and the topology that it runs on. Valid by construction: every cluster, probe and fault that is
/// named exists, every manifest file is there. Blocks are expanded and parameters filled in.
#[derive(Clone, Debug)]
pub struct Scenario<L: Language> {
    pub(crate) file: PathBuf,
    pub(crate) name: String,
    pub(crate) question: String,
    pub(crate) description: Option<String>,
    pub(crate) topology_file: PathBuf,
    pub(crate) topology: Topology,
    pub(crate) grace: Duration,
    pub(crate) deadline: Duration,
    pub(crate) seed: Option<u64>,
    pub(crate) slowness: f64,
    pub(crate) maps: MapLimits,
    pub(crate) conformance: Option<Conformance>,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) probes: Vec<Probe>,
    pub(crate) steps: Vec<Step<L>>,
}

impl<L: Language> Scenario<L> {
    /// Reads and checks the scenario file `path`, the topology that it names and the files that it includes.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Diagnostics> {
        Self::load_with(path, &BTreeMap::new())
    }

    /// The same with other values for some of its parameters.
    pub fn load_with(path: impl AsRef<Path>, parameters: &BTreeMap<String, String>) -> Result<Self, Diagnostics> {
        crate::read_scenario::load(path.as_ref(), parameters)
    }

    /// Reads and checks `text`; `file` is what findings call it, and files that it names are looked for relative
    /// to the folder of `file`.
    pub fn parse(text: &str, file: impl AsRef<Path>) -> Result<Self, Diagnostics> {
        Self::parse_with(text, file, &BTreeMap::new())
    }

    /// The same with other values for some of its parameters.
    pub fn parse_with(
        text: &str,
        file: impl AsRef<Path>,
        parameters: &BTreeMap<String, String>,
    ) -> Result<Self, Diagnostics> {
        crate::read_scenario::parse(text, file.as_ref(), parameters)
    }

    /// What it does and expects, in words.
    pub fn plan(&self) -> Plan {
        Plan::of(self)
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

    /// More about it, for people.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
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

    /// What all randomness of a run comes from, when the scenario says.
    pub fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// How long maps may be wrong; steps may say otherwise.
    pub fn maps(&self) -> MapLimits {
        self.maps
    }

    /// What it is as a case of the conformance suite.
    pub fn conformance(&self) -> Option<&Conformance> {
        self.conformance.as_ref()
    }

    /// The values of its parameters, by name.
    pub fn parameters(&self) -> &BTreeMap<String, String> {
        &self.parameters
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
    pub fn steps(&self) -> &[Step<L>] {
        &self.steps
    }
}
