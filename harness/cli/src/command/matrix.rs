//! `meshbed matrix`: the conformance suite on many kernels.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::{StreamExt, stream};
use meshbed_report::{
    conformance::{self, CaseReport, CaseResult, ConformanceReport},
    matrix::{self, CellResult, KernelColumn, MatrixReport},
};
use meshbed_scenario::{KernelSpec, Kernels, Level};
use meshbed_vm::{Accelerator, Cache, End, fetch, protocol::Hello};
use tokio_util::sync::CancellationToken;

use super::{
    conformance::{CaseDone, chosen, load},
    guest::{self, Wanted},
    kernel, report,
    runner::{give_to_invoker, random_seed},
};
use crate::{args::MatrixArgs, board::Board, exit::Exit, interrupt, printer};

/// How often a kernel is tried again that the emulator made panic.
const EMULATORS_PANICS_MAX: usize = 2;

pub(super) fn run(args: &MatrixArgs) -> anyhow::Result<Exit> {
    if !args.merge.is_empty() {
        return finish(&merged(&args.merge)?, &args.output);
    }
    let kernels = kernel::kernels(&args.file)?;
    let wanted = wanted(&kernels, &args.kernels)?;
    let seed = args.seed.unwrap_or_else(random_seed);
    let cases = cases(args)?;
    let started = jiff::Timestamp::now();
    let jobs = args.jobs.map_or_else(|| jobs(args), usize::from);
    let begun = Instant::now();
    printer::talk(&format!("{} cases on {} kernels, guests at a time: {jobs}, seed {seed}", cases.len(), wanted.len()));
    let columns = super::runtime()?.block_on(async {
        let interrupted = interrupt::token("--all".to_owned())?;
        let board = Board::new(wanted.iter().map(|spec| spec.name()));
        let all = wanted.iter().map(|spec| one(args, &kernels, spec, seed, &board, interrupted.clone()));
        // In the order of the file, whichever is done first.
        let columns = stream::iter(all).buffered(jobs).collect::<Vec<_>>();
        let columns = tokio::select! {
            columns = columns => columns,
            never = board.goes_on() => match never {},
        };
        board.finish();
        anyhow::Ok(columns)
    })?;
    let agent = columns.iter().find_map(|(_, report)| Some(report.as_ref()?.agent.clone())).unwrap_or_default();
    let matrix = MatrixReport::new(&agent, started.to_string(), &cases, columns);
    printer::talk(&format!("all of it took {:.0} s", begun.elapsed().as_secs_f64()));
    finish(&matrix, &args.output)
}

fn merged(files: &[PathBuf]) -> anyhow::Result<MatrixReport> {
    let read = |file: &PathBuf| -> anyhow::Result<MatrixReport> {
        let text = fs::read_to_string(file).with_context(|| format!("failed to read `{}`", file.display()))?;
        matrix::read(&text).with_context(|| format!("`{}` is no matrix", file.display()))
    };
    let reports = files.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    MatrixReport::merged(reports).context("no file was given")
}

/// Writes and shows a matrix, and what it means for the exit code.
fn finish(matrix: &MatrixReport, output: &Path) -> anyhow::Result<Exit> {
    write(matrix, output)?;
    printer::data(&matrix::terminal(matrix, printer::colour_of_data()));
    if std::env::var_os("GITHUB_ACTIONS").is_some() {
        report::append_step_summary(&matrix::markdown(matrix))?;
    }
    Ok(if matrix.has_failed() {
        Exit::Failed
    } else if matrix.count(CellResult::Unknown) > 0 {
        Exit::Invalid
    } else {
        Exit::Success
    })
}

fn wanted<'a>(kernels: &'a Kernels, names: &[String]) -> anyhow::Result<Vec<&'a KernelSpec>> {
    if names.iter().any(|name| name == "all") {
        return Ok(kernels.all().iter().collect());
    }
    names.iter().map(|name| kernel::find(kernels, name)).collect()
}

/// All cases that are to be run, as rows.
fn cases(args: &MatrixArgs) -> anyhow::Result<Vec<CaseReport>> {
    let cases = chosen(load(&args.cases)?, &args.profile, &args.only, None)?;
    let row = |case: &super::conformance::Case| CaseReport {
        id: case.about.id.clone(),
        title: case.question().to_owned(),
        required: case.about.level == Level::Required,
        ..CaseReport::default()
    };
    Ok(cases.iter().map(row).collect())
}

/// As many guests as there are processors for, and memory.
fn jobs(args: &MatrixArgs) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let by_processors = processors / usize::from(args.size.guest_cpus);
    let free_kib = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text)).unwrap_or(0);
    let by_memory = usize::try_from(free_kib / 1024 / u64::from(args.size.guest_memory)).unwrap_or(usize::MAX);
    by_processors.min(by_memory).max(1)
}

/// `MemAvailable` in KiB (proc_meminfo(5)).
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// All cases on one kernel. What goes wrong with the guest is a part of the matrix.
async fn one(
    args: &MatrixArgs,
    kernels: &Kernels,
    spec: &KernelSpec,
    seed: u64,
    board: &Board,
    interrupted: CancellationToken,
) -> (KernelColumn, Option<ConformanceReport>) {
    let begun = Instant::now();
    board.begins(spec.name());
    let mut column = KernelColumn { name: spec.name().to_owned(), ..KernelColumn::default() };
    let reports = args.reports.join(report::guest_folder(spec.name()));
    let output = reports.join("conformance");
    let job = guest::Job {
        arguments: Some(arguments(args, seed, &output, &reports)),
        agent: &args.agent,
        files: vec![args.cases.clone()],
        results: vec![reports.clone()],
        reports: &reports,
    };
    let end = async {
        let kernel = fetch::fetch(&Cache::of_user(), kernels, spec, false)?;
        let mut hello = |hello: Hello, accelerator: Accelerator, took: Duration| {
            column.accelerator = accelerator.name().to_owned();
            column.slowness = meshbed_vm::slowness(&hello);
            column.boot_seconds = took.as_secs_f64();
            column.release = hello.release;
            board.does(spec.name(), "begins");
        };
        let wanted = Wanted::new(kernel, args.size)?;
        let mut tries_left = EMULATORS_PANICS_MAX;
        loop {
            let progress = Progress::new(spec.name(), board);
            let end = wanted.run_beside(&job, interrupted.clone(), &mut hello, |line| progress.hear(line)).await?;
            if !end.is_emulators() || tries_left == 0 {
                break anyhow::Ok(end);
            }
            tries_left -= 1;
            board.tell(spec.name(), "the emulator made the kernel panic; all of it once more");
        }
    };
    let found = match end.await {
        Ok(end) => {
            (column.trouble, column.died) = trouble(&end);
            written(&output)
        }
        Err(error) => Err(error),
    };
    let found = found.unwrap_or_else(|error| {
        column.trouble = format!("{error:#}");
        None
    });
    if !column.trouble.is_empty() {
        board.does(&column.name, &column.trouble);
        board.tell(&column.name, &column.trouble);
    }
    board.ends(&column.name);
    column.seconds = begun.elapsed().as_secs_f64();
    (column, found)
}

/// How far the suite is in one guest.
struct Progress<'b> {
    kernel: &'b str,
    board: &'b Board,
    not_conformant: Cell<usize>,
}

impl<'b> Progress<'b> {
    fn new(kernel: &'b str, board: &'b Board) -> Self {
        Self { kernel, board, not_conformant: Cell::new(0) }
    }

    /// Takes a line of the suite. Where the table is shown, what is as it should be is not told beside it.
    fn hear(&self, line: &str) {
        let case = CaseDone::read(line);
        let is_well = case.as_ref().is_some_and(|case| case.result == CaseResult::Conformant);
        if let Some(case) = case {
            let bad = self.not_conformant.get() + usize::from(!is_well);
            self.not_conformant.set(bad);
            let words = if bad == 0 { "all conformant".to_owned() } else { format!("{bad} not conformant") };
            self.board.does(self.kernel, &format!("{} of {}: {words}", case.done, case.of));
        }
        // The guest's own reports become a part of ours.
        if !line.starts_with("report: ") && (!is_well || !self.board.is_shown()) {
            self.board.tell(self.kernel, line);
        }
    }
}

/// The report that the guest left in `folder`; none when it ended before it had one.
fn written(folder: &Path) -> anyhow::Result<Option<ConformanceReport>> {
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let Some(file) = entries.find(|path| path.extension().is_some_and(|ending| ending == "yaml")) else {
        return Ok(None);
    };
    let failed = || format!("failed to read `{}`", file.display());
    let text = fs::read_to_string(&file).with_context(failed)?;
    Ok(Some(conformance::read(&text).with_context(failed)?))
}

/// `conformance` with what was asked of the matrix. One case at a time: guests have few processors.
fn arguments(args: &MatrixArgs, seed: u64, output: &Path, reports: &Path) -> Vec<String> {
    let mut words: Vec<String> = ["conformance", "--jobs", "1", "--seed"].map(str::to_owned).into();
    words.push(seed.to_string());
    words.extend((!args.own_meshes).then(|| "--share-meshes".to_owned()));
    words.extend(["--profile".to_owned(), args.profile.join(",")]);
    if !args.only.is_empty() {
        words.extend(["--only".to_owned(), args.only.join(",")]);
    }
    for (flag, path) in [("--cases", args.cases.as_path()), ("--output", output), ("--reports", reports)] {
        words.extend([flag.to_owned(), path.display().to_string()]);
    }
    words.extend(args.agent.words());
    words
}

/// What an end of a guest says about its kernel, and whether it died of what ran on it.
fn trouble(end: &End) -> (String, bool) {
    match end {
        // Conformance says itself what did not pass.
        End::Exited(0 | 1 | 4) => (String::new(), false),
        End::Exited(code) => (format!("the suite ended with {code}"), false),
        End::Panicked { why, .. } => (format!("the kernel panicked: {why}"), true),
        End::OutOfMemory { line } => (format!("out of memory: {line}"), false),
        End::Hung { waited } => (format!("it hung: not a word for {waited:.0?}"), true),
        End::Gone { why } => (format!("it is gone: {why}"), false),
        End::Interrupted => ("interrupted".to_owned(), false),
    }
}

fn write(report: &MatrixReport, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
    let files = [("yaml", matrix::yaml(report)?), ("md", matrix::markdown(report)), ("html", matrix::html(report)?)];
    for (extension, text) in files {
        let path: PathBuf = folder.join(format!("matrix.{extension}"));
        fs::write(&path, text).with_context(|| format!("failed to write `{}`", path.display()))?;
        printer::talk(&format!("report: {}", path.display()));
    }
    give_to_invoker(folder);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_there() {
        assert_eq!(available("MemTotal: 100 kB\nMemAvailable:   90 kB\n"), Some(90));
        assert_eq!(available("nonsense"), None);
    }

    #[test]
    fn a_panic_is_the_kernels_own() {
        assert!(trouble(&End::Panicked { why: "oops".into(), lines: Vec::new() }).1);
        assert_eq!(trouble(&End::Exited(1)), (String::new(), false));
        assert!(!trouble(&End::Gone { why: "x".into() }).1);
    }
}
