//! Lines while a run goes on, in the manner of nextest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use meshbed_events::{Event, FaultId, Micros, Outcome, RunInfo, Stamped, StepOutcome, Stopwatch};
use owo_colors::Style;

use super::Colour;
use super::styles::{Styles, status_word};
use crate::words;

/// Different violations of one step that are printed one by one; the rest is counted. A broken agent causes one a request.
const VIOLATIONS_SHOWN: usize = 5;

/// Findings of one step that are printed one by one.
const FINDINGS_SHOWN: usize = 20;

/// Indentation of what belongs to the line above: behind the status word.
const INDENT: &str = "             ";

/// The rate in the progress line counts answers this far back.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// Characters of a progress line: it must stay one line on a narrow terminal.
const STATUS_LINE_WIDTH: usize = 100;

/// How much is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// What a person waits for: steps, faults, stopwatches, violations.
    #[default]
    Outcomes,
    /// Also every change of objects and maps.
    Everything,
}

/// Turns events into lines.
///
/// The time in brackets is the time since the start of the run, except on the line with a step's outcome: there it is
/// how long the step took.
#[derive(Clone, Debug)]
pub struct Live {
    state: LiveState,
    styles: Styles,
    detail: Detail,
    /// Kind and target of each fault, for the lines that only have its number.
    faults: BTreeMap<FaultId, String>,
    /// What is wrong in each node's maps now.
    differences: BTreeMap<String, Vec<String>>,
    findings: Vec<(String, Vec<String>)>,
    step_violations: u64,
    /// Different violations of the step that were printed.
    printed_violations: BTreeSet<String>,
    step_started: Micros,
}

/// What a progress line needs.
#[derive(Clone, Debug, Default)]
pub struct LiveState {
    phase: String,
    step: Option<(usize, String)>,
    steps: usize,
    /// Names of all steps, for those that are skipped.
    names: Vec<String>,
    now: Micros,
    requests: u64,
    errors: u64,
    violations: u64,
    recent_answers: VecDeque<Micros>,
}

impl LiveState {
    /// Requests that ended so far.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Requests that failed so far.
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// Answers and errors so far that the oracle does not allow.
    pub fn violations(&self) -> u64 {
        self.violations
    }

    /// Answers in the last second before the last event.
    pub fn answers_per_second(&self) -> usize {
        let oldest = self.now.back(RATE_WINDOW);
        self.recent_answers.iter().filter(|done| **done >= oldest).count()
    }

    fn event(&mut self, stamped: &Stamped) {
        self.now = self.now.max(stamped.at);
        match &stamped.event {
            Event::RunStarted(info) => {
                self.steps = info.steps.len();
                self.names.clone_from(&info.steps);
                self.phase = "mesh comes up".to_owned();
            }
            Event::MeshProgress { what } => self.phase = format!("mesh comes up: {what}"),
            Event::MeshReady => self.phase = "mesh ready".to_owned(),
            Event::StepStarted { step, name, .. } => {
                self.steps = self.steps.max(step + 1);
                self.step = Some((*step, name.clone()));
            }
            Event::Request(request) => {
                self.requests += 1;
                match request.outcome {
                    Outcome::Answered(_) => self.recent_answers.push_back(request.done),
                    Outcome::Failed(_) => self.errors += 1,
                }
                let oldest = self.now.back(RATE_WINDOW);
                while self.recent_answers.front().is_some_and(|done| *done < oldest) {
                    self.recent_answers.pop_front();
                }
            }
            Event::Violation { .. } => self.violations += 1,
            _ => {}
        }
    }

    fn counter(&self, step: usize) -> String {
        let digits = self.steps.to_string().len();
        format!("({:>digits$}/{})", step + 1, self.steps)
    }
}

/// One line of progress for a terminal, without line end and without colour.
pub fn status_line(state: &LiveState) -> String {
    let what = match &state.step {
        Some((step, name)) => format!("{} {}", state.counter(*step), words::printable(name)),
        None => words::printable(&state.phase),
    };
    let numbers = format!(
        "{}, {} answers/s, {}{}",
        words::count(state.requests, "request"),
        state.answers_per_second(),
        words::count(state.errors, "error"),
        if state.violations > 0 { format!(", {} wrong", state.violations) } else { String::new() },
    );
    let head = format!("[{:>8.3}s] ", Duration::from_micros(state.now.0).as_secs_f64());
    let room = STATUS_LINE_WIDTH.saturating_sub(head.len() + numbers.len() + 2);
    format!("{head}{}: {numbers}", words::shortened(&what, room))
}

impl Live {
    /// A renderer for one run.
    pub fn new(colour: Colour, detail: Detail) -> Self {
        Self {
            state: LiveState::default(),
            styles: Styles::new(colour),
            detail,
            faults: BTreeMap::new(),
            differences: BTreeMap::new(),
            findings: Vec::new(),
            step_violations: 0,
            printed_violations: BTreeSet::new(),
            step_started: Micros::default(),
        }
    }

    /// What has happened so far.
    pub fn state(&self) -> &LiveState {
        &self.state
    }

    /// Takes the next event; zero or more lines without line ends.
    pub fn lines(&mut self, stamped: &Stamped) -> Vec<String> {
        self.state.event(stamped);
        let at = stamped.at;
        let styles = self.styles;
        match &stamped.event {
            Event::RunStarted(info) => self.run_started(at, info),
            Event::MeshProgress { what } => vec![line("UP", styles.quiet, at, what)],
            Event::MeshReady => vec![line("START", styles.good, at, "mesh ready")],
            Event::StepStarted { .. } | Event::StepSettled { .. } => self.step_event(at, &stamped.event),
            Event::StepFinished { step, outcome } => self.step_finished(at, *step, *outcome),
            Event::FaultInjected { .. } | Event::FaultWitnessed { .. } | Event::FaultHealed { .. } => {
                self.fault_event(at, &stamped.event)
            }
            Event::ObjectChanged { cluster, kind, name, change } => {
                self.only_everything("OBJECT", at, || format!("{cluster}: {kind} {name} {change}"))
            }
            Event::MapChanged { .. } | Event::MapRight { .. } | Event::MapWrong { .. } | Event::MapEntryAged { .. } => {
                self.map_event(at, &stamped.event)
            }
            Event::Log { process, level, text, .. } if level == "error" || level == "warn" => {
                self.only_everything("LOG", at, || format!("{process}: {text}"))
            }
            Event::Violation { message, .. } => self.violation(at, message),
            Event::Expectation { expectation, findings, .. } => {
                if !findings.is_empty() {
                    self.findings.push((expectation.clone(), findings.clone()));
                }
                Vec::new()
            }
            Event::Stopwatch(stopwatch) => vec![line("STOPWATCH", styles.quiet, at, &stopwatch_text(stopwatch))],
            Event::Note { text } => vec![line("NOTE", styles.quiet, at, text)],
            // Requests are counted in the progress line; hops and the end are told by the tables; other lines of logs are
            // in the page.
            Event::Request(_) | Event::Hop(_) | Event::Log { .. } | Event::RunFinished { .. } => Vec::new(),
        }
    }

    fn run_started(&self, at: Micros, info: &RunInfo) -> Vec<String> {
        let text = format!(
            "{} on {} ({}, kernel {}), run {}",
            info.scenario, info.topology, info.environment, info.kernel, info.run
        );
        let mut lines = vec![line("RUN", self.styles.strong, at, &text)];
        if !info.question.is_empty() {
            lines.push(format!("{INDENT}{}", words::printable(&info.question)));
        }
        lines
    }

    fn only_everything(&self, word: &str, at: Micros, text: impl FnOnce() -> String) -> Vec<String> {
        match self.detail {
            Detail::Outcomes => Vec::new(),
            Detail::Everything => vec![line(word, self.styles.quiet, at, &text())],
        }
    }

    fn step_event(&mut self, at: Micros, event: &Event) -> Vec<String> {
        match event {
            Event::StepStarted { step, name, .. } => {
                self.step_started = at;
                self.step_violations = 0;
                self.printed_violations.clear();
                self.findings.clear();
                let text = format!("{} {name}", self.state.counter(*step));
                self.only_everything("STEP", at, || text)
            }
            Event::StepSettled { step } => {
                let settled = words::duration(at.since(self.step_started));
                let text = format!("{} settled after {settled}", self.state.counter(*step));
                self.only_everything("SETTLED", at, || text)
            }
            _ => Vec::new(),
        }
    }

    fn step_finished(&mut self, at: Micros, step: usize, outcome: StepOutcome) -> Vec<String> {
        let style = match outcome {
            StepOutcome::Passed => self.styles.good,
            StepOutcome::Failed | StepOutcome::TimedOut => self.styles.bad,
            StepOutcome::Invalid | StepOutcome::Skipped => self.styles.caution,
        };
        let name = match &self.state.step {
            Some((current, name)) if *current == step => name.clone(),
            _ => self.state.names.get(step).cloned().unwrap_or_else(|| format!("step {}", step + 1)),
        };
        let took = Micros(at.0.saturating_sub(self.step_started.0));
        let text = format!("{} {name}", self.state.counter(step));
        let mut lines = vec![line(words::outcome_word(Some(outcome)), style, took, &text)];
        if outcome == StepOutcome::TimedOut {
            lines.extend(self.differences.iter().flat_map(|(node, differences)| {
                let rows = differences.iter().take(FINDINGS_SHOWN);
                rows.map(move |row| format!("{INDENT}{node}: {}", words::printable(row)))
            }));
        }
        for (expectation, findings) in std::mem::take(&mut self.findings) {
            lines.push(format!("{INDENT}expected: {}", words::printable(&expectation)));
            lines.extend(bullets(&findings));
        }
        if self.step_violations > self.printed_violations.len() as u64 {
            lines.push(format!("{INDENT}{} wrong answers or errors in this step", self.step_violations));
        }
        lines
    }

    fn fault_event(&mut self, at: Micros, event: &Event) -> Vec<String> {
        match event {
            Event::FaultInjected { fault, name, kind, target, .. } => {
                let named = !name.is_empty() && name != kind;
                let text = if named { format!("{name} ({kind}) {target}") } else { format!("{kind} {target}") };
                let lines = vec![line("FAULT", self.styles.caution, at, &text)];
                self.faults.insert(*fault, text);
                lines
            }
            Event::FaultWitnessed { witness, .. } => vec![line("WITNESS", self.styles.quiet, at, witness)],
            Event::FaultHealed { fault, witness } => {
                let name = self.faults.get(fault).cloned().unwrap_or_else(|| format!("fault {fault}"));
                let shown = if witness.is_empty() { String::new() } else { format!(": {witness}") };
                vec![line("HEAL", self.styles.good, at, &format!("{name}{shown}"))]
            }
            _ => Vec::new(),
        }
    }

    fn map_event(&mut self, at: Micros, event: &Event) -> Vec<String> {
        match event {
            Event::MapChanged { cluster, node, state } => self.only_everything("MAP", at, || {
                let active: usize = state.frontends.values().map(|frontend| frontend.active.len()).sum();
                let frontends = words::count(state.frontends.len() as u64, "frontend");
                format!("{cluster}/{node}: {frontends}, {}", words::count(active as u64, "active backend"))
            }),
            Event::MapRight { cluster, node } => {
                let node = format!("{cluster}/{node}");
                self.differences.remove(&node);
                self.only_everything("RIGHT", at, || node)
            }
            Event::MapWrong { cluster, node, differences } => {
                let node = format!("{cluster}/{node}");
                let messages: Vec<String> = differences.iter().map(ToString::to_string).collect();
                let text = format!("{node}: {}", messages.join("; "));
                self.differences.insert(node, messages);
                self.only_everything("STALE", at, || text)
            }
            Event::MapEntryAged { cluster, node, difference, since, to_the_end } => {
                let open = if *to_the_end { "to the end" } else { "in all" };
                let age = words::duration(at.since(*since));
                self.only_everything("AGED", at, || format!("{cluster}/{node}: {difference}: {age} {open}"))
            }
            _ => Vec::new(),
        }
    }

    fn violation(&mut self, at: Micros, message: &str) -> Vec<String> {
        self.step_violations += 1;
        if self.printed_violations.len() >= VIOLATIONS_SHOWN || !self.printed_violations.insert(message.to_owned()) {
            return Vec::new();
        }
        let mut lines = vec![line("WRONG", self.styles.bad, at, message)];
        if self.printed_violations.len() == VIOLATIONS_SHOWN {
            lines.push(format!("{INDENT}further ones in this step are counted, not shown"));
        }
        lines
    }
}

/// A status line: word, time, text.
fn line(word: &str, style: Style, time: Micros, text: &str) -> String {
    let seconds = Duration::from_micros(time.0).as_secs_f64();
    format!("{} [{seconds:>8.3}s] {}", status_word(word, style), words::printable_lines(text, INDENT))
}

fn bullets(findings: &[String]) -> Vec<String> {
    let shown =
        findings.iter().take(FINDINGS_SHOWN).map(|finding| format!("{INDENT}  - {}", words::printable(finding)));
    let hidden = findings.len().saturating_sub(FINDINGS_SHOWN);
    shown.chain((hidden > 0).then(|| format!("{INDENT}  - and {hidden} more"))).collect()
}

fn stopwatch_text(stopwatch: &Stopwatch) -> String {
    let since = |at: Micros| words::offset(stopwatch.injected, Some(at));
    let dead = stopwatch
        .last_answer_of_dead
        .map_or("no answer of the dead".to_owned(), |at| format!("dead answered until {}", since(at)));
    let others = stopwatch
        .first_answer_after
        .map_or("nobody answered after".to_owned(), |at| format!("others from {}", since(at)));
    let node = stopwatch.last_map_node.as_deref().map(|node| format!(" ({node})")).unwrap_or_default();
    let maps =
        stopwatch.last_map_right.map_or("maps not right".to_owned(), |at| format!("maps right at {}{node}", since(at)));
    let detected = stopwatch.detected.map(|at| format!("detected at {}, ", since(at))).unwrap_or_default();
    let lost = match stopwatch.last_error {
        Some(at) => format!("{} lost until {}", stopwatch.requests_lost, since(at)),
        None => format!("{} lost", stopwatch.requests_lost),
    };
    format!("{}: {detected}{dead}, {others}, {lost}, {maps}", stopwatch.target)
}
