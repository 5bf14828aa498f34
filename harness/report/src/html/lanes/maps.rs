//! Maps of each node: when they changed, when they disagreed with the oracle, and how old each wrong entry became.

use super::super::drawing::{Context, Drawing, LANE, grouped, link};
use super::super::happenings::{Kind, Line};
use super::super::svg::{put, short, title};
use crate::{MapChange, Node, NodeMaps, StaleEntry, WrongInterval, maps, words};

/// Nodes with a lane; a page of more could not be read.
const NODES_MAX: usize = 64;
/// Marks in all lanes together, as each with its title costs about 250 bytes.
const MARKS_MAX: usize = 2_400;
/// Characters of a map's change in its title.
const CHANGE_MAX: usize = 160;

pub(in super::super) fn draw(context: &Context<'_>, drawing: &mut Drawing) {
    let nodes = &context.summary.nodes;
    if nodes.is_empty() {
        return;
    }
    drawing.heading("maps of");
    // Each lane has three sorts of marks.
    let limit = (MARKS_MAX / nodes.len().min(NODES_MAX) / 3).max(8);
    for (node, maps) in nodes.iter().take(NODES_MAX) {
        lane(context, node, maps, limit, drawing);
    }
    let hidden = nodes.len().saturating_sub(NODES_MAX);
    if hidden > 0 {
        drawing.name(drawing.top + LANE / 2.0, "", &format!("and {hidden} more"));
        drawing.top += LANE;
    }
}

fn lane(context: &Context<'_>, node: &Node, maps: &NodeMaps, limit: usize, drawing: &mut Drawing) {
    let top = drawing.top;
    let middle = top + LANE / 2.0;
    put(&mut drawing.inside, format_args!("<path class=\"grid\" d=\"M0 {middle:.1}H{}\"/>", short(context.duration)));
    for group in grouped(&maps.wrong, limit, context.duration, |one| one.from.as_millis_f64()) {
        wrong(context, node, group, top, drawing);
    }
    let entries: Vec<&StaleEntry> = context.summary.stale.iter().filter(|entry| entry.node == *node).collect();
    for group in grouped(&entries, limit, context.duration, |entry| entry.since.as_millis_f64()) {
        stale(context, group, top, drawing);
    }
    let changes: Vec<usize> = (0..maps.changes.len()).collect();
    let time = |index: &usize| maps.changes.get(*index).map_or(0.0, |change| change.at.as_millis_f64());
    for group in grouped(&changes, limit, context.duration, time) {
        change(context, node, &maps.changes, group, top, drawing);
    }
    drawing.name(middle, "", &node.name);
    drawing.top += LANE;
}

/// The line of the list that a mark of a node leads to.
fn line_of(context: &Context<'_>, node: &Node, at: meshbed_events::Micros, kind: Kind) -> Option<usize> {
    let name = words::printable(&node.name);
    context.happenings.at(at, |line: &Line| line.kind == kind && line.source == name)
}

/// The maps as a whole disagree.
fn wrong(context: &Context<'_>, node: &Node, group: &[WrongInterval], top: f64, drawing: &mut Drawing) {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return };
    let text = match group {
        [one] => {
            let length = words::duration(one.until.unwrap_or(context.summary.duration).since(one.from));
            let open = if one.until.is_none() { ", to the end" } else { "" };
            format!("{node}: wrong for {length}{open} from {}: {}", one.from, one.text())
        }
        _ => format!("{node}: wrong {} times from {} on", group.len(), first.from),
    };
    let from = first.from.as_millis_f64();
    let mark = format!(
        "<rect class=\"wrong\" x=\"{}\" y=\"{:.1}\" width=\"{}\" height=\"3\">{}</rect>",
        short(from),
        top + LANE - 4.0,
        short((context.end(last.until) - from).max(0.0)),
        title(&text)
    );
    drawing.inside.push_str(&link(line_of(context, node, first.from, Kind::Wrong), &mark));
}

/// Single entries, with their age.
fn stale(context: &Context<'_>, group: &[&StaleEntry], top: f64, drawing: &mut Drawing) {
    let Some(oldest) = group.iter().max_by_key(|entry| entry.age) else { return };
    let until = group.iter().map(|entry| context.end(entry.until)).fold(0.0, f64::max);
    let from = group.iter().map(|entry| entry.since.as_millis_f64()).fold(f64::MAX, f64::min);
    let missing = oldest.difference.kind.is_missing();
    let class = if missing { "missing" } else { "stale" };
    let open = if oldest.until.is_none() { ", still at the end" } else { "" };
    let more = if group.len() > 1 { format!(" (oldest of {})", group.len()) } else { String::new() };
    let text = format!(
        "{}: {} for {}{open}{more}: {}",
        oldest.node,
        words::difference_text(oldest.difference.kind),
        words::duration(oldest.age),
        oldest.difference
    );
    let mark = format!(
        "<rect class=\"{class}\" x=\"{}\" y=\"{:.1}\" width=\"{}\" height=\"7\">{}</rect>",
        short(from),
        top + if missing { 7.0 } else { 2.0 },
        short((until - from).max(0.0)),
        title(&text)
    );
    drawing.inside.push_str(&link(line_of(context, &oldest.node, oldest.since, Kind::Wrong), &mark));
}

fn change(context: &Context<'_>, node: &Node, changes: &[MapChange], group: &[usize], top: f64, drawing: &mut Drawing) {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return };
    let Some(newest) = changes.get(*last) else { return };
    let before = first.checked_sub(1).and_then(|index| changes.get(index)).map(|change| &change.state);
    let differences = words::shortened(&maps::differences(before, &newest.state).join(", "), CHANGE_MAX);
    let text = match group.len() {
        1 => format!("{node} at {}: {differences}", newest.at),
        count => format!("{node}: {count} changes until {}: {differences}", newest.at),
    };
    let mark = format!(
        "<path class=\"change\" d=\"M{} {:.1}v{}\">{}</path>",
        short(newest.at.as_millis_f64()),
        top + 3.0,
        LANE - 7.0,
        title(&text)
    );
    drawing.inside.push_str(&link(line_of(context, node, newest.at, Kind::Map), &mark));
}
