//! The matrix for a terminal.

use super::{CellResult, MatrixReport};
use crate::{
    terminal::{Colour, Styles},
    words,
};
use owo_colors::OwoColorize as _;

/// Cases as rows, kernels as columns, then what did not pass.
pub fn terminal(report: &MatrixReport, colour: Colour) -> String {
    let styles = Styles::new(colour);
    let width = report.cases.iter().map(|case| case.id.len()).max().unwrap_or(0).max("kernel".len());
    let mut text = format!("{:>width$}", "");
    let columns: Vec<usize> = report.kernels.iter().map(|kernel| kernel.name.len().max("unknown".len())).collect();
    for (kernel, column) in report.kernels.iter().zip(&columns) {
        text.push_str(&format!("  {:>column$}", kernel.name));
    }
    text.push('\n');
    for case in &report.cases {
        text.push_str(&format!("{:>width$}", words::printable(&case.id)));
        for (kernel, column) in report.kernels.iter().zip(&columns) {
            let word = case.results.get(&kernel.name).map_or("", |cell| cell.result.as_str());
            let style = match case.results.get(&kernel.name).map(|cell| cell.result) {
                Some(CellResult::Pass) => styles.good,
                Some(CellResult::Fail) => styles.bad,
                _ => styles.caution,
            };
            text.push_str(&format!("  {}", format!("{word:>column$}").style(style)));
        }
        text.push('\n');
    }
    for (name, value) in [
        ("boot", report.kernels.iter().map(|kernel| format!("{:.1}s", kernel.boot_seconds)).collect::<Vec<_>>()),
        ("all", report.kernels.iter().map(|kernel| format!("{:.0}s", kernel.seconds)).collect()),
    ] {
        text.push_str(&format!("{name:>width$}"));
        for (value, column) in value.iter().zip(&columns) {
            text.push_str(&format!("  {value:>column$}"));
        }
        text.push('\n');
    }
    for kernel in report.kernels.iter().filter(|kernel| !kernel.trouble.is_empty()) {
        text.push_str(&format!("kernel {}: {}\n", kernel.name, words::printable(&kernel.trouble)));
    }
    for (case, kernel, cell) in report.cells().filter(|(_, _, cell)| cell.result == CellResult::Fail) {
        text.push_str(&format!("{} on {}:\n", words::printable(&case.id), kernel.name));
        for line in cell.reason.lines() {
            text.push_str(&format!("    {}\n", words::printable(line)));
        }
        if !cell.reproduce.is_empty() {
            text.push_str(&format!("    again with: {}\n", words::printable(&cell.reproduce)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{super::model::testing, *};

    #[test]
    fn the_matrix_in_a_terminal() {
        insta::assert_snapshot!(terminal(&testing::matrix(), Colour::No));
    }
}
