//! `meshbed report`, and writing the reports of a run.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufReader, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use meshbed_events::{Event, RunRecord, Verdict};
use meshbed_report::{
    bundle::bundle,
    formats::{self, FORMATS, Format},
    repeats::{self, RepeatSummary},
    terminal,
};

use crate::{
    args::ReportArgs,
    exit::{Exit, usage},
    printer,
};

/// Name of the record in a run's folder.
pub(super) const RECORD: &str = "record.jsonl";
/// Name of the archive that a run leaves when it did not pass.
const BUNDLE: &str = "bundle.zip";
/// Where runs are when only their ID is given.
const RUNS: &str = "reports/runs";

pub(super) fn run(args: &ReportArgs) -> anyhow::Result<Exit> {
    match (args.runs.as_slice(), &args.format) {
        ([one], None) => {
            let (folder, record) = load(one)?;
            write(&record, &folder)?;
            printer::data(&terminal::coloured_table(&record, printer::colour_of_data()));
        }
        ([one], Some(name)) => {
            let Some(format) = Format::named(name) else {
                let known: Vec<_> = FORMATS.iter().map(|format| format.name).collect();
                return Err(usage(format!("there is no report `{name}`"), format!("there are: {}", known.join(", "))));
            };
            for text in format.files(&load(one)?.1)?.into_values() {
                printer::data(&text);
            }
        }
        (many, format) => printer::data(&together(many, format.as_deref())?),
    }
    Ok(Exit::Success)
}

/// What several runs say together.
fn together(runs: &[String], format: Option<&str>) -> anyhow::Result<String> {
    let mut repeats = RepeatSummary::default();
    for run in runs {
        // One record at a time: a hundred of them do not fit in memory.
        repeats.add(&load(run)?.1);
    }
    Ok(match format {
        None | Some("terminal") => repeats::terminal(&repeats, printer::colour_of_data()),
        Some("yaml") => repeats::yaml(&repeats)?,
        Some("markdown") => repeats::markdown(&repeats),
        Some("html") => repeats::html(&repeats)?,
        Some("junit") => repeats::junit(&repeats)?,
        Some(other) => {
            let known = "there are: terminal, yaml, markdown, html, junit";
            return Err(usage(format!("there is no report `{other}` of several runs"), known));
        }
    })
}

/// The record of a run, given as its folder, its record or its ID, and the folder that it is in.
pub(super) fn load(run: &str) -> anyhow::Result<(PathBuf, RunRecord)> {
    let found = find(run)?;
    let (folder, path) = if found.is_dir() {
        (found.clone(), found.join(RECORD))
    } else {
        (found.parent().unwrap_or(Path::new(".")).to_owned(), found)
    };
    let file = File::open(&path).with_context(|| format!("failed to open `{}`", path.display()))?;
    let record =
        RunRecord::read(BufReader::new(file)).with_context(|| format!("failed to read `{}`", path.display()))?;
    Ok((folder, record))
}

/// Name of the folder for what repeats of a scenario say together.
pub(super) fn repeats_folder(scenario: &str) -> String {
    format!("{}-{scenario}-repeats", jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S"))
}

/// Name of the folder for what a guest's console and QEMU said.
pub(super) fn guest_folder(kernel: &str) -> String {
    format!("{}-guest-{kernel}", jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S"))
}

/// Writes what repeats of a scenario say together.
pub(super) fn write_repeats(summary: &RepeatSummary, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
    let files = [
        ("repeats.yaml", repeats::yaml(summary)?),
        ("repeats.md", repeats::markdown(summary)),
        ("repeats.html", repeats::html(summary)?),
        ("junit.xml", repeats::junit(summary)?),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("failed to write `{}`", path.display()))?;
    }
    super::runner::give_to_invoker(folder);
    printer::talk(&format!("repeats: {}", folder.join("repeats.html").display()));
    Ok(())
}

/// Adds a report to the summary of a job on GitHub; elsewhere there is no such file.
pub(super) fn append_step_summary(text: &str) -> anyhow::Result<()> {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").map(PathBuf::from) else { return Ok(()) };
    let file = fs::OpenOptions::new().create(true).append(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("failed to append to `{}`", path.display()))
}

fn find(run: &str) -> anyhow::Result<PathBuf> {
    let given = PathBuf::from(run);
    if given.exists() {
        return Ok(given);
    }
    let ends_so =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&format!("-{run}")));
    let folders = fs::read_dir(RUNS).into_iter().flatten().flatten().map(|entry| entry.path());
    let hint = format!("give its folder, or the ID of a run in `{RUNS}`");
    folders.into_iter().find(ends_so).ok_or_else(|| usage(format!("there is no run `{run}`"), hint))
}

/// Writes all reports of a record into its folder, and an archive of everything there when the run did not pass.
pub(super) fn write(record: &RunRecord, folder: &Path) -> anyhow::Result<()> {
    for (name, text) in formats::all(record)? {
        let path = folder.join(&name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("failed to make `{}`", parent.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("failed to write `{}`", path.display()))?;
    }
    let passed = |event: &Event| matches!(event, Event::RunFinished { verdict: Verdict::Passed, .. });
    if record.events.last().is_some_and(|last| passed(&last.event)) {
        return Ok(());
    }
    let path = folder.join(BUNDLE);
    let archive = bundle(record, &others(folder)?)?;
    fs::write(&path, archive).with_context(|| format!("failed to write `{}`", path.display()))
}

/// Files in a run's folder that are neither the record nor a report made of it, such as logs and dumps.
fn others(folder: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
        let made = |format: &Format| match format.file.strip_suffix('/') {
            Some(made) => name == made,
            None => name == format.file,
        };
        if name == RECORD || name == BUNDLE || FORMATS.iter().any(made) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            let entries = fs::read_dir(&path).with_context(|| format!("failed to list `{}`", path.display()))?;
            waiting.extend(entries.flatten().map(|entry| entry.path()));
        } else if path.is_file() {
            let bytes = fs::read(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
            files.insert(name, bytes);
        }
    }
    Ok(files)
}
