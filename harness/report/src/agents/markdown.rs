//! Agents beside each other, as Markdown.

use super::{AgentsDiff, Row};
use crate::markdown::{Table, inline, put};

pub(super) fn markdown(diff: &AgentsDiff) -> String {
    let names: Vec<String> = diff.agents.iter().map(|agent| inline(agent)).collect();
    let mut text = format!("# {} under {}\n\n", inline(&diff.scenario), names.join(", "));
    let mut columns = vec!["", "step"];
    columns.extend(names.iter().map(String::as_str));
    let mut table = Table::new(&columns);
    let verdicts = diff.verdicts.iter().map(|verdict| (*verdict).to_owned());
    table.row([String::new(), "**verdict**".to_owned()].into_iter().chain(verdicts));
    for (number, step) in diff.steps.iter().enumerate() {
        let sign = if step.same() { "=" } else { "≠" };
        let name = format!("**{} {}**", number + 1, inline(&step.name));
        let outcomes = step.outcomes.iter().map(|outcome| (*outcome).to_owned());
        table.row([sign.to_owned(), name].into_iter().chain(outcomes));
        rows(&mut table, &step.answers);
        rows(&mut table, &step.maps);
        rows(&mut table, &step.times);
    }
    put(&mut text, format_args!("{}\n## Whole runs\n\n", table.finish()));
    let mut table = Table::new(&columns);
    rows(&mut table, &diff.times);
    text.push_str(&table.finish());
    text
}

fn rows(table: &mut Table, rows: &[Row]) {
    for row in rows {
        let values = row.values.iter().map(|value| inline(value));
        table.row([String::new(), inline(&row.of)].into_iter().chain(values));
    }
}
