//! The matrix as Markdown.

use std::fmt::Write as _;

use super::{CellResult, MatrixReport};
use crate::markdown::{Table, code, inline};

/// The whole matrix: the table, the kernels, then what did not pass with the commands that run it again.
pub fn markdown(report: &MatrixReport) -> String {
    let mut text = format!("# Conformance of {} across kernels\n\n", inline(&report.agent));
    let counts: Vec<String> = [CellResult::Pass, CellResult::Fail, CellResult::Unknown, CellResult::Skipped]
        .into_iter()
        .map(|result| format!("{} {}", report.count(result), result.as_str()))
        .collect();
    put(&mut text, format_args!("{} · started {}\n\n", counts.join(" · "), code(&report.started)));
    let mut head = vec!["case", "asks"];
    head.extend(report.kernels.iter().map(|kernel| kernel.name.as_str()));
    let mut table = Table::new(&head);
    for case in &report.cases {
        let mut row = vec![code(&case.id), inline(&case.title)];
        row.extend(report.kernels.iter().map(|kernel| {
            case.results.get(&kernel.name).map_or_else(String::new, |cell| sign(cell.result).to_owned())
        }));
        table.row(row);
    }
    text.push_str(&table.finish());
    text.push_str("\n✅ pass · ❌ fail · ❔ unknown · ➖ skipped\n\n## Kernels\n\n");
    let mut table = Table::new(&["kernel", "release", "by", "times slower", "boot", "all", "trouble"]);
    for kernel in &report.kernels {
        table.row([
            kernel.name.clone(),
            code(&kernel.release),
            kernel.accelerator.clone(),
            format!("{:.1}", kernel.slowness),
            format!("{:.1} s", kernel.boot_seconds),
            format!("{:.0} s", kernel.seconds),
            inline(&kernel.trouble),
        ]);
    }
    text.push_str(&table.finish());
    let others: Vec<_> = report.cells().filter(|(_, _, cell)| cell.result != CellResult::Pass).collect();
    if !others.is_empty() {
        text.push_str("\n## What did not pass\n\n");
    }
    for (case, kernel, cell) in others {
        let reason = cell.reason.lines().next().unwrap_or_default();
        put(
            &mut text,
            format_args!("- {} on {}: {}: {}", code(&case.id), kernel.name, cell.result.as_str(), inline(reason)),
        );
        if !cell.reproduce.is_empty() {
            put(&mut text, format_args!("; again with {}", code(&cell.reproduce)));
        }
        text.push('\n');
    }
    text
}

fn sign(result: CellResult) -> &'static str {
    match result {
        CellResult::Pass => "✅",
        CellResult::Fail => "❌",
        CellResult::Unknown => "❔",
        CellResult::Skipped => "➖",
    }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a String takes every write");
}

#[cfg(test)]
mod tests {
    use super::{super::model::testing, *};

    #[test]
    fn the_matrix_in_markdown() {
        insta::assert_snapshot!(markdown(&testing::matrix()));
    }
}
