//! `meshbed lint`.

use meshbed_scenario::{Scenario, Topology};

use super::find;
use crate::{args::LintArgs, exit::Exit, printer};

pub(super) fn run(args: &LintArgs) -> anyhow::Result<Exit> {
    let mut exit = Exit::Success;
    for given in &args.files {
        let path = find::file(given, "scenarios")?;
        let is_topology = std::fs::read_to_string(&path)
            .is_ok_and(|text| text.lines().any(|line| line.trim_end() == "kind: Topology"));
        let found = if is_topology { Topology::load(&path).map(drop) } else { Scenario::load(&path).map(drop) };
        match found {
            Ok(()) => printer::talk(&format!("{}: no findings", path.display())),
            Err(diagnostics) => {
                printer::error(&diagnostics.into());
                exit = Exit::Usage;
            }
        }
    }
    Ok(exit)
}
