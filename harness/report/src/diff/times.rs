//! Times and counts of two runs beside each other.

use std::collections::BTreeMap;
use std::time::Duration;

use meshbed_events::{Micros, Stopwatch};

use super::{TimeRow, Unit};
use crate::{Summary, words};

/// The rows of one run, in order, by what they are of.
type Rows = Vec<(String, Unit, Option<f64>)>;

/// A moment of a stopwatch, if it was reached.
type Reading = fn(&Stopwatch) -> Option<Micros>;

/// The rows of both runs.
pub(super) fn rows(summaries: &[Summary; 2]) -> Vec<TimeRow> {
    let [left, right] = [of_run(&summaries[0]), of_run(&summaries[1])];
    let mut values: BTreeMap<String, Option<f64>> = right.iter().map(|(of, _, value)| (of.clone(), *value)).collect();
    let mut rows: Vec<TimeRow> = Vec::new();
    for (of, unit, value) in left {
        let other = values.remove(&of).flatten();
        rows.push(TimeRow { of, unit, left: value, right: other });
    }
    for (of, unit, value) in right {
        if values.contains_key(&of) {
            rows.push(TimeRow { of, unit, left: None, right: value });
        }
    }
    rows.retain(|row| row.left.is_some() || row.right.is_some());
    rows
}

fn of_run(summary: &Summary) -> Rows {
    let millis = |duration: Option<Duration>| duration.map(words::millis);
    let since_start = |at: Micros| words::round(at.as_millis_f64());
    let mut rows: Rows = vec![
        ("mesh ready".into(), Unit::Millis, summary.mesh_ready.map(since_start)),
        ("whole run".into(), Unit::Millis, Some(since_start(summary.duration))),
        ("requests".into(), Unit::Count, Some(summary.total.requests as f64)),
        ("requests failed".into(), Unit::Count, Some(summary.total.failed() as f64)),
        ("answers p50".into(), Unit::Millis, millis(summary.total.answer_latency.p50())),
        ("answers p99".into(), Unit::Millis, millis(summary.total.answer_latency.p99())),
        ("oldest stale entry".into(), Unit::Millis, millis(summary.stale_max())),
        ("oldest missing entry".into(), Unit::Millis, millis(summary.missing_max())),
    ];
    for (position, stopwatch) in summary.stopwatches.iter().enumerate() {
        let of = format!("{}. {}", position + 1, summary.stopwatch_title(stopwatch));
        let times: [(&str, Reading); 4] = [
            ("detected", |one| one.detected),
            ("first answer", |one| one.first_answer_after),
            ("last error", |one| one.last_error),
            ("maps right", |one| one.last_map_right),
        ];
        for (name, time) in times {
            rows.push((
                format!("{of}: {name}"),
                Unit::Millis,
                time(stopwatch).map(|at| words::round(words::offset_ms(stopwatch.injected, at))),
            ));
        }
        rows.push((format!("{of}: lost"), Unit::Count, Some(stopwatch.requests_lost as f64)));
    }
    for (leg, times) in summary.changes.legs() {
        for percent in [50.0, 99.0] {
            rows.push((format!("{} p{percent}", leg.as_str()), Unit::Millis, millis(times.duration(percent))));
        }
    }
    rows
}
