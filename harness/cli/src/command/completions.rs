//! `meshbed completions`.

use clap::CommandFactory;

use crate::{
    args::{Cli, CompletionsArgs},
    exit::Exit,
    printer,
};

#[expect(clippy::unnecessary_wraps, reason = "commands have one shape")]
pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "meshbed", &mut script);
    printer::data(&String::from_utf8_lossy(&script));
    Ok(Exit::Success)
}
