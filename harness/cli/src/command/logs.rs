//! `meshbed logs`.

use std::{fs, path::PathBuf};

use anyhow::Context;

use super::find;
use crate::{
    args::LogsArgs,
    exit::{Exit, usage},
    printer,
};

pub(super) fn run(args: &LogsArgs) -> anyhow::Result<Exit> {
    let run = find::run(args.run.as_deref())?;
    let entries = fs::read_dir(&run.logs_dir).with_context(|| format!("no folder `{}`", run.logs_dir.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let name = |path: &PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let known: Vec<String> = files.iter().map(name).collect();
    let Some(process) = &args.process else {
        printer::data(&format!("{}\n", known.join("\n")));
        return Ok(Exit::Success);
    };
    let is_whole = known.contains(process);
    let fits =
        |path: &&PathBuf| if is_whole { name(path) == *process } else { name(path).starts_with(process.as_str()) };
    let wanted: Vec<&PathBuf> = files.iter().filter(fits).collect();
    if wanted.is_empty() {
        return Err(usage(format!("no process `{process}` has a log"), format!("there are: {}", known.join(", "))));
    }
    for path in &wanted {
        let text = fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))?;
        if wanted.len() > 1 {
            printer::data(&format!("==> {} <==\n", name(path)));
        }
        printer::data(&String::from_utf8_lossy(&text));
    }
    Ok(Exit::Success)
}
