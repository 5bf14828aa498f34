//! `meshbed run`.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command, time::Instant};

use anyhow::Context;
use meshbed_engine::{Keep, Scenario};
use meshbed_events::Verdict;
use meshbed_report::{
    github,
    repeats::{self, RepeatSummary},
    terminal::{self, Detail},
};
use tokio_util::sync::CancellationToken;

use super::{
    find, guest, report,
    runner::{Ran, Run, UnderTest, random_seed, reproduce},
};
use crate::{
    args::RunArgs,
    exit::{Exit, usage},
    interrupt, printer,
    printer::Progress,
};

pub(super) fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let (scenarios, files) = for_guests(&args.scenario, &args.set)?;
    if args.dry_run {
        let plans: Vec<String> = scenarios.iter().map(|scenario| scenario.plan().to_string()).collect();
        printer::data(&plans.join("\n"));
        return Ok(Exit::Success);
    }
    let topologies: Vec<_> = scenarios.iter().map(Scenario::topology).collect();
    if let Some(guests) = guest::Guests::by(&args.guest, &topologies, guest::Unnamed::OnNewest)? {
        return in_guests(args, &guests, files);
    }
    if scenarios.len() > 1 && args.junit_file.is_some() {
        return Err(usage("`--junit-file` is for one scenario", "each run has its own `junit.xml` among its reports"));
    }
    let mut under_test = UnderTest::of(&args.agent)?;
    let exit = super::runtime()?.block_on(async {
        under_test.reach_outposts().await?;
        all(args, &under_test, &scenarios).await
    })?;
    Ok(if args.exit_zero_on_failure && exit == Exit::Failed { Exit::Success } else { exit })
}

/// The same command in guests, which get these files.
fn in_guests(args: &RunArgs, guests: &guest::Guests, files: Vec<PathBuf>) -> anyhow::Result<Exit> {
    if args.keep || args.pause_on_fail {
        let hint = "a guest ends with its command";
        return Err(usage("`--keep` and `--pause-on-fail` are for meshes on this machine", hint));
    }
    let results = std::iter::once(args.reports.clone()).chain(args.junit_file.clone()).collect();
    let job = guest::Job { arguments: None, agent: &args.agent, files, results, reports: &args.reports };
    guests.run(&job)
}

/// The scenarios of this name, and all files that a guest needs of them.
pub(super) fn for_guests(scenario: &str, set: &[(String, String)]) -> anyhow::Result<(Vec<Scenario>, Vec<PathBuf>)> {
    let mut files = find::scenarios(scenario)?;
    let scenarios = load(&files, &set.iter().cloned().collect())?;
    files.extend(scenarios.iter().map(|scenario| scenario.topology_file().to_owned()));
    Ok((scenarios, files))
}

/// All scenarios of these files. All findings of all files are told at once.
fn load(files: &[PathBuf], parameters: &BTreeMap<String, String>) -> anyhow::Result<Vec<Scenario>> {
    let mut scenarios = Vec::new();
    let mut findings = Vec::new();
    for file in files {
        match Scenario::load_with(file, parameters) {
            Ok(scenario) => scenarios.push(scenario),
            Err(diagnostics) => findings.push(diagnostics),
        }
    }
    let Some(first) = findings.pop() else { return Ok(scenarios) };
    for diagnostics in findings {
        printer::talk(&diagnostics.to_string());
    }
    Err(first.into())
}

/// All scenarios, one after the other, and a line for each when there are several.
async fn all(args: &RunArgs, under_test: &UnderTest, scenarios: &[Scenario]) -> anyhow::Result<Exit> {
    let interrupted = interrupt::token("--all".to_owned())?;
    let mut worst = Exit::Success;
    let mut lines = Vec::new();
    for scenario in scenarios {
        let seed = args.seed.or(scenario.seed()).unwrap_or_else(random_seed);
        let begun = Instant::now();
        let exit = each(args, under_test, scenario, seed, interrupted.clone()).await?;
        lines.push(format!(
            "{:>12} [{:8.3}s] {}",
            exit.word().to_uppercase(),
            begun.elapsed().as_secs_f64(),
            scenario.name()
        ));
        worst = worse(worst, exit);
        if exit == Exit::Interrupted || (args.fail_fast && exit != Exit::Success) {
            break;
        }
    }
    if scenarios.len() > 1 {
        let left = scenarios.len() - lines.len();
        lines.extend((left > 0).then(|| format!("{left} more were not run")));
        printer::data(&lines.join("\n"));
    }
    Ok(worst)
}

/// All repeats of a scenario.
async fn each(
    args: &RunArgs,
    under_test: &UnderTest,
    scenario: &Scenario,
    seed: u64,
    interrupted: CancellationToken,
) -> anyhow::Result<Exit> {
    let mut repeats = RepeatSummary::default();
    let mut last = None;
    let mut worst = Exit::Success;
    for repeat in 0..args.repeat {
        // Each repeat has a seed of its own, and the first one that of the command.
        let seed = seed.wrapping_add(u64::from(repeat));
        let keep = if args.keep || args.pause_on_fail { Keep::Yes } else { Keep::No };
        let run = Run {
            scenario: scenario.clone(),
            mesh: None,
            keep,
            seed,
            repeat,
            reproduce: reproduce(scenario, &scenario.file().display().to_string(), &args.set, &args.agent, seed),
        };
        let progress = Progress::new(if args.events { Detail::Everything } else { Detail::Outcomes });
        let shown = progress.clone();
        let ran = under_test.run(run, &args.reports, interrupted.clone(), move |stamped| shown.event(stamped)).await;
        progress.finish();
        let ran = ran?;
        let verdict = ran.outcome.verdict;
        after(args, &ran).await?;
        repeats.add(&ran.outcome.record);
        last = Some(ran.outcome.record);
        worst = worse(worst, verdict.into());
        if verdict == Verdict::Interrupted || (args.fail_fast && verdict != Verdict::Passed) {
            break;
        }
    }
    if args.repeat > 1 {
        printer::data(&repeats::terminal(&repeats, printer::colour_of_data()));
        report::write_repeats(&repeats, &args.reports.join(report::repeats_folder(scenario.name())))?;
    }
    if let Some(file) = &args.junit_file {
        let text = match &last {
            Some(record) if args.repeat == 1 => meshbed_report::junit::report(record)?,
            _ => repeats::junit(&repeats)?,
        };
        fs::write(file, text).with_context(|| format!("failed to write `{}`", file.display()))?;
    }
    Ok(worst)
}

/// Tells about a run, and lets a person in when that was asked for.
async fn after(args: &RunArgs, ran: &Ran) -> anyhow::Result<()> {
    let failed = ran.outcome.verdict != Verdict::Passed;
    if args.repeat == 1 || failed {
        printer::data(&terminal::coloured_table(&ran.outcome.record, printer::colour_of_data()));
    }
    if std::env::var_os("GITHUB_ACTIONS").is_some() {
        printer::data(&github::annotations(&ran.outcome.record).join("\n"));
        report::append_step_summary(&meshbed_report::markdown::report(&ran.outcome.record))?;
    }
    printer::talk(&format!("reports: {}", ran.folder.join("report.html").display()));
    let Some(kept) = &ran.outcome.kept else { return Ok(()) };
    // Who interrupts wants to leave, not to look around.
    if args.pause_on_fail && failed && ran.outcome.verdict != Verdict::Interrupted {
        shell(&kept.run.to_string(), ran)?;
    }
    if args.keep {
        printer::talk(&format!("run {} stays up; `meshbed status`, `meshbed exec`, `meshbed down`", kept.run));
    } else {
        meshbed_driver::down(&kept.run).await?;
    }
    Ok(())
}

/// A shell in place. The mesh is as the failure left it.
fn shell(run: &str, ran: &Ran) -> anyhow::Result<()> {
    printer::talk(&format!("run {run} is as the failure left it; leave this shell to take it down"));
    let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let program = std::env::current_exe()?;
    let folder = program.parent().unwrap_or(std::path::Path::new("/"));
    let path = std::env::var("PATH").unwrap_or_default();
    let status = Command::new(&shell)
        .env("MESHBED_RUN", run)
        .env("MESHBED_REPORTS", &ran.folder)
        .env("PATH", format!("{}:{path}", folder.display()))
        .status();
    // However the person left the shell: that is no verdict.
    status.with_context(|| format!("failed to start `{}`", shell.display())).map(drop)
}

/// The worse of two ends: a run that says nothing is worse than one that failed, an interrupted one ends all.
fn worse(a: Exit, b: Exit) -> Exit {
    let rank = |exit: Exit| match exit {
        Exit::Success => 0,
        Exit::TimedOut => 1,
        Exit::Failed => 2,
        Exit::Invalid => 3,
        Exit::Environment | Exit::Usage | Exit::Other(_) => 4,
        Exit::Interrupted => 5,
    };
    if rank(b) > rank(a) { b } else { a }
}
