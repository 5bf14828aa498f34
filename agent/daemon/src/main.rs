//! `mesh-agent`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_agent::main()
}
