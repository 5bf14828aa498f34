//! What differs between two runs: `meshbed diff RUN RUN`.
//!
//! Two good runs of one scenario never take the same time, so only behaviour decides whether they are the same:
//! verdicts, steps, expectations, who answered, which errors there were, what the maps meant at the end. Times are shown
//! beside each other.

mod behaviour;
mod text;
mod times;

use meshbed_events::RunRecord;

use crate::{Summary, places::Places};

/// How two runs differ.
#[derive(Clone, Debug, PartialEq)]
pub struct RunDiff {
    /// IDs of the runs.
    pub runs: [String; 2],
    /// Differences in what happened.
    pub behaviour: Vec<Difference>,
    /// Times and counts of both, also where they are the same.
    pub times: Vec<TimeRow>,
}

/// A difference in what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Of what sort.
    pub aspect: Aspect,
    /// Of what, such as a step and a client.
    pub of: String,
    /// What the first run has.
    pub left: String,
    /// What the second run has.
    pub right: String,
}

/// Sorts of differences, in the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// The runs are of different scenarios or topologies.
    Scenario,
    /// How the runs ended.
    Verdict,
    /// A step's outcome, or a step that one run does not have.
    Steps,
    /// An expectation held in one run only.
    Expectations,
    /// Which clusters answered steady requests.
    Answers,
    /// Which errors steady requests met.
    Errors,
    /// A fault that one run does not have, or that has no witness in one of them.
    Faults,
    /// What the oracle does not allow.
    Violations,
    /// What a node's maps meant when the last step ended.
    Maps,
}

/// A time or count of both runs.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeRow {
    /// Of what.
    pub of: String,
    /// What is measured.
    pub unit: Unit,
    /// Of the first run, if it has it.
    pub left: Option<f64>,
    /// Of the second run.
    pub right: Option<f64>,
}

/// What a [`TimeRow`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Millis,
    /// Plain number.
    Count,
}

impl Aspect {
    /// The word used in texts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scenario => "scenario",
            Self::Verdict => "verdict",
            Self::Steps => "step",
            Self::Expectations => "expectation",
            Self::Answers => "answers",
            Self::Errors => "errors",
            Self::Faults => "fault",
            Self::Violations => "violations",
            Self::Maps => "maps",
        }
    }
}

impl RunDiff {
    /// Compares two runs.
    pub fn of(left: &RunRecord, right: &RunRecord) -> Self {
        let summaries = [Summary::of(left), Summary::of(right)];
        let places = [Places::of(left), Places::of(right)];
        Self {
            runs: [summaries[0].info.run.clone(), summaries[1].info.run.clone()],
            behaviour: behaviour::differences(&summaries, &places),
            times: times::rows(&summaries),
        }
    }

    /// Whether the same happened in both, however long it took.
    pub fn same(&self) -> bool {
        self.behaviour.is_empty()
    }

    /// The difference as a person reads it.
    pub fn text(&self) -> String {
        text::text(self)
    }
}
