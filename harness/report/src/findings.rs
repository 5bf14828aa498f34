//! Everything that did not go well in a run, as one list: what annotations, Markdown and conformance reports tell.

use meshbed_events::{Micros, SourcePlace, StepOutcome};

use crate::{Step, Summary, words};

/// Something that did not go well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Name of the step, if it belongs to one.
    pub(crate) step: Option<String>,
    /// Where in the scenario file.
    pub(crate) place: Option<SourcePlace>,
    /// One line.
    pub(crate) text: String,
}

/// All findings in the order of steps; equal violations of a step are counted.
pub(crate) fn all(summary: &Summary) -> Vec<Finding> {
    let mut found: Vec<Finding> = summary.steps.iter().flat_map(|step| of_step(summary, step)).collect();
    let outside = violations(summary, None);
    found.extend(outside.into_iter().map(|text| Finding { step: None, place: None, text }));
    found
}

/// What did not go well in a step.
pub(crate) fn of_step(summary: &Summary, step: &Step) -> Vec<Finding> {
    let at_step = |text: String| Finding { step: Some(step.name.clone()), place: step.place.clone(), text };
    let mut found = Vec::new();
    for expectation in step.failed_expectations() {
        found.extend(expectation.findings.iter().map(|finding| Finding {
            step: Some(step.name.clone()),
            place: expectation.place.clone().or_else(|| step.place.clone()),
            text: format!("{}: {finding}", expectation.text),
        }));
    }
    let faults = summary.faults.iter().filter(|fault| fault.step == Some(step.index) && fault.witnesses.is_empty());
    found.extend(faults.map(|fault| at_step(format!("no witness of {}", fault.title()))));
    found.extend(violations(summary, Some(step.index)).into_iter().map(at_step));
    if step.outcome == Some(StepOutcome::TimedOut) {
        found.extend(unsettled(summary, step).into_iter().map(at_step));
    }
    found
}

/// What was still wrong in the maps when a step ran out of time.
fn unsettled(summary: &Summary, step: &Step) -> Vec<String> {
    let still = |until: &Micros| step.finished.is_some_and(|finished| *until > finished);
    let mut lines = Vec::new();
    for (node, maps) in &summary.nodes {
        let open = maps.wrong.iter().filter(|interval| interval.until.as_ref().is_none_or(still));
        let in_step = open.filter(|interval| step.finished.is_none_or(|finished| interval.from <= finished));
        lines.extend(in_step.flat_map(|interval| interval.differences.iter().map(|one| format!("{node}: {one}"))));
    }
    lines
}

/// Violations of a step, or of the time between steps; equal ones once, with their number.
pub(crate) fn violations(summary: &Summary, step: Option<usize>) -> Vec<String> {
    let messages = summary.violations.iter().filter(|violation| violation.step == step);
    let counted = words::counted(messages.map(|violation| violation.message.as_str()));
    let with_times = |(message, times): (&str, u64)| match times {
        1 => message.to_owned(),
        _ => format!("{message} ({times} times)"),
    };
    counted.into_iter().map(with_times).collect()
}
