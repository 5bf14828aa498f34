//! Steps: what they do and what they expect.

use std::{fmt, time::Duration};

use crate::{Language, Located, MapLimits};

/// One step: actions in order, then the mesh settles, then a steady window, then the expectations.
#[derive(Clone, Debug)]
pub struct Step<L: Language> {
    /// Its name; made from its actions when the file gives none. A step that is repeated has the case in its name.
    pub name: String,
    /// Where it stands.
    pub at: Located<()>,
    /// What to do, in order; may be empty.
    pub actions: Vec<Located<Act<L>>>,
    /// Whether the mesh must settle before expectations are judged.
    pub settle: Settle,
    /// Requests that each client finishes after settling before the expectations are judged.
    pub steady_requests: u32,
    /// How long maps may be wrong in this step; as in the scenario when absent.
    pub maps: Option<MapLimits>,
    /// What must hold; may be empty.
    pub expectations: Vec<Located<Expected<L>>>,
}

/// Requests of the steady window when a step does not say: one second of the default rate.
pub const STEADY_REQUESTS_DEFAULT: u32 = 200;

/// Whether the mesh must settle after the actions of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Settle {
    /// It must.
    #[default]
    Yes,
    /// It need not: a fault of this step keeps it from settling.
    No,
    /// It must, and maps may take this long once Kubernetes has settled.
    Within(Duration),
}

impl fmt::Display for Settle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("settle"),
            Self::No => f.write_str("do not settle"),
            Self::Within(time) => write!(f, "settle within {}", humantime::format_duration(*time)),
        }
    }
}

/// One thing that a step does.
#[derive(Clone, Debug)]
pub enum Act<L: Language> {
    /// An action of the language.
    Do(L::Action),
    /// Start the clients of a probe.
    StartProbe(String),
    /// Stop the clients of a probe.
    StopProbe(String),
    /// Inject a fault.
    Fault {
        /// Its name, unique among the faults that are in force.
        name: String,
        /// What it does.
        fault: L::Fault,
    },
    /// Undo the fault of this name.
    Heal(String),
    /// Do all of these at the same time.
    Parallel(Vec<Located<Act<L>>>),
}

impl<L: Language> fmt::Display for Act<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Do(action) => action.fmt(f),
            Self::StartProbe(name) => write!(f, "start probe {name}"),
            Self::StopProbe(name) => write!(f, "stop probe {name}"),
            Self::Fault { name, fault } => write!(f, "{fault} ({name})"),
            Self::Heal(name) => write!(f, "heal {name}"),
            Self::Parallel(acts) => {
                let acts: Vec<String> = acts.iter().map(|act| act.value.to_string()).collect();
                write!(f, "at the same time: {}", acts.join("; "))
            }
        }
    }
}

/// One thing that a step expects.
#[derive(Clone, Debug)]
pub struct Expected<L: Language> {
    /// What must hold, or never happen.
    pub expect: L::Expect,
    /// When.
    pub when: When,
}

/// When something is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At the end of the step.
    AtEnd,
    /// This long after the actions at the latest.
    Within(Duration),
    /// At no time during the step.
    Never,
}

impl<L: Language> fmt::Display for Expected<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.when {
            When::AtEnd => self.expect.fmt(f),
            When::Within(time) => write!(f, "within {}: {}", humantime::format_duration(time), self.expect),
            When::Never => write!(f, "never: {}", self.expect),
        }
    }
}
