//! `meshbed diff`.

use meshbed_report::diff::RunDiff;

use super::report;
use crate::{args::DiffArgs, exit::Exit, printer};

pub(super) fn run(args: &DiffArgs) -> anyhow::Result<Exit> {
    let (_, left) = report::load(&args.left)?;
    let (_, right) = report::load(&args.right)?;
    let diff = RunDiff::of(&left, &right);
    printer::data(&diff.text());
    Ok(if diff.same() { Exit::Success } else { Exit::Failed })
}
