//! The step that is running: what happened in it, what was wrong in it, and how it ends.

use std::collections::BTreeMap;

use meshbed_events::{Event, Micros, Request, SourcePlace, Stopwatch};
use meshbed_scenario::MapLimits;

use super::{Belief, InForce, World};
use crate::stopwatch;

/// Violations recorded one by one in a step; more are only counted, so that a broken mesh does not fill the disk.
const VIOLATIONS_MAX: usize = 20;

/// The step that is running.
#[derive(Debug, Default)]
pub(super) struct Running {
    pub(super) step: usize,
    pub(super) acted: Option<Micros>,
    pub(super) settled: Option<Micros>,
    pub(super) steady: Vec<Request>,
    pub(super) steady_by_client: BTreeMap<(String, String), u64>,
    pub(super) all: Vec<Request>,
    pub(super) violations: usize,
    /// Faults that the step injected, healed ones included.
    pub(super) faults: Vec<InForce>,
    pub(super) by_client: BTreeMap<(String, String), u64>,
    pub(super) logs: Vec<LogLine>,
    /// When any node's maps changed.
    pub(super) map_changes: Vec<Micros>,
    pub(super) started: Micros,
}

/// A line that a process of the mesh wrote to its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogLine {
    /// The process, such as `agent-alpha-1`.
    pub(crate) process: String,
    /// The line.
    pub(crate) text: String,
}

impl World {
    pub(crate) fn step_started(&mut self, step: usize, name: &str, place: SourcePlace, limits: MapLimits) {
        let started = self.clock.now();
        self.limits = limits;
        self.running = Some(Running { step, started, ..Running::default() });
        self.recorder.push(started, Event::StepStarted { step, name: name.to_owned(), place: Some(place) });
    }

    /// All actions of the running step are done.
    pub(crate) fn step_acted(&mut self) -> Micros {
        let now = self.clock.now();
        if let Some(running) = &mut self.running {
            running.acted = Some(now);
        }
        self.wake_readers();
        now
    }

    /// Whether all maps were read since the actions of the running step: what was read before says nothing about them.
    pub(crate) fn maps_read_since_acting(&self) -> bool {
        self.running.as_ref().and_then(|running| running.acted).is_none_or(|acted| self.read_from() >= acted)
    }

    /// When the running step began.
    pub(crate) fn step_began(&self) -> Micros {
        self.running.as_ref().map_or(Micros(0), |running| running.started)
    }

    pub(crate) fn step_settled(&mut self) {
        let now = self.clock.now();
        self.must_see.clear();
        if let Some(running) = &mut self.running {
            running.settled = Some(now);
            let step = running.step;
            self.recorder.push(now, Event::StepSettled { step });
        }
    }

    /// Requests of the running step that were sent after it settled.
    pub(crate) fn steady(&self) -> &[Request] {
        self.running.as_ref().map_or(&[], |running| &running.steady)
    }

    /// All requests of the running step.
    pub(crate) fn requests(&self) -> &[Request] {
        self.running.as_ref().map_or(&[], |running| &running.all)
    }

    /// Judges what is left, reads the stopwatches and returns the number of violations.
    pub(crate) fn step_ends(&mut self) -> usize {
        // What is left was done just now, and the watches were compared with the APIs since: nothing is gained by waiting.
        let now = self.clock.now();
        for (request, asked) in std::mem::take(&mut self.pending) {
            self.judge(&request, &asked, now);
        }
        let Some(running) = self.running.take() else { return 0 };
        let last_right = self.beliefs.iter().filter_map(|belief| Some((belief.last_right()?, belief.name()))).max();
        for (index, fault) in running.faults.iter().enumerate() {
            let next = running.faults.get(index + 1).map(|next| next.injected);
            let detected = running.map_changes.iter().find(|at| **at >= fault.injected).copied();
            let reading = stopwatch::read(fault, next, &running.all, detected, last_right.as_ref());
            self.emit(Event::Stopwatch(Stopwatch { step: fault.step, ..reading }));
        }
        if running.violations > VIOLATIONS_MAX {
            let more = running.violations - VIOLATIONS_MAX;
            self.emit(Event::Note { text: format!("{more} more violations were counted in this step") });
        }
        self.recorder.flush();
        running.violations
    }

    /// The run ends: what is still wrong is told, and the record is complete.
    pub(crate) fn run_ends(&mut self) {
        let events: Vec<_> = self.beliefs.iter().flat_map(Belief::at_the_end).collect();
        for event in events {
            self.emit(event);
        }
    }

    /// Violations while no step ran.
    pub(crate) fn violations_between_steps(&self) -> usize {
        self.violations_between_steps
    }

    /// A process of the mesh wrote to its log.
    pub(crate) fn log(&mut self, cluster: &str, process: &str, level: &str, text: String) {
        let (process, cluster, level) = (process.to_owned(), cluster.to_owned(), level.to_owned());
        if let Some(running) = &mut self.running {
            running.logs.push(LogLine { process: process.clone(), text: text.clone() });
        }
        self.emit(Event::Log { process, cluster, level, text });
        self.bump();
    }

    /// What was logged since the step began.
    pub(crate) fn logs(&self) -> &[LogLine] {
        self.running.as_ref().map_or(&[], |running| &running.logs)
    }

    /// The kernel's verifier did not take a program that a process loads.
    pub(crate) fn rejected(&mut self, process: &str, why: &str) {
        let whose = process.split_once('-').map_or(process, |(_, whose)| whose);
        let kernel = self.kernels.get(whose).cloned().unwrap_or_else(meshbed_driver::kernel_release);
        self.violation(format!("Linux {kernel} does not take a program of `{process}`: {why}"));
    }

    /// Nothing more is heard of the `what` of clusters on another machine.
    pub(crate) fn unheard(&mut self, what: &str, clusters: &str) {
        self.violation(format!("the machine of {clusters} says nothing more of its {what}"));
    }

    pub(super) fn violation(&mut self, message: String) {
        if self.count_violation() <= VIOLATIONS_MAX {
            self.emit(Event::Violation { step: self.step(), message });
        }
    }

    pub(super) fn step(&self) -> Option<usize> {
        self.running.as_ref().map(|running| running.step)
    }

    /// Counts a violation and returns how many there were in this step.
    pub(super) fn count_violation(&mut self) -> usize {
        match &mut self.running {
            Some(running) => {
                running.violations += 1;
                running.violations
            }
            None => {
                self.violations_between_steps += 1;
                self.violations_between_steps
            }
        }
    }
}
