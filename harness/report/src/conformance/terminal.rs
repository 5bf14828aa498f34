//! The report for a terminal: one line a case, the profiles at the end.

use std::fmt::Write as _;

use owo_colors::OwoColorize as _;

use super::{CaseResult, ConformanceReport, ProfileResult};
use crate::terminal::{Colour, Styles, status_word};
use crate::words;

/// Lines of a reason that are shown; the YAML has all.
const REASON_SHOWN: usize = 3;

/// Failures with the commands that reproduce them, and the profiles.
pub fn terminal(report: &ConformanceReport, colour: Colour) -> String {
    let styles = Styles::new(colour);
    let mut text = String::new();
    let mut put =
        |arguments: std::fmt::Arguments<'_>| writeln!(text, "{arguments}").expect("a String takes every write");
    for case in report.failures() {
        put(format_args!("{} {}: {}", status_word("FAIL", styles.bad), clean(&case.id), clean(&case.title)));
        for line in case.reason.lines().take(REASON_SHOWN) {
            put(format_args!("               - {}", clean(line)));
        }
        put(format_args!("             reproduce with: {}", clean(&case.reproduce).style(styles.strong)));
    }
    for profile in &report.profiles {
        let (word, style) = match profile.result {
            ProfileResult::Conformant => ("CONFORMANT", styles.good),
            ProfileResult::NonConformant => ("NOT", styles.bad),
            ProfileResult::Unknown => ("UNKNOWN", styles.caution),
        };
        put(format_args!("{} {}: {}", status_word(word, style), clean(&profile.name), profile.counts()));
        let unknown = profile
            .by_urgency()
            .into_iter()
            .filter(|case| case.required && !matches!(case.result, CaseResult::Conformant | CaseResult::NonConformant));
        for case in unknown {
            let reason = case.reason.lines().next().map(|line| format!(": {}", clean(line))).unwrap_or_default();
            put(format_args!("               - {} {}{reason}", clean(&case.id), case.result.as_str()));
        }
    }
    text
}

fn clean(text: &str) -> String {
    words::printable(text)
}
