//! `meshbed replay`: what a run did, once more.

use std::os::unix::process::CommandExt;

use anyhow::Context;

use super::report;
use crate::{
    args::ReplayArgs,
    exit::{Exit, usage},
    printer,
};

pub(super) fn run(args: &ReplayArgs) -> anyhow::Result<Exit> {
    let (folder, record) = report::load(&args.run)?;
    let info = record.info().with_context(|| format!("the record in `{}` has no beginning", folder.display()))?;
    let words = shlex::split(&info.reproduce).unwrap_or_default();
    let Some((_, words)) = words.split_first().filter(|(program, _)| *program == "meshbed") else {
        return Err(usage(format!("the record in `{}` does not say how it was made", folder.display()), ""));
    };
    let words: Vec<&String> = words.iter().chain(&args.more).collect();
    printer::talk(&info.reproduce);
    // The command line is the one place that knows how flags become a run.
    let program = std::env::current_exe()?;
    Err(std::process::Command::new(&program).args(&words).exec())
        .with_context(|| format!("failed to start `{}`", program.display()))
}
