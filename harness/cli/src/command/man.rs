//! `meshbed man`: the man pages, made from the same definitions as `--help`.

use std::fs;

use anyhow::Context;
use clap::CommandFactory;

use crate::{
    args::{Cli, ManArgs},
    exit::Exit,
    printer,
};

pub(super) fn run(args: &ManArgs) -> anyhow::Result<Exit> {
    let folder = &args.folder;
    fs::create_dir_all(folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
    let failed = || format!("failed to write man pages to `{}`", folder.display());
    clap_mangen::generate_to(Cli::command(), folder).with_context(failed)?;
    printer::talk(&format!("`man -l {}` shows them", folder.join("meshbed.1").display()));
    Ok(Exit::Success)
}
