//! What many runs of one scenario say together: pass rates, flaky expectations, percentiles.

mod html;
mod junit;
mod markdown;
mod summary;
mod terminal;
mod yaml;

pub use html::html;
pub use junit::junit;
pub use markdown::markdown;
pub use summary::{ExpectationRate, FaultTimes, RepeatSummary, RunLine};
pub use terminal::terminal;
pub use yaml::{schema, yaml};
