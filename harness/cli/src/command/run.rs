//! `meshbed run`.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::Context;
use meshbed_engine::{Keep, Scenario};
use meshbed_events::Verdict;
use meshbed_report::{
    github,
    repeats::{self, RepeatSummary},
    terminal::{self, Detail},
};

use super::{
    find, report,
    runner::{Ran, Run, UnderTest, random_seed, reproduce},
};
use crate::{args::RunArgs, exit::Exit, interrupt, printer, printer::Progress};

pub(super) fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let parameters: BTreeMap<String, String> = args.set.iter().cloned().collect();
    let file = find::scenario(&args.scenario)?;
    let scenario = Scenario::load_with(&file, &parameters)?;
    if args.dry_run {
        printer::data(&scenario.plan().to_string());
        return Ok(Exit::Success);
    }
    let under_test = UnderTest::of(&args.agent)?;
    let seed = args.seed.or(scenario.seed()).unwrap_or_else(random_seed);
    let exit = super::runtime()?.block_on(all(args, &under_test, &scenario, seed))?;
    Ok(if args.exit_zero_on_failure && exit == Exit::Failed { Exit::Success } else { exit })
}

/// All repeats.
async fn all(args: &RunArgs, under_test: &UnderTest, scenario: &Scenario, seed: u64) -> anyhow::Result<Exit> {
    let interrupted = interrupt::token("--all".to_owned())?;
    let mut repeats = RepeatSummary::default();
    let mut last = None;
    let mut worst = Exit::Success;
    for repeat in 0..args.repeat {
        // Each repeat has a seed of its own, and the first one that of the command.
        let seed = seed.wrapping_add(u64::from(repeat));
        let keep = if args.keep || args.pause_on_fail { Keep::Yes } else { Keep::No };
        let run = Run {
            scenario: scenario.clone(),
            keep,
            seed,
            repeat,
            reproduce: reproduce(&args.scenario, &args.set, &args.agent, seed),
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
