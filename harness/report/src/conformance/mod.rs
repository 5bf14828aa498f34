//! What a whole profile of cases says about an agent: `reports/conformance/<agent>-<env>-<kernel>.yaml` and its renderings.
//!
//! The model is apart from [`RunRecord`](meshbed_events::RunRecord): a conformance report is about many runs, and is kept
//! under git long after their records are gone.

mod case;
mod html;
mod markdown;
mod profile;
mod report;
mod terminal;
mod yaml;

pub use case::{CaseReport, CaseResult, StopwatchSummary};
pub use html::html;
pub use markdown::markdown;
pub use profile::{ProfileReport, ProfileResult};
pub use report::{API_VERSION, ConformanceReport, KIND};
pub use terminal::terminal;
pub use yaml::{ReadError, read, schema, yaml};
