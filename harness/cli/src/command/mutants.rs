//! `meshbed mutants`: whether the suite notices agents that are wrong on purpose.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
    process::Command,
};

use anyhow::{Context, bail};
use futures::{StreamExt, stream};
use meshbed_report::conformance::CaseResult;

use super::{
    conformance::{Case, load, one},
    meshes::Meshes,
    runner::{UnderTest, random_seed},
};
use crate::{
    args::{AgentArgs, ConformanceArgs, GuestArgs, MutantsArgs},
    exit::{Exit, usage},
    interrupt, printer,
};

/// Description of the agent that has defects to choose from.
const AGENT: &str = "mesh-agent-planted";
/// Environment variable that chooses one.
const DEFECT: &str = "MESH_AGENT_DEFECT";

/// A defect, and the cases that must notice it.
struct Mutant {
    defect: String,
    cases: Vec<String>,
}

/// What became of it.
struct Caught {
    defect: String,
    /// Case and result.
    results: Vec<(String, CaseResult)>,
    /// First line of the reason of the first case that noticed.
    reason: String,
}

impl Caught {
    fn is_caught(&self) -> bool {
        self.results.iter().all(|(_, result)| *result == CaseResult::NonConformant)
    }
}

pub(super) fn run(args: &MutantsArgs) -> anyhow::Result<Exit> {
    let cases = load(&args.cases)?;
    let mut mutants = table(&args.table, &cases)?;
    let known = defects(args)?;
    let listed: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.defect.as_str()).collect();
    if let Some(missing) = known.iter().find(|defect| !listed.contains(defect.as_str())) {
        return Err(usage(
            format!("`{}` has no line for `{missing}`", args.table.display()),
            "say which case notices it",
        ));
    }
    if let Some(unknown) = listed.iter().find(|defect| !known.contains(**defect)) {
        return Err(usage(format!("`{}` has a line for `{unknown}`, which is no defect", args.table.display()), ""));
    }
    mutants.retain(|mutant| args.only.is_empty() || args.only.contains(&mutant.defect));
    let caught = super::runtime()?.block_on(all(args, &cases, &mutants))?;
    let text = markdown(&caught);
    printer::data(&text);
    if args.only.is_empty() {
        fs::write(&args.output, &text).with_context(|| format!("failed to write `{}`", args.output.display()))?;
    }
    Ok(if caught.iter().all(Caught::is_caught) { Exit::Success } else { Exit::Failed })
}

/// What the planted agent says that it can do wrong.
fn defects(args: &MutantsArgs) -> anyhow::Result<BTreeSet<String>> {
    let programs = UnderTest::of(&agent_args(args, None))?.programs;
    let program = programs.find(AGENT);
    let output = Command::new(&program)
        .arg("--list-defects")
        .output()
        .with_context(|| format!("failed to start `{}`; `just mutants` builds it", program.display()))?;
    if !output.status.success() {
        bail!("`{} --list-defects` ended with {}", program.display(), output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text
        .lines()
        .filter_map(|line| line.split('\t').next())
        .map(str::to_owned)
        .filter(|name| !name.is_empty())
        .collect())
}

fn agent_args(args: &MutantsArgs, defect: Option<&str>) -> AgentArgs {
    AgentArgs {
        agent: Some(AGENT.to_owned()),
        agent_in: Vec::new(),
        agent_bin_dir: args.agent_bin_dir.clone(),
        agent_env: defect.map(|defect| (DEFECT.to_owned(), defect.to_owned())).into_iter().collect(),
    }
}

/// Lines of the form `defect: CASE CASE`; `#` begins a comment.
fn table(file: &Path, cases: &[Case]) -> anyhow::Result<Vec<Mutant>> {
    let text = fs::read_to_string(file).with_context(|| format!("failed to read `{}`", file.display()))?;
    let mut mutants = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let place = format!("{}:{}", file.display(), number + 1);
        let wrong = || usage(format!("{place}: expected `defect: CASE …`, found `{line}`"), "");
        let (defect, ids) = line.split_once(':').ok_or_else(wrong)?;
        let ids: Vec<String> = ids.split_whitespace().map(str::to_owned).collect();
        if ids.is_empty() {
            return Err(wrong());
        }
        if let Some(unknown) = ids.iter().find(|id| !cases.iter().any(|case| case.about.id == **id)) {
            return Err(usage(format!("{place}: there is no case `{unknown}`"), ""));
        }
        mutants.push(Mutant { defect: defect.trim().to_owned(), cases: ids });
    }
    Ok(mutants)
}

async fn all(args: &MutantsArgs, cases: &[Case], mutants: &[Mutant]) -> anyhow::Result<Vec<Caught>> {
    let interrupted = interrupt::token("--all".to_owned())?;
    let by_id: BTreeMap<&str, &Case> = cases.iter().map(|case| (case.about.id.as_str(), case)).collect();
    let seed = random_seed();
    let mut running = stream::iter(mutants)
        .map(|mutant| async {
            let conformance = conformance_args(args, &mutant.defect);
            let under_test = UnderTest::of(&conformance.agent)?;
            let mut caught = Caught { defect: mutant.defect.clone(), results: Vec::new(), reason: String::new() };
            for case in mutant.cases.iter().filter_map(|id| by_id.get(id.as_str())) {
                let (report, _) =
                    one(&conformance, &under_test, case, seed, &Meshes::of_their_own(), interrupted.clone()).await?;
                if caught.reason.is_empty() && report.result == CaseResult::NonConformant {
                    caught.reason = report.reason.lines().next().unwrap_or_default().to_owned();
                }
                caught.results.push((case.about.id.clone(), report.result));
            }
            anyhow::Ok(caught)
        })
        .buffered(usize::from(args.jobs));
    let mut all = Vec::new();
    while let Some(caught) = running.next().await {
        let caught = caught?;
        let word = if caught.is_caught() { "CAUGHT" } else { "SURVIVED" };
        let results: Vec<String> =
            caught.results.iter().map(|(id, result)| format!("{id} {}", result.as_str())).collect();
        printer::talk(&format!("{word:>12} {} ({})", caught.defect, results.join(", ")));
        all.push(caught);
    }
    Ok(all)
}

fn conformance_args(args: &MutantsArgs, defect: &str) -> ConformanceArgs {
    ConformanceArgs {
        guest: GuestArgs::default(),
        agent: agent_args(args, Some(defect)),
        profile: Vec::new(),
        only: Vec::new(),
        repeat: 1,
        jobs: 1,
        share_meshes: false,
        shard: None,
        quarantine: None,
        seed: None,
        cases: args.cases.clone(),
        output: args.output.clone(),
        reports: args.reports.clone(),
    }
}

fn markdown(caught: &[Caught]) -> String {
    let count = caught.iter().filter(|one| one.is_caught()).count();
    let mut text = format!(
        "# Planted defects\n\n{count} of {} defects are caught. `just mutants` makes this table.\n\n\
         | defect | caught | by |\n|---|---|---|\n",
        caught.len()
    );
    for one in caught {
        let by: Vec<&str> = one.results.iter().map(|(id, _)| id.as_str()).collect();
        let is = if one.is_caught() { "yes" } else { "**no**" };
        // Writing to a String cannot fail.
        let _never = writeln!(text, "| {} | {is} | {} |", one.defect, by.join(", ")).is_err();
    }
    text
}
