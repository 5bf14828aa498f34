//! The difference for a terminal.

use std::fmt::Write as _;

use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Style};

use super::{RunDiff, TimeRow, Unit};
use crate::words::{self, NOTHING};

pub(super) fn text(diff: &RunDiff) -> String {
    let [left, right] = diff.runs.each_ref().map(|run| words::printable(run));
    let mut text = String::new();
    let mut put =
        |arguments: std::fmt::Arguments<'_>| writeln!(text, "{arguments}").expect("a String takes every write");
    if diff.same() {
        put(format_args!("{left} and {right} behaved the same"));
    } else {
        let count = words::count(diff.behaviour.len() as u64, "difference");
        put(format_args!("{count} in what {left} (-) and {right} (+) did"));
    }
    let mut aspect = None;
    for difference in &diff.behaviour {
        if aspect != Some(difference.aspect) {
            aspect = Some(difference.aspect);
            put(format_args!("\n{}", difference.aspect.as_str()));
        }
        put(format_args!("  {}", words::printable(&difference.of)));
        put(format_args!("    - {}", words::printable(&difference.left)));
        put(format_args!("    + {}", words::printable(&difference.right)));
    }
    put(format_args!("\n{}", times(diff, &left, &right)));
    text
}

fn times(diff: &RunDiff, left: &str, right: &str) -> String {
    let mut builder = Builder::default();
    builder.push_record(["times", left, right, "change"]);
    for row in &diff.times {
        builder.push_record([words::printable(&row.of), value(row, row.left), value(row, row.right), change(row)]);
    }
    let mut table = builder.build();
    table.with(Style::rounded());
    table.modify(Columns::new(1..4), Alignment::right());
    table.to_string()
}

fn value(row: &TimeRow, value: Option<f64>) -> String {
    match (row.unit, value) {
        (_, None) => NOTHING.to_owned(),
        (Unit::Count, Some(count)) => format!("{count:.0}"),
        (Unit::Millis, Some(millis)) => words::millis_text(millis),
    }
}

fn change(row: &TimeRow) -> String {
    let (Some(left), Some(right)) = (row.left, row.right) else { return String::new() };
    match row.unit {
        Unit::Count if left == right => String::new(),
        Unit::Count => format!("{:+.0}", right - left),
        Unit::Millis if left > 0.0 => format!("{:+.0} %", (right - left) / left * 100.0),
        Unit::Millis => String::new(),
    }
}
