//! Faults: a bar from injection to heal, a mark for each witness, lines through all lanes.

use meshbed_events::Micros;

use super::super::drawing::{CHARACTER, Context, Drawing, link};
use super::super::happenings::{Kind, Line};
use super::super::svg::{escape, put, short, title};
use crate::{Fault, Summary, words};

/// Height of a row of faults.
const ROW: f64 = 22.0;
/// Height of a witness's mark: it stands below the name, which begins at the same place.
const WITNESS: f64 = 5.0;
/// Rows of faults at the same time; further ones share the last.
const ROWS_MAX: usize = 6;
/// Witnesses that are marked, for each fault.
const WITNESSES_MAX: usize = 20;

pub(in super::super) fn draw(context: &Context<'_>, drawing: &mut Drawing) {
    let rows = rows(context.summary);
    let top = drawing.top + 6.0;
    for (index, (fault, row)) in context.summary.faults.iter().zip(&rows).enumerate() {
        // A name may go on behind its bar, up to the next one in the row.
        let mut later = context.summary.faults.iter().zip(&rows).skip(index + 1);
        let next = later.find(|(_, other)| *other == row).map(|(next, _)| next.injected);
        bar(context, fault, context.end(next), top + *row as f64 * ROW, drawing);
    }
    let count = rows.iter().max().map_or(0, |row| row + 1);
    if count > 0 {
        drawing.name(top + ROW / 2.0, "", "faults");
    }
    drawing.top = top + count as f64 * ROW + 8.0;
}

/// Lines through all lanes, once the height of everything is known.
pub(in super::super) fn lines(context: &Context<'_>, from: f64, height: f64, drawing: &mut Drawing) {
    for fault in &context.summary.faults {
        let injected = short(fault.injected.as_millis_f64());
        put(&mut drawing.behind, format_args!("<path class=\"inject\" d=\"M{injected} {from:.1}V{height:.1}\"/>"));
        if let Some(healed) = fault.healed.map(|at| short(at.as_millis_f64())) {
            put(&mut drawing.behind, format_args!("<path class=\"heal\" d=\"M{healed} {from:.1}V{height:.1}\"/>"));
        }
    }
}

/// The row of each fault, such that faults in force at the same time have different rows.
fn rows(summary: &Summary) -> Vec<usize> {
    let mut free_from: Vec<Micros> = Vec::new();
    let mut rows = Vec::new();
    for fault in &summary.faults {
        let end = fault.healed.unwrap_or(summary.duration);
        let row = match free_from.iter().position(|free| *free <= fault.injected) {
            Some(row) => row,
            None if free_from.len() < ROWS_MAX => {
                free_from.push(end);
                free_from.len() - 1
            }
            None => ROWS_MAX - 1,
        };
        if let Some(free) = free_from.get_mut(row) {
            *free = end.max(*free);
        }
        rows.push(row);
    }
    rows
}

fn bar(context: &Context<'_>, fault: &Fault, next: f64, top: f64, drawing: &mut Drawing) {
    let from = fault.injected.as_millis_f64();
    let until = context.end(fault.healed);
    let witness = if fault.witnesses.is_empty() { "no witness" } else { "witnessed" };
    let healed = fault.healed.map_or("never healed".to_owned(), |at| format!("healed at {at}"));
    let proof = if fault.heal_witness.is_empty() { String::new() } else { format!(" ({})", fault.heal_witness) };
    let text = format!("{}: injected at {}, {witness}, {healed}{proof}", fault.title(), fault.injected);
    let class = if fault.witnesses.is_empty() { "fault unproven" } else { "fault" };
    let mut marks = format!(
        "<g class=\"{class}\">{}<rect x=\"{}\" y=\"{:.1}\" width=\"{}\" height=\"{}\"/></g>",
        title(&text),
        short(from),
        top + 2.0,
        short((until - from).max(0.0)),
        ROW - 4.0,
    );
    for witness in fault.witnesses.iter().take(WITNESSES_MAX) {
        put(
            &mut marks,
            format_args!(
                "<path class=\"witness\" d=\"M{} {:.1}v{}\">{}</path>",
                short(witness.at.as_millis_f64()),
                top + ROW - 3.0 - WITNESS,
                WITNESS,
                title(&format!("witness at {}: {}", witness.at, witness.text))
            ),
        );
    }
    let line = context.happenings.at(fault.injected, |line: &Line| line.kind == Kind::Fault);
    drawing.inside.push_str(&link(line, &marks));
    label(context, fault, (from, until, next.max(until)), top, &mut drawing.labels);
}

fn label(context: &Context<'_>, fault: &Fault, (from, until, next): (f64, f64, f64), top: f64, labels: &mut String) {
    let name = if fault.name.is_empty() { &fault.target } else { &fault.name };
    let long = format!("✕ {}", words::printable(name));
    let room = (context.scale.pixels(next - from) / CHARACTER) as usize;
    put(
        labels,
        format_args!(
            "<text class=\"fault\" data-t=\"{}\" data-dx=\"5\" data-span=\"{}\" data-next=\"{}\" data-clip=\"{}\" x=\"{:.1}\" \
             y=\"{:.1}\">{}</text>",
            short(from),
            short(until - from),
            short(next),
            escape(&long),
            context.scale.x(from) + 5.0,
            top + 12.0,
            escape(&words::shortened(&long, room.saturating_sub(1).max(1))),
        ),
    );
}
