//! Agents beside each other, for a terminal.

use tabled::builder::Builder;
use tabled::settings::Style;

use super::{AgentsDiff, Row, StepDiff};
use crate::words;

pub(super) fn text(diff: &AgentsDiff) -> String {
    let mut builder = Builder::default();
    let mut head = vec![words::printable(&diff.scenario)];
    head.extend(diff.agents.iter().map(|agent| words::printable(agent)));
    builder.push_record(head);
    builder.push_record(row("verdict", diff.verdicts.iter().map(|verdict| (*verdict).to_owned())));
    for (number, step) in diff.steps.iter().enumerate() {
        push_step(&mut builder, number + 1, step);
    }
    push_rows(&mut builder, "", &diff.times);
    let mut table = builder.build();
    table.with(Style::rounded());
    let same = diff.steps.iter().filter(|step| step.same()).count();
    let steps = words::count(diff.steps.len() as u64, "step");
    format!("{table}\n{same} of {steps} the same under {}\n", words::count(diff.agents.len() as u64, "agent"))
}

fn push_step(builder: &mut Builder, number: usize, step: &StepDiff) {
    let sign = if step.same() { "=" } else { "≠" };
    let name = format!("{sign} {number} {}", words::printable(&step.name));
    builder.push_record(row(&name, step.outcomes.iter().map(|outcome| (*outcome).to_owned())));
    push_rows(builder, "    ", &step.answers);
    let word = if step.maps_identical { "identical" } else { "different" };
    builder.push_record(row("    maps", step.outcomes.iter().map(|_| word.to_owned())));
    push_rows(builder, "      ", &step.maps);
    push_rows(builder, "    ", &step.times);
}

fn push_rows(builder: &mut Builder, indent: &str, rows: &[Row]) {
    for one in rows {
        let name = format!("{indent}{}", words::printable(&one.of));
        builder.push_record(row(&name, one.values.iter().map(|value| words::printable(value))));
    }
}

fn row(name: &str, values: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(values).collect()
}
