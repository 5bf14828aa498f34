//! The report as Markdown: for a pull request, a README, `$GITHUB_STEP_SUMMARY`.

use std::fmt::Write as _;

use super::{CaseReport, CaseResult, ConformanceReport, ProfileReport, ProfileResult};
use crate::markdown::{Table, code, inline};
use crate::words;

/// The whole report: profiles, failures with the commands that reproduce them, then every case.
pub fn markdown(report: &ConformanceReport) -> String {
    let mut text = format!("# Conformance of {}: {}\n\n", inline(&report.agent), report.result().as_str());
    let facts = [
        ("version", report.agent_version.as_str()),
        ("environment", &report.environment),
        ("kernel", &report.kernel),
        ("started", &report.started),
        ("meshbed", &report.version),
    ];
    let facts: Vec<_> = facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name} {}", code(value)))
        .collect();
    put(&mut text, format_args!("{}\n\n", facts.join(" · ")));
    let mut table = Table::new(&["", "profile", "result", "cases"]);
    for profile in &report.profiles {
        table.row([
            sign(profile.result).to_owned(),
            inline(&profile.name),
            profile.result.as_str().to_owned(),
            profile.counts(),
        ]);
    }
    text.push_str(&table.finish());
    failures(report, &mut text);
    for profile in &report.profiles {
        cases(profile, &mut text);
    }
    text
}

fn failures(report: &ConformanceReport, text: &mut String) {
    let failures = report.failures();
    if failures.is_empty() {
        return;
    }
    text.push_str("\n## What is not conformant\n");
    for case in failures {
        put(text, format_args!("\n### {} {}\n\n{}\n\n", inline(&case.id), optional(case), inline(&case.title)));
        for line in case.reason.lines() {
            put(text, format_args!("- {}\n", inline(line)));
        }
        if let Some(issue) = &case.issue {
            put(text, format_args!("\nSee {}.\n", inline(issue)));
        }
        put(text, format_args!("\nRun it again with {}\n", code(&case.reproduce)));
    }
}

fn optional(case: &CaseReport) -> &'static str {
    if case.required { "" } else { "(optional)" }
}

fn cases(profile: &ProfileReport, text: &mut String) {
    put(text, format_args!("\n## {}\n\n", inline(&profile.name)));
    let mut table = Table::new(&["", "case", "asks", "result", "took", "first answer", "lost", "maps right", "issue"]);
    for case in profile.by_urgency() {
        let stopwatch = case.stopwatch.unwrap_or_default();
        let time = |millis: Option<f64>| {
            let duration = millis.and_then(|millis| std::time::Duration::try_from_secs_f64(millis / 1e3).ok());
            words::maybe_duration(duration)
        };
        let result = match case.result {
            CaseResult::Conformant | CaseResult::NonConformant => case.result.as_str().to_owned(),
            _ if case.reason.is_empty() => case.result.as_str().to_owned(),
            _ => format!("{}: {}", case.result.as_str(), inline(case.reason.lines().next().unwrap_or_default())),
        };
        table.row([
            case_sign(case.result).to_owned(),
            format!("{} {}", code(&case.id), optional(case)).trim_end().to_owned(),
            inline(&case.title),
            result,
            words::maybe_duration(case.duration()),
            time(stopwatch.first_answer_ms),
            case.stopwatch.map_or_else(|| words::NOTHING.to_owned(), |one| one.requests_lost.to_string()),
            time(stopwatch.maps_right_ms),
            case.issue.as_deref().map_or_else(String::new, inline),
        ]);
    }
    text.push_str(&table.finish());
}

fn sign(result: ProfileResult) -> &'static str {
    match result {
        ProfileResult::Conformant => "✅",
        ProfileResult::NonConformant => "❌",
        ProfileResult::Unknown => "❔",
    }
}

fn case_sign(result: CaseResult) -> &'static str {
    match result {
        CaseResult::Conformant => "✅",
        CaseResult::NonConformant => "❌",
        CaseResult::Invalid => "⚠️",
        CaseResult::Unsupported => "➖",
        CaseResult::NotRun => "❔",
    }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
}
