//! `mesh-agent` with a defect that `MESH_AGENT_DEFECT` names: proves that the testbed finds it. Never for use.

use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_agent::main_with_planted_defect()
}
