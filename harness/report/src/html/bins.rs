//! Requests by time of sending, in bins: a page must stay small however many requests there were.

use std::collections::BTreeMap;

use meshbed_events::{Event, Micros, Outcome, RunRecord};

use super::svg::{put, round_up};

/// Bins aimed at: about five pixels each.
const BINS_AIM: f64 = 220.0;

/// Bins at least, however slow the clients are.
const BINS_MIN: f64 = 40.0;

/// Fine bins at most: what the script draws from when a run has too many requests to draw each.
const FINE_MAX: f64 = 4_000.0;

/// The smallest bin.
const WIDTH_MIN_MS: f64 = 10.0;

/// Requests of one client in a bin at least: with fewer, chance is all that the heights show.
const REQUESTS_MIN: f64 = 10.0;

/// What became of the requests that one cluster's clients sent within each bin.
pub(super) struct Bins {
    /// Milliseconds a bin.
    pub(super) width_ms: f64,
    /// By cluster of the clients.
    pub(super) clients: BTreeMap<String, Vec<Bin>>,
}

/// What became of the requests sent within one bin.
#[derive(Clone, Default)]
pub(super) struct Bin {
    /// By cluster of the backend.
    pub(super) answers: BTreeMap<String, u32>,
    /// By kind of error.
    pub(super) errors: BTreeMap<&'static str, u32>,
}

impl Bin {
    pub(super) fn failed(&self) -> u32 {
        self.errors.values().sum()
    }

    pub(super) fn requests(&self) -> u32 {
        self.answers.values().sum::<u32>() + self.failed()
    }
}

impl Bins {
    /// Bins for a drawing of the whole run.
    pub(super) fn of(record: &RunRecord, duration: Micros) -> Self {
        let span_ms = duration.as_millis_f64();
        let rate = f64::from(record.info().map_or(1, |info| info.rate_per_second).max(1));
        let telling_ms = (REQUESTS_MIN * 1e3 / rate).min(span_ms / BINS_MIN);
        Self::with_width(record, duration, round_up((span_ms / BINS_AIM).max(telling_ms).max(WIDTH_MIN_MS)))
    }

    /// Bins as fine as a page of reasonable size allows.
    pub(super) fn fine(record: &RunRecord, duration: Micros) -> Self {
        let width_ms = round_up((duration.as_millis_f64() / FINE_MAX).max(WIDTH_MIN_MS));
        Self::with_width(record, duration, width_ms)
    }

    fn with_width(record: &RunRecord, duration: Micros, width_ms: f64) -> Self {
        let index = |sent: Micros| (sent.as_millis_f64() / width_ms) as usize;
        // A request cannot be sent after the end of the run; a broken record must not make the page huge.
        let count = index(duration) + 1;
        let mut clients: BTreeMap<String, Vec<Bin>> = BTreeMap::new();
        for stamped in &record.events {
            let Event::Request(request) = &stamped.event else { continue };
            let bins = clients.entry(request.cluster.clone()).or_insert_with(|| vec![Bin::default(); count]);
            let Some(bin) = bins.get_mut(index(request.sent)) else { continue };
            match &request.outcome {
                Outcome::Answered(answer) => *bin.answers.entry(answer.cluster.clone()).or_default() += 1,
                Outcome::Failed(kind) => *bin.errors.entry(kind.as_str()).or_default() += 1,
            }
        }
        Self { width_ms, clients }
    }

    /// Requests a second in the fullest bin of all clusters.
    pub(super) fn peak_per_second(&self) -> f64 {
        let peak = self.clients.values().flatten().map(Bin::requests).max().unwrap_or(0);
        f64::from(peak) * 1e3 / self.width_ms
    }

    /// Requests a second of so many requests in a bin.
    pub(super) fn per_second(&self, requests: u32) -> f64 {
        f64::from(requests) * 1e3 / self.width_ms
    }
}

/// The outline of a stacked layer: heights (in pixels, measured up from `base`) of its lower and upper edge per bin.
///
/// Edges are stairs, not slopes: a bin says how many there were within it, not at its middle. Stretches without height
/// are left out, so that layers without requests draw nothing.
pub(super) fn outline(lower: &[f64], upper: &[f64], width_ms: f64, base: f64) -> String {
    let mut path = String::new();
    let mut start = 0;
    let filled = |bin: usize| matches!((lower.get(bin), upper.get(bin)), (Some(low), Some(high)) if high > low);
    while start < upper.len() {
        if !filled(start) {
            start += 1;
            continue;
        }
        let mut end = start;
        while filled(end) {
            end += 1;
        }
        stretch(&mut path, lower, upper, start..end, width_ms, base);
        start = end;
    }
    path
}

fn stretch(path: &mut String, lower: &[f64], upper: &[f64], bins: std::ops::Range<usize>, width_ms: f64, base: f64) {
    let x = |bin: usize| bin as f64 * width_ms;
    put(path, format_args!("M{} {:.1}", x(bins.start), base - lower[bins.start]));
    let mut last = f64::NAN;
    for bin in bins.clone() {
        let height = upper[bin];
        if height != last {
            if !last.is_nan() {
                put(path, format_args!("H{}", x(bin)));
            }
            put(path, format_args!("V{:.1}", base - height));
            last = height;
        }
    }
    put(path, format_args!("H{}", x(bins.end)));
    last = f64::NAN;
    for bin in bins.clone().rev() {
        let height = lower[bin];
        if height != last {
            if !last.is_nan() {
                put(path, format_args!("H{}", x(bin + 1)));
            }
            put(path, format_args!("V{:.1}", base - height));
            last = height;
        }
    }
    put(path, format_args!("H{}Z", x(bins.start)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_is_stairs_around_each_filled_stretch() {
        let path = outline(&[0.0, 0.0, 0.0, 2.0], &[4.0, 6.0, 0.0, 5.0], 100.0, 10.0);
        assert_eq!(path, "M0 10.0V6.0H100V4.0H200V10.0H0ZM300 8.0V5.0H400V8.0H300Z");
    }
}
