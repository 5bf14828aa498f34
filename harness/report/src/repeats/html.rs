//! Repeats as one page: a strip of runs, what was flaky, and percentiles. No network, no script.

use askama::Template;
use meshbed_events::Verdict;

use super::RepeatSummary;
use crate::html::{HtmlError, verdict_class};
use crate::words;

/// Runs in the table; the strip has all of them.
const RUNS_MAX: usize = 500;
/// Characters of a finding.
const FINDING_LENGTH: usize = 600;

#[derive(Template)]
#[template(path = "repeats.html")]
struct Page {
    style: &'static str,
    scenario: String,
    question: String,
    class: &'static str,
    passed: usize,
    all: usize,
    flaky: usize,
    facts: Vec<(&'static str, String)>,
    /// Class and title of each run.
    strip: Vec<(&'static str, String)>,
    expectations: Vec<ExpectationView>,
    held: usize,
    distributions: Vec<(String, [String; 5])>,
    lost: Option<[u64; 3]>,
    runs: Vec<RunView>,
}

struct ExpectationView {
    flaky: bool,
    step: String,
    text: String,
    rate: String,
    finding: String,
}

struct RunView {
    run: String,
    repeat: u32,
    seed: u64,
    verdict: &'static str,
    class: &'static str,
    took: String,
    finding: String,
    reproduce: String,
}

/// The page.
pub fn html(repeats: &RepeatSummary) -> Result<String, HtmlError> {
    let (passed, all) = (repeats.passed(), repeats.runs.len());
    let lost = &repeats.all_faults.lost;
    let facts = [("agent", &repeats.agent), ("environment", &repeats.environment), ("kernel", &repeats.kernel)];
    let page = Page {
        style: include_str!("../../templates/report.css"),
        scenario: clean(&repeats.scenario),
        question: clean(&repeats.question),
        class: if passed == all && all > 0 { "good" } else { "bad" },
        passed,
        all,
        flaky: repeats.flaky_expectations().count(),
        facts: facts
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name, clean(value)))
            .collect(),
        strip: repeats.runs.iter().map(strip).collect(),
        expectations: expectations(repeats),
        held: repeats.expectations.iter().filter(|rate| rate.failed == 0).count(),
        distributions: distributions(repeats),
        lost: (|| Some([lost.percentile(50.0)?, lost.percentile(99.0)?, lost.max()?]))(),
        runs: runs(repeats),
    };
    page.render().map_err(HtmlError::new)
}

fn strip(run: &super::RunLine) -> (&'static str, String) {
    let text = format!("repeat {} ({}): {}", run.repeat + 1, run.run, words::verdict_text(run.verdict));
    (verdict_class(run.verdict), clean(&text))
}

fn expectations(repeats: &RepeatSummary) -> Vec<ExpectationView> {
    let mut rates: Vec<_> = repeats.expectations.iter().filter(|rate| rate.failed > 0).collect();
    rates.sort_by_key(|rate| std::cmp::Reverse(rate.failed));
    let view = |rate: &super::ExpectationRate| ExpectationView {
        flaky: rate.flaky(),
        step: clean(&format!("{} {}", rate.step + 1, rate.step_name)),
        text: clean(&rate.text),
        rate: format!("{}/{} ({:.1} %)", rate.held, rate.held + rate.failed, rate.percent()),
        finding: clean(&rate.finding),
    };
    rates.into_iter().map(view).collect()
}

fn distributions(repeats: &RepeatSummary) -> Vec<(String, [String; 5])> {
    let rows = repeats.distributions().into_iter().map(|(name, times)| {
        let at = |percent| words::maybe_duration(times.duration(percent));
        let longest = words::maybe_duration(times.longest());
        (clean(&name), [times.count().to_string(), at(50.0), at(90.0), at(99.0), longest])
    });
    rows.collect()
}

/// Runs that did not pass come first.
fn runs(repeats: &RepeatSummary) -> Vec<RunView> {
    let mut runs: Vec<_> = repeats.runs.iter().collect();
    runs.sort_by_key(|run| run.verdict == Some(Verdict::Passed));
    let view = |run: &super::RunLine| RunView {
        run: clean(&run.run),
        repeat: run.repeat + 1,
        seed: run.seed,
        verdict: words::verdict_text(run.verdict),
        class: verdict_class(run.verdict),
        took: words::duration(run.duration),
        finding: clean(&run.finding),
        reproduce: clean(&run.reproduce),
    };
    runs.into_iter().take(RUNS_MAX).map(view).collect()
}

fn clean(text: &str) -> String {
    words::shortened(&words::printable(text), FINDING_LENGTH)
}
