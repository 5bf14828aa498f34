//! The report as one page: what failed first, with the commands that reproduce it. No network, no script.

use askama::Template;

use super::{CaseReport, CaseResult, ConformanceReport, ProfileReport, ProfileResult};
use crate::html::HtmlError;
use crate::words::{self, NOTHING};

/// Characters of one line of a reason.
const LINE_MAX: usize = 600;
/// Lines of a reason that are open; they are mostly of one kind, and further ones would hide the next case.
const LINES_OPEN: usize = 3;

#[derive(Template)]
#[template(path = "conformance.html")]
struct Page {
    style: &'static str,
    agent: String,
    result: &'static str,
    class: &'static str,
    facts: Vec<(&'static str, String)>,
    profiles: Vec<ProfileView>,
    failures: Vec<CaseView>,
}

struct ProfileView {
    name: String,
    result: &'static str,
    class: &'static str,
    /// Class and width in percent of each part of the bar.
    shares: Vec<(&'static str, String, String)>,
    counts: String,
    cases: Vec<CaseView>,
}

struct CaseView {
    id: String,
    title: String,
    required: bool,
    issue: String,
    result: &'static str,
    class: &'static str,
    /// The lines that are open.
    reason: Vec<String>,
    /// Those that are folded.
    more: Vec<String>,
    reproduce: String,
    took: String,
    first_answer: String,
    lost: String,
    maps_right: String,
}

/// The page.
pub fn html(report: &ConformanceReport) -> Result<String, HtmlError> {
    let facts = [
        ("agent", &report.agent),
        ("version", &report.agent_version),
        ("environment", &report.environment),
        ("kernel", &report.kernel),
        ("started", &report.started),
        ("meshbed", &report.version),
    ];
    let page = Page {
        style: include_str!("../../templates/report.css"),
        agent: clean(&report.agent),
        result: report.result().as_str(),
        class: profile_class(report.result()),
        facts: facts
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name, clean(value)))
            .collect(),
        profiles: report.profiles.iter().map(profile).collect(),
        failures: report.failures().into_iter().map(case).collect(),
    };
    page.render().map_err(HtmlError::new)
}

fn profile(profile: &ProfileReport) -> ProfileView {
    let all = profile.cases.len().max(1) as f64;
    let mut from = 0.0;
    let mut shares = Vec::new();
    for result in CaseResult::ALL.into_iter().rev() {
        let width = profile.count(result) as f64 * 100.0 / all;
        if width > 0.0 {
            shares.push((case_class(result), format!("{from:.2}"), format!("{width:.2}")));
            from += width;
        }
    }
    ProfileView {
        name: clean(&profile.name),
        result: profile.result.as_str(),
        class: profile_class(profile.result),
        shares,
        counts: profile.counts(),
        cases: profile.by_urgency().into_iter().map(case).collect(),
    }
}

fn case(case: &CaseReport) -> CaseView {
    let stopwatch = case.stopwatch.unwrap_or_default();
    let time = |millis: Option<f64>| {
        let duration = millis.and_then(|millis| std::time::Duration::try_from_secs_f64(millis / 1e3).ok());
        words::maybe_duration(duration)
    };
    CaseView {
        id: clean(&case.id),
        title: clean(&case.title),
        required: case.required,
        issue: case.issue.as_deref().map_or_else(String::new, clean),
        result: case.result.as_str(),
        class: case_class(case.result),
        reason: case.reason.lines().take(LINES_OPEN).map(clean).collect(),
        more: case.reason.lines().skip(LINES_OPEN).map(clean).collect(),
        reproduce: clean(&case.reproduce),
        took: words::maybe_duration(case.duration()),
        first_answer: time(stopwatch.first_answer_ms),
        lost: case.stopwatch.map_or_else(|| NOTHING.to_owned(), |one| one.requests_lost.to_string()),
        maps_right: time(stopwatch.maps_right_ms),
    }
}

fn clean(text: &str) -> String {
    words::shortened(&words::printable(text), LINE_MAX)
}

fn profile_class(result: ProfileResult) -> &'static str {
    match result {
        ProfileResult::Conformant => "good",
        ProfileResult::NonConformant => "bad",
        ProfileResult::Unknown => "caution",
    }
}

fn case_class(result: CaseResult) -> &'static str {
    match result {
        CaseResult::Conformant => "good",
        CaseResult::NonConformant => "bad",
        CaseResult::Invalid => "caution",
        CaseResult::Unsupported | CaseResult::NotRun => "quiet",
    }
}
