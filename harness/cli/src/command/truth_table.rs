//! `meshbed truth-table`.

use std::fs;

use anyhow::{Context, anyhow};
use meshbed_engine::truth_table::{Tried, TruthTableOptions, try_truth_table};
use meshbed_oracle::{Cell, markdown, truth_table};
use meshbed_scenario::Topology;

use super::{find, runner::UnderTest};
use crate::{
    args::{AgentArgs, TruthTableArgs},
    exit::{Exit, usage},
    interrupt, printer,
};

/// What the table is tried on.
const TOPOLOGY: &str = "two-clusters";
/// What opens the table.
const HEAD: &str = "# Who answered for a global service

The cells of [the computed table](truth-table.md), tried on a real mesh by `meshbed truth-table`: who answered requests of
clients on every node here, with `(+lost)` when some failed although a backend was selectable; then `[active | inactive]`,
whose backends were in the slots of the frontend here. A cell that does not match is bold and says what was expected.
";

pub(super) fn run(args: &TruthTableArgs) -> anyhow::Result<Exit> {
    let programs = UnderTest::of(&AgentArgs::default())?.programs;
    let topology = Topology::load(find::file(TOPOLOGY, "fixtures/topologies")?)?;
    let wanted = |cell: &Cell| args.only.as_ref().is_none_or(|only| cell.annotations.name.contains(only));
    let cells: Vec<Cell> = truth_table().into_iter().filter(wanted).collect();
    if cells.is_empty() {
        return Err(usage("no row has such a name", "`reports/truth-table.md` lists them"));
    }
    let options = TruthTableOptions { programs, topology, cells: cells.clone() };
    let tried = super::runtime()?.block_on(async {
        let interrupted = interrupt::token("--all".to_owned())?;
        try_truth_table(options, &interrupted, printer::talk).await.map_err(|error| anyhow!(error))
    })?;
    fs::write(&args.output, table(&cells, &tried))
        .with_context(|| format!("failed to write `{}`", args.output.display()))?;
    let wrong: Vec<&Tried> = tried.iter().filter(|tried| !tried.findings.is_empty()).collect();
    for Tried { cell, findings, .. } in &wrong {
        let Cell { annotations, local, remote, .. } = cell;
        printer::talk(&format!("{}, {local} here, {remote} there: {}", annotations.name, findings.join("; ")));
    }
    printer::data(&format!("{} cells tried, {} do not match: {}\n", tried.len(), wrong.len(), args.output.display()));
    Ok(if wrong.is_empty() { Exit::Success } else { Exit::Failed })
}

fn table(cells: &[Cell], tried: &[Tried]) -> String {
    markdown(HEAD, cells, |cell| match tried.iter().find(|tried| tried.cell == *cell) {
        Some(Tried { found, findings, .. }) if findings.is_empty() => found.to_string(),
        Some(Tried { found, .. }) => format!("**{found}**, expected {}", cell.expected),
        None => "not tried".to_owned(),
    })
}
