//! `meshbed conformance`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use futures::{FutureExt, StreamExt, stream};
use meshbed_engine::{Keep, Scenario};
use meshbed_events::RunRecord;
use meshbed_report::conformance::{self, CaseReport, CaseResult, ConformanceReport, ProfileReport};
use meshbed_scenario::{Conformance, Level};
use tokio_util::sync::CancellationToken;

use super::guest;
use super::runner::{Run, UnderTest, give_to_invoker, random_seed, reproduce};
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
    if let Some(guest) = guest::Wanted::by(&args.guest)? {
        let files = std::iter::once(args.cases.clone()).chain(args.quarantine.clone()).collect();
        let results = vec![args.output.clone(), args.reports.clone()];
        return guest.run(&guest::Job { arguments: None, agent: &args.agent, files, results, reports: &args.reports });
    }
    let quarantined = quarantined(args.quarantine.as_deref())?;
    let under_test = UnderTest::of(&args.agent)?;
    let seed = args.seed.unwrap_or_else(random_seed);
    let started = jiff::Timestamp::now().to_string();
    let (reports, record) = super::runtime()?.block_on(all(args, &under_test, &cases, seed))?;
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
    let mut running = stream::iter(cases)
        .map(|case| one(args, under_test, case, seed, interrupted.clone()).map(move |outcome| (case, outcome)))
        .buffer_unordered(usize::from(args.jobs));
    let mut reports = BTreeMap::new();
    let mut any = None;
    while let Some((case, outcome)) = running.next().await {
        let (report, record) = outcome?;
        let took = report.duration().map(|took| format!("[{:8.3}s]", took.as_secs_f64())).unwrap_or_default();
        printer::talk(&format!(
            "{:>15} {took:11} ({:>3}/{}) {} {}",
            report.result.as_str(),
            reports.len() + 1,
            cases.len(),
            report.id,
            report.title
        ));
        for line in report.reason.lines() {
            printer::talk(&format!("{:>16}{line}", ""));
        }
        any = any.or(record);
        reports.insert(case.about.id.clone(), report);
    }
    Ok((reports, any))
}

/// Runs one case, as often as asked for. The first run that is not conformant decides.
pub(super) async fn one(
    args: &ConformanceArgs,
    under_test: &UnderTest,
    case: &Case,
    seed: u64,
    interrupt: CancellationToken,
) -> anyhow::Result<(CaseReport, Option<RunRecord>)> {
    let reproduce = reproduce(&case.file.display().to_string(), &[], &args.agent, seed);
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
        let run = Run { scenario: case.scenario.clone(), keep: Keep::No, seed, repeat, reproduce: reproduce.clone() };
        let ran = under_test.run(run, &args.reports, interrupt.clone(), |_| {}).await?;
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
