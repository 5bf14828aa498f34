//! The fold over records.

use std::collections::BTreeMap;
use std::time::Duration;

use meshbed_events::{RunRecord, StepOutcome, Stopwatch, Verdict};

use crate::{Distribution, Leg, Step, Summary, findings, words};

/// Runs of one scenario, folded. A record can be dropped once it was added.
#[derive(Clone, Debug, Default)]
pub struct RepeatSummary {
    /// Name of the scenario, as the first run says.
    pub scenario: String,
    /// The question that it answers.
    pub question: String,
    /// Agent under test.
    pub agent: String,
    /// Environment, such as `netns`.
    pub environment: String,
    /// Kernel release.
    pub kernel: String,
    /// The runs, in the order in which they were added.
    pub runs: Vec<RunLine>,
    /// Every expectation of every step, and how often it held.
    pub expectations: Vec<ExpectationRate>,
    /// What each fault of the scenario cost.
    pub faults: Vec<FaultTimes>,
    /// What all faults together cost.
    pub all_faults: FaultTimes,
    /// How long each leg of a change's way to the maps took.
    pub legs: BTreeMap<Leg, Distribution>,
    /// Ages of entries of maps that were there and should not have been.
    pub stale: Distribution,
    /// Ages of entries that were missing.
    pub missing: Distribution,
    /// How long the mesh took to be ready.
    pub mesh_ready: Distribution,
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunLine {
    /// Its ID.
    pub run: String,
    /// Its number among the repeats, from 0.
    pub repeat: u32,
    /// What its random choices came from.
    pub seed: u64,
    /// How it ended; `None` when its record is cut off.
    pub verdict: Option<Verdict>,
    /// How long it took.
    pub duration: Duration,
    /// The first thing that did not go well; empty when all did.
    pub finding: String,
    /// The command that runs the same again.
    pub reproduce: String,
}

/// How often an expectation held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpectationRate {
    /// Index of its step.
    pub step: usize,
    /// Name of its step.
    pub step_name: String,
    /// In the scenario's words.
    pub text: String,
    /// Number among equal ones of the step, from 0.
    pub number: usize,
    /// Runs in which it held.
    pub held: u64,
    /// Runs in which it did not.
    pub failed: u64,
    /// What the first failure found.
    pub finding: String,
}

impl ExpectationRate {
    /// Held in some runs and not in others.
    pub fn flaky(&self) -> bool {
        self.held > 0 && self.failed > 0
    }

    /// Runs in a hundred in which it held.
    pub fn percent(&self) -> f64 {
        self.held as f64 * 100.0 / (self.held + self.failed).max(1) as f64
    }
}

/// What a fault cost, over all runs. Times are in microseconds since the injection.
#[derive(Clone, Debug, Default)]
pub struct FaultTimes {
    /// Index of its step.
    pub step: usize,
    /// Number among the faults of its step, from 0.
    pub number: usize,
    /// What was hit, as the first run says.
    pub title: String,
    /// Until the mesh had noticed.
    pub detected: Distribution,
    /// Until the first answer of another backend.
    pub first_answer: Distribution,
    /// Until the last request that failed because of it.
    pub last_error: Distribution,
    /// Requests lost, in each run.
    pub lost: Distribution,
    /// Until the last node's maps were right.
    pub maps_right: Distribution,
}

impl FaultTimes {
    fn add(&mut self, stopwatch: &Stopwatch) {
        let times = [
            (&mut self.detected, stopwatch.detected),
            (&mut self.first_answer, stopwatch.first_answer_after),
            (&mut self.last_error, stopwatch.last_error),
            (&mut self.maps_right, stopwatch.last_map_right),
        ];
        for (distribution, at) in times {
            if let Some(at) = at {
                distribution.add_between(stopwatch.injected, at);
            }
        }
        self.lost.add(stopwatch.requests_lost);
    }

    /// The parts that are times, with their names in reports.
    pub fn times(&self) -> [(&'static str, &Distribution); 4] {
        [
            ("detected", &self.detected),
            ("first answer", &self.first_answer),
            ("last error", &self.last_error),
            ("maps right", &self.maps_right),
        ]
    }
}

impl RepeatSummary {
    /// Folds all records.
    pub fn of<'r>(records: impl IntoIterator<Item = &'r RunRecord>) -> Self {
        let mut repeats = Self::default();
        for record in records {
            repeats.add(record);
        }
        repeats
    }

    /// Adds one run.
    pub fn add(&mut self, record: &RunRecord) {
        let summary = Summary::of(record);
        let info = &summary.info;
        if self.runs.is_empty() {
            self.scenario.clone_from(&info.scenario);
            self.question.clone_from(&info.question);
            self.agent.clone_from(&info.agent);
            self.environment.clone_from(&info.environment);
            self.kernel.clone_from(&info.kernel);
        }
        self.runs.push(RunLine {
            run: info.run.clone(),
            repeat: info.repeat,
            seed: info.seed,
            verdict: summary.verdict(),
            duration: Duration::from_micros(summary.duration.0),
            finding: finding(&summary),
            reproduce: words::reproduction(info),
        });
        for step in &summary.steps {
            self.expectations_of(step);
        }
        self.stopwatches(&summary);
        summary.changes.add_to(&mut self.legs);
        for entry in &summary.stale {
            let missing = entry.difference.kind.is_missing();
            let ages = if missing { &mut self.missing } else { &mut self.stale };
            ages.add_duration(entry.age);
        }
        if let Some(ready) = summary.mesh_ready {
            self.mesh_ready.add(ready.0);
        }
    }

    fn expectations_of(&mut self, step: &Step) {
        // A step that an earlier one's end kept from running says nothing about its expectations.
        if step.outcome == Some(StepOutcome::Skipped) {
            return;
        }
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for expectation in &step.expectations {
            let count = seen.entry(&expectation.text).or_default();
            let number = *count;
            *count += 1;
            let key = (step.index, number);
            let found = self
                .expectations
                .iter()
                .position(|rate| (rate.step, rate.number) == key && rate.text == expectation.text);
            let position = found.unwrap_or_else(|| {
                self.expectations.push(ExpectationRate {
                    step: step.index,
                    step_name: step.name.clone(),
                    text: expectation.text.clone(),
                    number,
                    ..ExpectationRate::default()
                });
                self.expectations.len() - 1
            });
            let Some(rate) = self.expectations.get_mut(position) else { continue };
            match expectation.findings.first() {
                None => rate.held += 1,
                Some(first) => {
                    rate.failed += 1;
                    if rate.finding.is_empty() {
                        rate.finding.clone_from(first);
                    }
                }
            }
        }
    }

    fn stopwatches(&mut self, summary: &Summary) {
        let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
        for stopwatch in &summary.stopwatches {
            let count = seen.entry(stopwatch.step).or_default();
            let key = (stopwatch.step, *count);
            *count += 1;
            let found = self.faults.iter().position(|fault| (fault.step, fault.number) == key);
            let position = found.unwrap_or_else(|| {
                let title = summary.stopwatch_title(stopwatch);
                self.faults.push(FaultTimes { step: key.0, number: key.1, title, ..FaultTimes::default() });
                self.faults.len() - 1
            });
            if let Some(fault) = self.faults.get_mut(position) {
                fault.add(stopwatch);
            }
            self.all_faults.add(stopwatch);
        }
    }

    /// Runs that passed.
    pub fn passed(&self) -> usize {
        self.runs.iter().filter(|run| run.verdict == Some(Verdict::Passed)).count()
    }

    /// Whether some runs passed and others failed.
    pub fn flaky(&self) -> bool {
        let failed = self.runs.iter().any(|run| run.verdict == Some(Verdict::Failed));
        failed && self.passed() > 0
    }

    /// How often the runs ended in each way, in the order of the verdicts' words.
    pub fn verdicts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for run in &self.runs {
            *counts.entry(words::verdict_text(run.verdict)).or_default() += 1;
        }
        counts
    }

    /// Expectations that held in some runs and not in others.
    pub fn flaky_expectations(&self) -> impl Iterator<Item = &ExpectationRate> {
        self.expectations.iter().filter(|rate| rate.flaky())
    }

    /// The distributions that reports show, with their names: faults, legs, ages of entries.
    pub(crate) fn distributions(&self) -> Vec<(String, &Distribution)> {
        let mut rows: Vec<(String, &Distribution)> = vec![("mesh ready".to_owned(), &self.mesh_ready)];
        let all = self.all_faults.times().into_iter().map(|(name, times)| (format!("all faults: {name}"), times));
        rows.extend(all);
        for fault in &self.faults {
            let of = |(name, times)| (format!("{} {}: {name}", fault.step + 1, fault.title), times);
            rows.extend(fault.times().into_iter().map(of));
        }
        rows.extend(self.legs.iter().map(|(leg, times)| (leg.as_str().to_owned(), times)));
        rows.push(("age of stale entries".to_owned(), &self.stale));
        rows.push(("age of missing entries".to_owned(), &self.missing));
        rows.retain(|(_, times)| times.count() > 0);
        rows
    }
}

/// The first thing that did not go well, or what the ending means.
fn finding(summary: &Summary) -> String {
    if let Some(first) = findings::all(summary).into_iter().next() {
        let step = first.step.map(|name| format!("{name}: ")).unwrap_or_default();
        return format!("{step}{}", first.text);
    }
    if summary.verdict() == Some(Verdict::Passed) {
        return String::new();
    }
    let note = summary.notes.last().map(|note| format!(" {}", note.text)).unwrap_or_default();
    format!("{}{note}", words::ending_sentence(summary.ending))
}
