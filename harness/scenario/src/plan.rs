//! What a scenario would do, in words.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use crate::{Act, Language, Located, Scenario, Settle, Step};

/// What a scenario would do and expect, in words and with places. `Display` is for a person's terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The scenario's name.
    pub name: String,
    /// The question that it answers.
    pub question: String,
    /// The file with the topology.
    pub topology_file: PathBuf,
    /// Clusters and their numbers of nodes.
    pub clusters: Vec<(String, usize)>,
    /// Values of the parameters.
    pub parameters: BTreeMap<String, String>,
    /// Probes in words.
    pub probes: Vec<PlannedLine>,
    /// Steps in order.
    pub steps: Vec<PlannedStep>,
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    /// From 1.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// Where it stands, such as `scenarios/failover.yaml:12:3`.
    pub place: String,
    /// What it does.
    pub actions: Vec<PlannedLine>,
    /// How it waits between the two, in words.
    pub waits: String,
    /// What it expects.
    pub expectations: Vec<PlannedLine>,
}

/// A line of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedLine {
    /// Where it stands, such as `scenarios/failover.yaml:12:3`.
    pub place: String,
    /// In words.
    pub words: String,
    /// Lines that happen at the same time, instead of this one by itself.
    pub parallel: Vec<PlannedLine>,
}

impl Plan {
    pub(crate) fn of<L: Language>(scenario: &Scenario<L>) -> Self {
        let clusters = scenario.topology().clusters().iter();
        let probe = |probe: &crate::Probe| PlannedLine {
            place: probe.at.place(),
            words: format!(
                "{}: {} asks {}:{} {} times a second ({})",
                probe.name, probe.from, probe.service, probe.port, probe.rate, probe.mode
            ),
            parallel: Vec::new(),
        };
        Self {
            name: scenario.name().to_owned(),
            question: scenario.question().to_owned(),
            topology_file: scenario.topology_file().to_path_buf(),
            clusters: clusters.map(|cluster| (cluster.name().to_string(), cluster.nodes().len())).collect(),
            parameters: scenario.parameters().clone(),
            probes: scenario.probes().iter().map(probe).collect(),
            steps: scenario.steps().iter().enumerate().map(|(index, step)| planned(index + 1, step)).collect(),
        }
    }
}

fn planned<L: Language>(number: usize, step: &Step<L>) -> PlannedStep {
    let steady = format!("{} steady requests of each client", step.steady_requests);
    let expectation = |expected: &Located<crate::Expected<L>>| PlannedLine {
        place: expected.place(),
        words: expected.value.to_string(),
        parallel: Vec::new(),
    };
    PlannedStep {
        number,
        name: step.name.clone(),
        place: step.at.place(),
        actions: step.actions.iter().map(action).collect(),
        waits: match step.settle {
            Settle::No => steady,
            settle => format!("{settle}, then {steady}"),
        },
        expectations: step.expectations.iter().map(expectation).collect(),
    }
}

fn action<L: Language>(act: &Located<Act<L>>) -> PlannedLine {
    let place = act.place();
    match &act.value {
        Act::Parallel(acts) => {
            PlannedLine { place, words: "at the same time".to_owned(), parallel: acts.iter().map(action).collect() }
        }
        other => PlannedLine { place, words: other.to_string(), parallel: Vec::new() },
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.name, self.question)?;
        let clusters: Vec<String> = self.clusters.iter().map(|(name, nodes)| format!("{name} ({nodes})")).collect();
        writeln!(f, "  topology {}: {}", self.topology_file.display(), clusters.join(", "))?;
        for (name, value) in &self.parameters {
            writeln!(f, "  parameter {name}: {value}")?;
        }
        for probe in &self.probes {
            writeln!(f, "  probe {} [{}]", probe.words, probe.place)?;
        }
        let width = self.steps.len().to_string().len();
        for step in &self.steps {
            writeln!(f, "\n{:width$}. {} [{}]", step.number, step.name, step.place)?;
            for action in &step.actions {
                line(f, width + 2, "do", action)?;
            }
            writeln!(f, "{:indent$}wait    {}", "", step.waits, indent = width + 2)?;
            for expectation in &step.expectations {
                line(f, width + 2, "expect", expectation)?;
            }
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, indent: usize, verb: &str, line: &PlannedLine) -> fmt::Result {
    writeln!(f, "{:indent$}{verb:8}{} [{}]", "", line.words, line.place)?;
    line.parallel.iter().try_for_each(|inner| self::line(f, indent + 2, "-", inner))
}
