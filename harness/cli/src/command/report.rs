//! `meshbed report`, and writing the reports of a run.

use std::{
    fs::{self, File},
    io::BufReader,
    path::Path,
};

use anyhow::Context;
use meshbed_events::RunRecord;
use meshbed_report::{html, junit, maps, terminal, yaml};

use crate::{args::ReportArgs, exit::Exit, printer};

/// Name of the record in a run's folder.
pub(super) const RECORD: &str = "record.jsonl";

pub(super) fn run(args: &ReportArgs) -> anyhow::Result<Exit> {
    let path = args.folder.join(RECORD);
    let file = File::open(&path).with_context(|| format!("failed to open `{}`", path.display()))?;
    let record =
        RunRecord::read(BufReader::new(file)).with_context(|| format!("failed to read `{}`", path.display()))?;
    write(&record, &args.folder)?;
    printer::data(&terminal::coloured_table(&record, printer::colour_of_data()));
    Ok(Exit::Success)
}

/// Writes all reports of a record into its folder.
pub(super) fn write(record: &RunRecord, folder: &Path) -> anyhow::Result<()> {
    let store = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("failed to write `{}`", path.display()))
    };
    store("report.yaml", yaml::report(record)?)?;
    store("report.normalised.yaml", yaml::normalised(record)?)?;
    store("junit.xml", junit::report(record)?)?;
    store("report.html", html::report(record)?)?;
    for (name, text) in maps::texts(record) {
        let path = folder.join("maps").join(&name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("failed to make `{}`", parent.display()))?;
        }
        store(&format!("maps/{name}"), text)?;
    }
    Ok(())
}
