//! Percentiles as they are written.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{Distribution, words};

/// Percentiles of durations, in milliseconds.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Percentiles {
    /// How many durations there were.
    count: u64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Percentiles {
    /// Those of `times`; `None` when there is none.
    pub(crate) fn of(times: &Distribution) -> Option<Self> {
        Some(Self {
            count: times.count(),
            p50_ms: words::millis(times.duration(50.0)?),
            p90_ms: words::millis(times.duration(90.0)?),
            p99_ms: words::millis(times.duration(99.0)?),
            max_ms: words::millis(times.longest()?),
        })
    }
}
