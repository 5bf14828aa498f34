//! Being wrong on purpose: only in the binary `mesh-agent-planted`.

use std::{env, process::ExitCode};

use mesh_planted::{Defect, UnknownDefect};

/// Names the defect.
const VARIABLE: &str = "MESH_AGENT_DEFECT";
/// Prints all defects.
const LIST: &str = "--list-defects";

/// The same program as [`main`](crate::main) with the defect that the environment variable `MESH_AGENT_DEFECT` names;
/// none when it is unset or empty. With the argument `--list-defects` it prints every defect: name, what is wrong, and
/// the issue of cilium/cilium that it resembles (or nothing), with tabs between.
pub fn main_with_planted_defect() -> ExitCode {
    if env::args().nth(1).as_deref() == Some(LIST) {
        return match crate::print(&list()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => crate::fail(&error),
        };
    }
    match chosen() {
        Ok(defect) => {
            defect.into_iter().for_each(mesh_planted::plant);
            crate::main()
        }
        Err(error) => crate::fail(&error.into()),
    }
}

fn chosen() -> Result<Option<Defect>, UnknownDefect> {
    let name = env::var(VARIABLE).unwrap_or_default();
    if name.is_empty() { Ok(None) } else { name.parse().map(Some) }
}

fn list() -> String {
    let line = |defect: &Defect| {
        let issue = defect.resembles().map(|issue| format!("cilium/cilium#{issue}")).unwrap_or_default();
        format!("{defect}\t{}\t{issue}\n", defect.meaning())
    };
    Defect::ALL.iter().map(line).collect()
}
