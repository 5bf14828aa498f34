//! `meshbed conformance`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use futures::{FutureExt, StreamExt, stream};
use meshbed_engine::Scenario;
use meshbed_events::{RunRecord, Verdict};
use meshbed_report::conformance::{self, CaseReport, CaseResult, ConformanceReport, ProfileReport};
use meshbed_scenario::{Conformance, Level};
use tokio_util::sync::CancellationToken;

use super::{
    guest,
    meshes::Meshes,
    runner::{Run, UnderTest, give_to_invoker, random_seed, reproduce},
};
use crate::{
    args::ConformanceArgs,
    exit::{Exit, usage},
    interrupt, printer,
};

/// A case and the scenario that answers it.
pub(super) struct Case {
    file: PathBuf,
    scenario: Scenario,
    pub(super) about: Conformance,
}

impl Case {
    /// What it asks.
    pub(super) fn question(&self) -> &str {
        self.scenario.question()
    }
}

pub(super) fn run(args: &ConformanceArgs) -> anyhow::Result<Exit> {
    let cases = chosen(load(&args.cases)?, &args.profile, &args.only, args.shard)?;
    let topologies: Vec<_> = cases.iter().map(|case| case.scenario.topology()).collect();
    if let Some(guests) = guest::Guests::by(&args.guest, &topologies, guest::Unnamed::WithFirst)? {
        let files = std::iter::once(args.cases.clone()).chain(args.quarantine.clone()).collect();
        let results = vec![args.output.clone(), args.reports.clone()];
        return guests.run(&guest::Job { arguments: None, agent: &args.agent, files, results, reports: &args.reports });
    }
    let quarantined = quarantined(args.quarantine.as_deref())?;
    let mut under_test = UnderTest::of(&args.agent)?;
    let seed = args.seed.unwrap_or_else(random_seed);
    let started = jiff::Timestamp::now().to_string();
    let (reports, record) = super::runtime()?.block_on(async {
        under_test.reach_outposts().await?;
        all(args, &under_test, &cases, seed).await
    })?;
    let report = assemble(&under_test, &cases, reports, record.as_ref(), started);
    write(&report, &args.output)?;
    printer::data(&conformance::terminal(&report, printer::colour_of_data()));
    if std::env::var_os("GITHUB_ACTIONS").is_some() {
        super::report::append_step_summary(&conformance::markdown(&report))?;
    }
    Ok(verdict(&report, &quarantined))
}

/// All cases of a folder, by ID. All findings of all files are told at once.
pub(super) fn load(folder: &Path) -> anyhow::Result<Vec<Case>> {
    let entries = fs::read_dir(folder).with_context(|| format!("no folder `{}`", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    let mut cases = Vec::new();
    let mut findings = Vec::new();
    for file in files {
        match Scenario::load(&file) {
            Err(diagnostics) => findings.push(diagnostics),
            Ok(scenario) => {
                let about = scenario.conformance().cloned();
                let none = || usage(format!("`{}` is no case: it has no `conformance`", file.display()), "");
                let about = about.ok_or_else(none)?;
                cases.push(Case { file, scenario, about });
            }
        }
    }
    if let Some(first) = findings.pop() {
        for diagnostics in findings {
            printer::talk(&diagnostics.to_string());
        }
        return Err(first.into());
    }
    cases.sort_by(|a, b| a.about.id.cmp(&b.about.id));
    let twice = cases.windows(2).find(|pair| pair[0].about.id == pair[1].about.id);
    match twice {
        Some(pair) => Err(usage(format!("two cases have the ID `{}`", pair[0].about.id), "")),
        None => Ok(cases),
    }
}

/// Those that the arguments ask for.
pub(super) fn chosen(
    mut cases: Vec<Case>,
    profiles: &[String],
    only: &[String],
    shard: Option<(usize, usize)>,
) -> anyhow::Result<Vec<Case>> {
    let known: BTreeSet<String> =
        cases.iter().flat_map(|case| case.about.profiles.iter().map(ToString::to_string)).collect();
    if let Some(unknown) = profiles.iter().find(|profile| !known.contains(*profile)) {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        return Err(usage(format!("there is no profile `{unknown}`"), format!("there are: {}", known.join(", "))));
    }
    if let Some(unknown) = only.iter().find(|id| !cases.iter().any(|case| case.about.id == **id)) {
        return Err(usage(format!("there is no case `{unknown}`"), "`meshbed list` shows them"));
    }
    let in_profile = |case: &Case| {
        profiles.is_empty() || case.about.profiles.iter().any(|profile| profiles.contains(&profile.to_string()))
    };
    cases.retain(|case| in_profile(case) && (only.is_empty() || only.contains(&case.about.id)));
    if let Some((part, of)) = shard {
        let mut index = 0;
        cases.retain(|_| {
            index += 1;
            (index - 1) % of == part - 1
        });
    }
    if cases.is_empty() { Err(usage("no case is left to run", "")) } else { Ok(cases) }
}

/// Runs all cases, some at the same time. Returns their reports by ID, and one of the records.
async fn all(
    args: &ConformanceArgs,
    under_test: &UnderTest,
    cases: &[Case],
    seed: u64,
) -> anyhow::Result<(BTreeMap<String, CaseReport>, Option<RunRecord>)> {
    let interrupted = interrupt::token("--all".to_owned())?;
    let meshes = if args.share_meshes { Meshes::shared() } else { Meshes::of_their_own() };
    let order = if args.share_meshes { by_topology(cases) } else { cases.iter().collect() };
    let mut running = stream::iter(order)
        .map(|case| one(args, under_test, case, seed, &meshes, interrupted.clone()).map(move |outcome| (case, outcome)))
        .buffer_unordered(if guest::leads_others() { 1 } else { usize::from(args.jobs) });
    let mut reports = BTreeMap::new();
    let mut any = None;
    while let Some((case, outcome)) = running.next().await {
        let (report, record) = outcome?;
        printer::talk(&progress(&report, reports.len() + 1, cases.len()));
        for line in report.reason.lines() {
            printer::talk(&format!("{:>16}{line}", ""));
        }
        any = any.or(record);
        reports.insert(case.about.id.clone(), report);
    }
    drop(running);
    meshes.down().await;
    Ok((reports, any))
}

/// The line that tells of a case that is done.
fn progress(report: &CaseReport, done: usize, of: usize) -> String {
    let took = report.duration().map(|took| format!("[{:8.3}s]", took.as_secs_f64())).unwrap_or_default();
    format!("{:>15} {took:11} ({done:>3}/{of}) {} {}", report.result.as_str(), report.id, report.title)
}

/// What a line says that [`progress`] made, of a command in a guest.
pub(super) struct CaseDone {
    pub(super) result: CaseResult,
    pub(super) done: usize,
    pub(super) of: usize,
}

impl CaseDone {
    /// None if the line says something else.
    pub(super) fn read(line: &str) -> Option<Self> {
        let (before, rest) = line.split_once('(')?;
        let word = before.split_once('[').map_or(before, |(word, _)| word).trim();
        let result = CaseResult::ALL.into_iter().find(|result| result.as_str() == word)?;
        let (done, of) = rest.split_once(')')?.0.split_once('/')?;
        Some(Self { result, done: done.trim().parse().ok()?, of: of.parse().ok()? })
    }
}

/// The cases in such an order that those with the same topology come one after the other.
fn by_topology(cases: &[Case]) -> Vec<&Case> {
    let first = |case: &Case| {
        cases.iter().position(|other| other.scenario.topology() == case.scenario.topology()).unwrap_or_default()
    };
    let mut order: Vec<&Case> = cases.iter().collect();
    order.sort_by_key(|case| first(case));
    order
}

/// Runs one case, as often as asked for. The first run that is not conformant decides.
pub(super) async fn one(
    args: &ConformanceArgs,
    under_test: &UnderTest,
    case: &Case,
    seed: u64,
    meshes: &Meshes,
    interrupt: CancellationToken,
) -> anyhow::Result<(CaseReport, Option<RunRecord>)> {
    let reproduce = reproduce(&case.scenario, &case.file.display().to_string(), &[], &args.agent, seed);
    let mut report = CaseReport {
        id: case.about.id.clone(),
        title: case.scenario.question().to_owned(),
        required: case.about.level == Level::Required,
        issue: case.about.issue.clone(),
        reproduce: reproduce.clone(),
        ..CaseReport::default()
    };
    let claims: BTreeSet<String> = under_test.agent.capabilities().iter().map(ToString::to_string).collect();
    let lacking: Vec<&str> =
        case.about.requires.iter().filter(|need| !claims.contains(*need)).map(String::as_str).collect();
    if !lacking.is_empty() {
        report.result = CaseResult::Unsupported;
        report.reason = format!("the agent does not claim {}", lacking.join(", "));
        return Ok((report, None));
    }
    let mut last = None;
    for repeat in 0..args.repeat {
        if interrupt.is_cancelled() {
            break;
        }
        let seed = seed.wrapping_add(u64::from(repeat));
        let topology = case.scenario.topology();
        let mut mesh = meshes.take(topology).await;
        let ran = loop {
            let used = mesh.is_some();
            let (scenario, keep, reproduce) = (case.scenario.clone(), meshes.keep(), reproduce.clone());
            let run = Run { scenario, mesh: mesh.take(), keep, seed, repeat, reproduce };
            let mut ran = under_test.run(run, &args.reports, interrupt.clone(), |_| {}).await?;
            if let Some(mesh) = ran.outcome.mesh.take() {
                meshes.give(topology.clone(), mesh).await;
            }
            let verdict = ran.outcome.verdict;
            if !used || matches!(verdict, Verdict::Passed | Verdict::Interrupted) {
                break ran;
            }
            let (id, folder) = (&case.about.id, ran.folder.display());
            printer::talk(&format!("{id} did not pass on a used mesh ({folder}); once more on one of its own"));
        };
        report = report.judged_by(&ran.outcome.record);
        last = Some(ran.outcome.record);
        if report.result != CaseResult::Conformant {
            break;
        }
        // Runs that passed are not kept: there would be thousands.
        fs::remove_dir_all(&ran.folder).with_context(|| format!("failed to remove `{}`", ran.folder.display()))?;
    }
    Ok((report, last))
}

/// The report of all profiles that the cases belong to.
fn assemble(
    under_test: &UnderTest,
    cases: &[Case],
    reports: BTreeMap<String, CaseReport>,
    record: Option<&RunRecord>,
    started: String,
) -> ConformanceReport {
    let mut by_profile: BTreeMap<String, Vec<CaseReport>> = BTreeMap::new();
    for case in cases {
        let Some(report) = reports.get(&case.about.id) else { continue };
        for profile in &case.about.profiles {
            by_profile.entry(profile.to_string()).or_default().push(report.clone());
        }
    }
    let info = record.and_then(RunRecord::info);
    ConformanceReport {
        agent: under_test.agent.name().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        environment: info.map_or_else(String::new, |info| info.environment.clone()),
        kernel: info.map_or_else(String::new, |info| info.kernel.clone()),
        started,
        profiles: by_profile.into_iter().map(|(name, cases)| ProfileReport::new(name, cases)).collect(),
        ..ConformanceReport::default()
    }
}

fn write(report: &ConformanceReport, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
    let files = [
        ("yaml", conformance::yaml(report)?),
        ("md", conformance::markdown(report)),
        ("html", conformance::html(report)?),
    ];
    for (extension, text) in files {
        let path = folder.join(format!("{}.{extension}", report.file_stem()));
        fs::write(&path, text).with_context(|| format!("failed to write `{}`", path.display()))?;
        printer::talk(&format!("report: {}", path.display()));
    }
    give_to_invoker(folder);
    Ok(())
}

/// IDs of cases whose failure does not count.
fn quarantined(file: Option<&Path>) -> anyhow::Result<BTreeSet<String>> {
    let Some(file) = file else { return Ok(BTreeSet::new()) };
    let text = fs::read_to_string(file).with_context(|| format!("failed to read `{}`", file.display()))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim().to_owned());
    Ok(lines.filter(|id| !id.is_empty()).collect())
}

fn verdict(report: &ConformanceReport, quarantined: &BTreeSet<String>) -> Exit {
    let cases = || report.profiles.iter().flat_map(|profile| &profile.cases);
    let counts = |case: &&CaseReport| !quarantined.contains(&case.id);
    if cases().filter(counts).any(|case| case.result == CaseResult::NonConformant) {
        Exit::Failed
    } else if cases().filter(counts).any(|case| case.result == CaseResult::NotRun) {
        Exit::Interrupted
    } else if cases().filter(counts).any(|case| case.result == CaseResult::Invalid) {
        Exit::Invalid
    } else {
        Exit::Success
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_progress_are_read() {
        for result in CaseResult::ALL {
            let report = CaseReport { id: "GS-001".into(), title: "Is (it)?".into(), result, ..CaseReport::default() };
            for duration_ms in [None, Some(1500.0)] {
                let line = progress(&CaseReport { duration_ms, ..report.clone() }, 7, 20);
                let read = CaseDone::read(&line).expect("ours");
                assert_eq!((read.result, read.done, read.of), (result, 7, 20), "{line}");
            }
        }
        assert!(CaseDone::read("report: reports/x (1/2).yaml").is_none());
        assert!(CaseDone::read("").is_none());
    }
}
