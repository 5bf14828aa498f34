//! One case of a profile and what came of it.

use std::time::Duration;

use meshbed_events::{Micros, RunRecord, Stopwatch, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Summary, findings, words};

/// Findings in the reason of one case: the record has all.
const FINDINGS_MAX: usize = 10;

/// A case: a question to the agent that is answered by running a scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaseReport {
    /// Identifies the case for good, such as `failover/all-local-backends-die`.
    pub id: String,
    /// What it asks, in a sentence.
    pub title: String,
    /// Whether the profile is conformant only if this case is.
    pub required: bool,
    /// The issue that the case comes from, such as `cilium/cilium#12345`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<String>,
    /// What came of it.
    pub result: CaseResult,
    /// Why, unless it is conformant: one finding a line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The command that runs this case alone again.
    pub reproduce: String,
    /// How long it took, in milliseconds; absent when it was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<f64>,
    /// What its faults cost; absent when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopwatch: Option<StopwatchSummary>,
}

/// What came of a case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CaseResult {
    /// Every expectation held, and the oracle found nothing wrong.
    Conformant,
    /// An expectation did not hold, or the oracle found something wrong.
    NonConformant,
    /// A fault had no witness, or the environment or Kubernetes itself failed: nothing was shown.
    Invalid,
    /// The agent does not claim what the case needs.
    Unsupported,
    /// It was not run.
    #[default]
    NotRun,
}

impl CaseResult {
    /// What a run says about its case.
    pub fn of(summary: &Summary) -> Self {
        match summary.verdict() {
            Some(Verdict::Passed) => Self::Conformant,
            Some(Verdict::Failed) => Self::NonConformant,
            // The engine only says so when Kubernetes itself did not settle; an agent that does not is a failure.
            Some(Verdict::TimedOut | Verdict::Environment | Verdict::Invalid) | None => Self::Invalid,
            Some(Verdict::Interrupted) => Self::NotRun,
        }
    }

    /// All results, the ones that need attention first.
    pub const ALL: [Self; 5] = [Self::NonConformant, Self::Invalid, Self::NotRun, Self::Unsupported, Self::Conformant];

    /// The word used in tables and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conformant => "conformant",
            Self::NonConformant => "non-conformant",
            Self::Invalid => "invalid",
            Self::Unsupported => "unsupported",
            Self::NotRun => "not run",
        }
    }
}

/// The worst that the faults of a case cost, in milliseconds since their injection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StopwatchSummary {
    /// Until the mesh had noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detected_ms: Option<f64>,
    /// Until the first answer of another backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_answer_ms: Option<f64>,
    /// Until the last request that failed because of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_ms: Option<f64>,
    /// Until the last node's maps were right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maps_right_ms: Option<f64>,
    /// Requests that failed because of all faults together.
    pub requests_lost: u64,
}

impl StopwatchSummary {
    /// The worst times of all stopwatches of a run; `None` when it has none.
    pub fn of(summary: &Summary) -> Option<Self> {
        if summary.stopwatches.is_empty() {
            return None;
        }
        let worst = |time: fn(&Stopwatch) -> Option<Micros>| {
            let times = summary.stopwatches.iter().filter_map(|one| Some(time(one)?.since(one.injected)));
            times.max().map(words::millis)
        };
        Some(Self {
            detected_ms: worst(|one| one.detected),
            first_answer_ms: worst(|one| one.first_answer_after),
            last_error_ms: worst(|one| one.last_error),
            maps_right_ms: worst(|one| one.last_map_right),
            requests_lost: summary.stopwatches.iter().map(|one| one.requests_lost).sum(),
        })
    }
}

impl CaseReport {
    /// How long it took.
    pub fn duration(&self) -> Option<Duration> {
        self.duration_ms.and_then(|millis| Duration::try_from_secs_f64(millis / 1e3).ok())
    }

    /// Fills result, reason, duration and stopwatch from the run that answered the case.
    ///
    /// The command that reproduces it is the run's own, unless one was set.
    #[must_use]
    pub fn judged_by(mut self, record: &RunRecord) -> Self {
        let summary = Summary::of(record);
        self.result = CaseResult::of(&summary);
        self.reason = if self.result == CaseResult::Conformant { String::new() } else { reason(&summary) };
        self.duration_ms = Some(words::millis(Duration::from_micros(summary.duration.0)));
        self.stopwatch = StopwatchSummary::of(&summary);
        if self.reproduce.is_empty() {
            self.reproduce = words::reproduction(&summary.info);
        }
        self
    }
}

/// What did not go well, one finding a line.
fn reason(summary: &Summary) -> String {
    let mut lines: Vec<String> = findings::all(summary).into_iter().map(|finding| finding.text).collect();
    if lines.is_empty() {
        lines.push(words::ending_sentence(summary.ending).to_owned());
        lines.extend(summary.notes.last().map(|note| note.text.clone()));
    }
    let hidden = lines.len().saturating_sub(FINDINGS_MAX);
    lines.truncate(FINDINGS_MAX);
    lines.extend((hidden > 0).then(|| format!("and {hidden} more")));
    lines.join("\n")
}
