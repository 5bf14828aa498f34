//! Everything that happened, as one list of lines: what the marks in the chart lead to.

use std::collections::BTreeMap;

use meshbed_events::{Event, MapState, Micros, RunRecord};

use crate::{maps, words};

/// Lines at most; what matters least is left out first.
const LINES_MAX: usize = 6_000;
/// Bytes of the list in the page at most, so that other parts of a page of 1 MB have room.
const LIST_MAX: usize = 400_000;
/// Bytes of markup around one line.
const MARKUP: usize = 100;
/// Findings that come before everything else; a broken mesh has thousands of the same, which say nothing more.
const FINDINGS_FIRST: usize = 400;
/// Characters of one line.
const LINE_LENGTH: usize = 400;

/// What a line is about. The order is the order in which lines are kept when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A step, the mesh's coming up, a note.
    Step,
    /// A fault, its witness or its end.
    Fault,
    /// What the oracle or an expectation found.
    Finding,
    /// A change of a Kubernetes object.
    Object,
    /// A change of a node's maps.
    Map,
    /// Maps that are wrong, or right again.
    Wrong,
    /// A line of a process's log.
    Log,
}

impl Kind {
    pub(super) const ALL: [Self; 7] =
        [Self::Step, Self::Fault, Self::Finding, Self::Object, Self::Map, Self::Wrong, Self::Log];

    /// The word on its switch, also its class.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Fault => "fault",
            Self::Finding => "finding",
            Self::Object => "object",
            Self::Map => "map",
            Self::Wrong => "wrong",
            Self::Log => "log",
        }
    }
}

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) at: Micros,
    pub(super) kind: Kind,
    /// `error`, `warn`, or another word of the process's own; empty when it is no log.
    pub(super) level: String,
    /// Cluster that it belongs to; may be empty.
    pub(super) cluster: String,
    /// Node or process; may be empty.
    pub(super) source: String,
    pub(super) text: String,
}

impl Line {
    /// Bytes in the page; what must be escaped becomes five.
    fn cost(&self) -> usize {
        let escaped = self.text.bytes().filter(|byte| b"<>&\"'".contains(byte)).count();
        MARKUP + self.source.len() + self.text.len() + 4 * escaped
    }

    /// What is left out first has the greatest number.
    fn rank(&self) -> (u8, Kind) {
        match (self.kind, self.level.as_str()) {
            (Kind::Step | Kind::Fault | Kind::Finding, _) => (0, self.kind),
            (Kind::Log, "error" | "warn") => (1, self.kind),
            (Kind::Object | Kind::Map | Kind::Wrong, _) => (2, self.kind),
            (Kind::Log, "debug" | "trace") => (4, self.kind),
            (Kind::Log, _) => (3, self.kind),
        }
    }
}

/// The list, by time.
pub(super) struct Happenings {
    pub(super) lines: Vec<Line>,
    /// Lines that were left out, by kind.
    pub(super) hidden: BTreeMap<Kind, usize>,
}

impl Happenings {
    pub(super) fn of(record: &RunRecord) -> Self {
        let mut fold = Fold::default();
        for stamped in &record.events {
            fold.event(stamped.at, &stamped.event);
        }
        Self::limited(fold.lines)
    }

    fn limited(mut lines: Vec<Line>) -> Self {
        lines.sort_by_key(Line::rank);
        let findings = lines.iter().filter(|line| line.kind == Kind::Finding).count();
        if findings > FINDINGS_FIRST {
            // By rank, findings are all beside each other.
            let start = lines.iter().position(|line| line.kind == Kind::Finding).unwrap_or(0);
            let later: Vec<Line> = lines.drain(start + FINDINGS_FIRST..start + findings).collect();
            lines.extend(later);
        }
        let mut bytes = 0;
        let within = |line: &&Line| {
            bytes += line.cost();
            bytes <= LIST_MAX
        };
        let count = lines.iter().take(LINES_MAX).take_while(within).count();
        let mut hidden = BTreeMap::new();
        for line in lines.drain(count..) {
            *hidden.entry(line.kind).or_default() += 1;
        }
        lines.sort_by_key(|line| line.at);
        Self { lines, hidden }
    }

    /// Numbers and lines that `wanted` takes.
    pub(super) fn matching(&self, wanted: impl Fn(&Line) -> bool) -> Vec<(usize, &Line)> {
        self.lines.iter().enumerate().filter(|(_, line)| wanted(line)).collect()
    }

    /// The number of the first line at or after `at` that `wanted` takes.
    pub(super) fn at(&self, at: Micros, wanted: impl Fn(&Line) -> bool) -> Option<usize> {
        let start = self.lines.partition_point(|line| line.at < at);
        let found = self.lines.get(start..)?.iter().position(wanted)?;
        Some(start + found)
    }
}

/// The list in the making.
#[derive(Default)]
struct Fold<'r> {
    lines: Vec<Line>,
    maps: BTreeMap<(&'r str, &'r str), &'r MapState>,
    faults: BTreeMap<u32, String>,
    steps: BTreeMap<usize, &'r str>,
}

impl<'r> Fold<'r> {
    fn push(&mut self, at: Micros, kind: Kind, cluster: &str, source: &str, text: &str) {
        let text = words::shortened(&words::printable(text), LINE_LENGTH);
        let (cluster, source) = (words::printable(cluster), words::printable(source));
        self.lines.push(Line { at, kind, level: String::new(), cluster, source, text });
    }

    fn event(&mut self, at: Micros, event: &'r Event) {
        match event {
            Event::MeshProgress { what } => self.push(at, Kind::Step, "", "mesh", what),
            Event::MeshReady => self.push(at, Kind::Step, "", "mesh", "mesh ready"),
            Event::Note { text } => self.push(at, Kind::Step, "", "note", text),
            Event::StepStarted { step, name, .. } => {
                self.steps.insert(*step, name);
                self.step(at, *step, "begins");
            }
            Event::StepSettled { step } => self.step(at, *step, "settled"),
            Event::StepFinished { step, outcome } => self.step(at, *step, words::outcome_text(Some(*outcome))),
            Event::FaultInjected { .. } | Event::FaultWitnessed { .. } | Event::FaultHealed { .. } => {
                self.fault(at, event);
            }
            Event::ObjectChanged { cluster, kind, name, change } => {
                self.push(at, Kind::Object, cluster, kind, &format!("{name} {change}"));
            }
            Event::MapChanged { cluster, node, state } => {
                let before = self.maps.insert((cluster, node), state);
                let text = maps::differences(before, state).join(", ");
                self.push(at, Kind::Map, cluster, node, &text);
            }
            Event::MapRight { cluster, node } => self.push(at, Kind::Wrong, cluster, node, "maps are right"),
            Event::MapWrong { .. } | Event::MapEntryAged { .. } => self.wrong(at, event),
            Event::Log { process, cluster, level, text } => {
                self.push(at, Kind::Log, cluster, process, unstamped(text));
                if let Some(line) = self.lines.last_mut() {
                    line.level = words::printable(level);
                }
            }
            Event::Violation { message, .. } => self.push(at, Kind::Finding, "", "oracle", message),
            Event::Expectation { expectation, findings, .. } => {
                for finding in findings {
                    self.push(at, Kind::Finding, "", "expectation", &format!("{expectation}: {finding}"));
                }
            }
            Event::RunFinished { verdict, .. } => {
                self.push(at, Kind::Step, "", "run", words::verdict_text(Some(*verdict)));
            }
            // Requests are drawn, hops are in the table, and the stopwatch is about times that have lines already.
            Event::RunStarted(_) | Event::Request(_) | Event::Hop(_) | Event::Stopwatch(_) => {}
        }
    }

    fn step(&mut self, at: Micros, step: usize, what: &str) {
        let name = self.steps.get(&step).copied().unwrap_or_default();
        self.push(at, Kind::Step, "", &format!("step {}", step + 1), &format!("{name}: {what}"));
    }

    fn fault(&mut self, at: Micros, event: &Event) {
        match event {
            Event::FaultInjected { fault, name, kind, target, .. } => {
                let source = if name.is_empty() { kind.clone() } else { name.clone() };
                self.push(at, Kind::Fault, "", &source, &format!("{kind} {target}"));
                self.faults.insert(*fault, source);
            }
            Event::FaultWitnessed { fault, witness } => {
                let source = self.faults.get(fault).cloned().unwrap_or_default();
                self.push(at, Kind::Fault, "", &source, &format!("witness: {witness}"));
            }
            Event::FaultHealed { fault, witness } => {
                let source = self.faults.get(fault).cloned().unwrap_or_default();
                let shown = if witness.is_empty() { String::new() } else { format!(": {witness}") };
                self.push(at, Kind::Fault, "", &source, &format!("healed{shown}"));
            }
            _ => {}
        }
    }

    fn wrong(&mut self, at: Micros, event: &Event) {
        match event {
            Event::MapWrong { cluster, node, differences } => {
                let messages: Vec<_> = differences.iter().map(|difference| difference.message.as_str()).collect();
                self.push(at, Kind::Wrong, cluster, node, &messages.join("; "));
            }
            Event::MapEntryAged { cluster, node, difference, since, to_the_end } => {
                let age = words::duration(at.since(*since));
                let text = if *to_the_end {
                    format!("still wrong at the end, after {age}: {difference}")
                } else {
                    format!("right after {age}: {difference}")
                };
                self.push(at, Kind::Wrong, cluster, node, &text);
            }
            _ => {}
        }
    }
}

/// A log line without the time and the level that it begins with: the page shows both in its own way.
fn unstamped(text: &str) -> &str {
    const LEVELS: [&str; 5] = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
    let is_time = |word: &str| word.len() >= 20 && word.as_bytes().get(10) == Some(&b'T') && word.ends_with('Z');
    let Some((_, rest)) = text.split_once(' ').filter(|(word, _)| is_time(word)) else { return text };
    let rest = rest.trim_start();
    match rest.split_once(' ') {
        Some((level, message)) if LEVELS.contains(&level) => message.trim_start(),
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: u64, kind: Kind, level: &str) -> Line {
        let (cluster, source) = (String::new(), String::new());
        Line { at: Micros(at), kind, level: level.into(), cluster, source, text: "text".into() }
    }

    #[test]
    fn what_matters_least_is_left_out_first() {
        let mut lines: Vec<Line> = (0..LINES_MAX as u64).map(|at| line(at, Kind::Log, "debug")).collect();
        lines.push(line(3, Kind::Fault, ""));
        lines.push(line(5, Kind::Log, "error"));
        let all = lines.len();
        let list = Happenings::limited(lines);
        let left_out = all - list.lines.len();
        assert!(left_out >= 2, "{left_out}");
        assert_eq!(list.hidden, BTreeMap::from([(Kind::Log, left_out)]));
        assert_eq!(list.matching(|line| line.kind == Kind::Fault).len(), 1);
        assert_eq!(list.matching(|line| line.level == "error").len(), 1);
        assert!(list.lines.is_sorted_by_key(|line| line.at), "the list is by time");
        assert_eq!(
            list.at(Micros(4), |line| line.level == "error"),
            list.matching(|l| l.level == "error").first().map(|found| found.0)
        );
    }

    #[test]
    fn time_and_level_of_a_log_are_not_shown_twice() {
        assert_eq!(
            unstamped("2026-11-28T16:42:34.988459Z  INFO mesh_agent: export starts"),
            "mesh_agent: export starts"
        );
        assert_eq!(unstamped("2026-11-28T16:42:34Z something"), "something");
        assert_eq!(unstamped("{\"level\":\"info\"} text"), "{\"level\":\"info\"} text");
        assert_eq!(unstamped("INFO text"), "INFO text");
    }

    #[test]
    fn many_findings_do_not_push_everything_else_out() {
        let mut lines: Vec<Line> = (0..20_000).map(|at| line(at, Kind::Finding, "")).collect();
        lines.push(line(7, Kind::Map, ""));
        lines.push(line(9, Kind::Log, "debug"));
        let list = Happenings::limited(lines);
        assert_eq!(list.matching(|line| matches!(line.kind, Kind::Map | Kind::Log)).len(), 2);
        assert!(list.matching(|line| line.kind == Kind::Finding).len() > FINDINGS_FIRST, "room that is left is used");
        assert!(list.hidden.keys().eq([&Kind::Finding]));
    }

    #[test]
    fn the_list_is_bounded_by_what_it_costs_in_the_page() {
        let mut long = line(1, Kind::Map, "");
        long.text = "<&>\"".repeat(100);
        let list = Happenings::limited(vec![long; 1_000]);
        assert!(list.lines.iter().map(Line::cost).sum::<usize>() <= LIST_MAX);
        assert!(list.lines.len() > 100);
    }
}
