//! `meshbed exec`.

use std::{os::unix::process::ExitStatusExt, path::Path};

use anyhow::Context;
use meshbed_node::exec::command_in_pod;

use super::find;
use crate::{args::ExecArgs, exit::Exit, printer};

pub(super) fn run(args: &ExecArgs) -> anyhow::Result<Exit> {
    let run = find::run(args.run.as_deref())?;
    let pod = find::pod(&run, &args.pod)?;
    let (program, arguments) = args.command.split_first().context("no command given")?;
    let status = match command_in_pod(&pod.state, Path::new(program)).args(arguments).status() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            printer::talk(&format!("error: there is no program `{program}`"));
            return Ok(Exit::Other(NOT_FOUND));
        }
        status => status
            .with_context(|| format!("failed to run `{program}` in pod `{}/{}`", pod.cluster.name, pod.state.name))?,
    };
    let code = status.code().or_else(|| status.signal().map(|signal| SIGNALLED + signal)).unwrap_or(1);
    Ok(Exit::Other(u8::try_from(code).unwrap_or(u8::MAX)))
}

/// What shells return for a command that is not there.
const NOT_FOUND: u8 = 127;
/// What shells add to a signal's number for their exit code.
const SIGNALLED: i32 = 128;
