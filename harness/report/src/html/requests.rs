//! Requests as data for the page's script: it draws them anew at every zoom.

use std::collections::BTreeMap;

use meshbed_events::{Event, Outcome, Request, RunRecord};
use serde::Serialize;

use super::bins::Bins;
use super::svg::look;
use crate::{Summary, words};

/// Requests that are in the page one by one; each costs some 12 bytes. Of more, those around the faults are.
const SINGLE_MAX: usize = 60_000;
/// How far around a fault requests are in the page one by one when not all are, in milliseconds: before and after.
const AROUND_MS: (f64, f64) = (500.0, 2_000.0);

/// All requests, as compact as JSON allows: flat lists of whole numbers.
#[derive(Serialize)]
pub(super) struct Requests {
    /// Class of each kind of answer, in the order in which they are stacked; the last one is errors.
    classes: Vec<String>,
    /// What each class is called.
    names: Vec<String>,
    /// Milliseconds of one bin.
    width: f64,
    /// By cluster of the clients.
    panels: Vec<Panel>,
    /// Who answered or what failed, with the number of its class.
    who: Vec<(String, usize)>,
    /// Times (from, until; milliseconds) in which every single request is there.
    covered: Vec<(f64, f64)>,
    /// All single requests are there.
    complete: bool,
}

/// Requests of one cluster's clients.
#[derive(Serialize)]
struct Panel {
    client: String,
    /// For each bin with requests: its number as the distance to the one before, then a count for each class.
    bins: Vec<u64>,
    /// For each single request: microseconds since the one before, microseconds that it took, number in `who`.
    single: Vec<u64>,
}

impl Requests {
    /// The requests of `record`; `bins` are the fine ones.
    pub(super) fn of(record: &RunRecord, summary: &Summary, bins: &Bins, clusters: &[String]) -> Self {
        let covered = covered(summary);
        let complete = covered.is_none();
        let end = summary.duration.as_millis_f64();
        let covered = covered.unwrap_or_else(|| vec![(0.0, end)]);
        let mut who = Who::default();
        let mut singles = singles(record, &covered);
        let panels = bins.clients.keys().map(|client| Panel {
            client: words::printable(client),
            bins: fine(bins, client, clusters),
            single: flat(singles.remove(client.as_str()).unwrap_or_default(), clusters, &mut who),
        });
        let panels = panels.collect();
        let classes = clusters.iter().map(|cluster| look(clusters, cluster)).chain(["error".to_owned()]);
        let names = clusters.iter().map(|cluster| words::printable(cluster)).chain(["no answer".to_owned()]);
        Self {
            classes: classes.collect(),
            names: names.collect(),
            width: bins.width_ms,
            panels,
            who: who.table,
            covered,
            complete,
        }
    }

    /// As JSON that may stand in a script element.
    pub(super) fn json(&self) -> String {
        let text = serde_json::to_string(self).expect("numbers and texts become JSON");
        text.replace('<', "\\u003c")
    }
}

/// The times around faults that are covered, joined where they overlap; `None` when everything can be.
fn covered(summary: &Summary) -> Option<Vec<(f64, f64)>> {
    if summary.total.requests <= SINGLE_MAX as u64 {
        return None;
    }
    let mut joined: Vec<(f64, f64)> = Vec::new();
    for fault in &summary.faults {
        let at = fault.injected.as_millis_f64();
        let (from, until) = ((at - AROUND_MS.0).max(0.0), at + AROUND_MS.1);
        match joined.last_mut().filter(|last| last.1 >= from) {
            Some(last) => last.1 = until.max(last.1),
            None => joined.push((from, until)),
        }
    }
    Some(joined)
}

fn singles<'r>(record: &'r RunRecord, covered: &[(f64, f64)]) -> BTreeMap<&'r str, Vec<&'r Request>> {
    let mut singles: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
    let mut left = SINGLE_MAX;
    for stamped in &record.events {
        let Event::Request(request) = &stamped.event else { continue };
        let sent = request.sent.as_millis_f64();
        if left > 0 && covered.iter().any(|(from, until)| (*from..=*until).contains(&sent)) {
            left -= 1;
            singles.entry(request.cluster.as_str()).or_default().push(request);
        }
    }
    for requests in singles.values_mut() {
        requests.sort_by_key(|request| request.sent);
    }
    singles
}

/// Names of those who answered, each once.
#[derive(Default)]
struct Who {
    table: Vec<(String, usize)>,
    numbers: BTreeMap<String, usize>,
}

impl Who {
    fn number(&mut self, name: String, class: usize) -> u64 {
        let next = self.table.len();
        let number = *self.numbers.entry(name.clone()).or_insert(next);
        if number == next {
            self.table.push((name, class));
        }
        number as u64
    }
}

fn flat(requests: Vec<&Request>, clusters: &[String], who: &mut Who) -> Vec<u64> {
    let mut flat = Vec::with_capacity(requests.len() * 3);
    let mut before = 0;
    for request in requests {
        let (name, class) = match &request.outcome {
            Outcome::Answered(answer) => {
                let class = clusters.iter().position(|cluster| *cluster == answer.cluster).unwrap_or(0);
                (format!("{}/{}", answer.cluster, answer.pod), class)
            }
            Outcome::Failed(kind) => (kind.as_str().to_owned(), clusters.len()),
        };
        let number = who.number(words::printable(&name), class);
        let took = request.done.0.saturating_sub(request.sent.0);
        flat.extend([request.sent.0 - before, took, number]);
        before = request.sent.0;
    }
    flat
}

fn fine(bins: &Bins, client: &str, clusters: &[String]) -> Vec<u64> {
    let mut flat = Vec::new();
    let mut before = 0;
    for (index, bin) in bins.clients.get(client).into_iter().flatten().enumerate() {
        if bin.requests() == 0 {
            continue;
        }
        flat.push((index - before) as u64);
        before = index;
        flat.extend(clusters.iter().map(|cluster| u64::from(bin.answers.get(cluster).copied().unwrap_or(0))));
        flat.push(u64::from(bin.failed()));
    }
    flat
}
