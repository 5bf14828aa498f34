//! `meshbed run`.

use std::{
    fs,
    os::unix::fs::lchown,
    path::{Path, PathBuf},
};

use anyhow::Context;
use meshbed_driver::{Programs, RunId};
use meshbed_engine::{Keep, RunOptions, RunOutcome};
use meshbed_report::terminal::{self, Detail};
use meshbed_scenario::Scenario;

use super::{find, report};
use crate::{args::RunArgs, exit::Exit, interrupt, printer, printer::Progress};

pub(super) fn run(args: RunArgs) -> anyhow::Result<Exit> {
    let scenario = Scenario::load(find::file(&args.scenario, "scenarios")?)?;
    let mut programs = Programs::next_to(&std::env::current_exe()?);
    if let Some(agent) = args.agent {
        programs.mesh_agent = fs::canonicalize(&agent).with_context(|| format!("no agent at `{}`", agent.display()))?;
    }
    require(&programs)?;
    let run = RunId::random()?;
    let folder = args.reports.join(folder_name(&run, scenario.name()));
    fs::create_dir_all(&folder).with_context(|| format!("failed to make `{}`", folder.display()))?;

    let progress = Progress::new(if args.events { Detail::Everything } else { Detail::Outcomes });
    let shown = progress.clone();
    let options = RunOptions {
        scenario,
        run: run.clone(),
        programs,
        keep: if args.keep { Keep::Yes } else { Keep::No },
        agent_env: args.agent_env,
        record: folder.join(report::RECORD),
        listener: Box::new(move |stamped| shown.event(stamped)),
    };
    let outcome = super::runtime()?.block_on(async {
        let interrupted = interrupt::token(run.to_string())?;
        meshbed_engine::run(options, interrupted).await
    });
    progress.finish();
    let outcome = outcome.with_context(|| format!("failed to write the record in `{}`", folder.display()))?;
    tell(&outcome, &folder)?;
    Ok(outcome.verdict.into())
}

fn tell(outcome: &RunOutcome, folder: &Path) -> anyhow::Result<()> {
    report::write(&outcome.record, folder)?;
    give_to_invoker(folder);
    printer::data(&terminal::coloured_table(&outcome.record, printer::colour_of_data()));
    printer::talk(&format!("reports: {}", folder.join("report.html").display()));
    if let Some(kept) = &outcome.kept {
        printer::talk(&format!("run {} stays up; `meshbed status`, `meshbed exec`, `meshbed down`", kept.run));
    }
    Ok(())
}

/// Fails with everything that this machine lacks.
pub(super) fn require(programs: &Programs) -> anyhow::Result<()> {
    let missing = meshbed_driver::preflight(programs);
    if missing.is_empty() {
        return Ok(());
    }
    let line = |missing: &meshbed_driver::Missing| format!("  {}: {}\n    {}", missing.what, missing.why, missing.how);
    let lines: Vec<String> = missing.iter().map(line).collect();
    anyhow::bail!("this machine cannot run a mesh yet:\n{}", lines.join("\n"))
}

/// `<UTC date>-<time>-<scenario>-<run>`: sorts by time, and tells what it is.
fn folder_name(run: &RunId, scenario: &str) -> PathBuf {
    let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    PathBuf::from(format!("{now}-{scenario}-{run}"))
}

/// Under sudo the reports belong to the person, not to root.
fn give_to_invoker(folder: &Path) {
    let id = |name: &str| std::env::var(name).ok().and_then(|id| id.parse::<u32>().ok());
    let (Some(user), Some(group)) = (id("SUDO_UID"), id("SUDO_GID")) else { return };
    let mut waiting = vec![folder.to_owned()];
    waiting.extend(folder.ancestors().skip(1).take(2).map(Path::to_owned));
    while let Some(path) = waiting.pop() {
        if let Err(error) = lchown(&path, Some(user), Some(group)) {
            tracing::warn!(path = %path.display(), %error, "failed to hand over");
        }
        if path.starts_with(folder) {
            waiting.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
}
