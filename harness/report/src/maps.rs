//! Texts of what each node's maps held.

use std::collections::BTreeMap;
use std::fmt::Write;

use meshbed_events::{MapFrontend, MapState, RunRecord};

use crate::{Node, NodeMaps, Summary};

/// Changes in the history of one node; the oldest are left out beyond it, as the newest explain the end.
const HISTORY_MAX: usize = 1000;

/// The texts for `maps/`, by their path in it, such as `alpha/alpha-1.txt`.
///
/// Each holds the node's maps as they were last seen while a step ran, and how they came to be so.
pub fn texts(record: &RunRecord) -> BTreeMap<String, String> {
    let summary = Summary::of(record);
    let text = |(node, maps): (&Node, &NodeMaps)| {
        (format!("{}/{}.txt", file(&node.cluster), file(&node.name)), text(&summary, node, maps))
    };
    summary.nodes.iter().map(text).collect()
}

/// A name as part of a path: it must not leave its folder.
fn file(name: &str) -> String {
    name.replace(['/', '\\', '\0'], "_").replace("..", "_")
}

/// What `maps` held when the last step ended; later changes are the work of tearing down.
pub(crate) fn last_state<'m>(summary: &Summary, maps: &'m NodeMaps) -> Option<&'m crate::MapChange> {
    let end = summary.last_step_finished();
    let while_steps_ran = maps.changes.iter().rev().find(|change| end.is_none_or(|end| change.at <= end));
    while_steps_ran.or_else(|| maps.changes.last())
}

/// The lines by which `after` differs from `before`: `+` and `-`, a frontend and a backend each.
pub(crate) fn differences(before: Option<&MapState>, after: &MapState) -> Vec<String> {
    let empty = MapState::default();
    let before = before.unwrap_or(&empty);
    let nothing = MapFrontend::default();
    let mut lines = Vec::new();
    let frontends: std::collections::BTreeSet<_> = before.frontends.keys().chain(after.frontends.keys()).collect();
    for frontend in frontends {
        match (before.frontends.contains_key(frontend), after.frontends.contains_key(frontend)) {
            (false, true) => lines.push(format!("+ {frontend}")),
            (true, false) => lines.push(format!("- {frontend}")),
            _ => {}
        }
        let old = before.frontends.get(frontend).unwrap_or(&nothing);
        let new = after.frontends.get(frontend).unwrap_or(&nothing);
        for (word, old, new) in [("active", &old.active, &new.active), ("inactive", &old.inactive, &new.inactive)] {
            lines.extend(
                old.iter()
                    .filter(|backend| !new.contains(backend))
                    .map(|backend| format!("- {frontend} {word} {backend}")),
            );
            lines.extend(
                new.iter()
                    .filter(|backend| !old.contains(backend))
                    .map(|backend| format!("+ {frontend} {word} {backend}")),
            );
        }
    }
    lines
}

fn text(summary: &Summary, node: &Node, maps: &NodeMaps) -> String {
    let mut text = format!("# Load-balancing maps of {node}, run {} of {}\n", summary.info.run, summary.info.scenario);
    match last_state(summary, maps) {
        None => text.push_str("\nno map was read\n"),
        Some(last) => {
            line(&mut text, format_args!("# as read at {}", last.at));
            state(&mut text, &last.state);
        }
    }
    text.push_str("\n## History\n");
    let skipped = maps.changes.len().saturating_sub(HISTORY_MAX);
    if skipped > 0 {
        line(&mut text, format_args!("({skipped} older changes left out)"));
    }
    let mut before = skipped.checked_sub(1).and_then(|index| maps.changes.get(index)).map(|change| &change.state);
    for change in maps.changes.iter().skip(skipped) {
        line(&mut text, format_args!("{}", change.at));
        for difference in differences(before, &change.state) {
            line(&mut text, format_args!("    {difference}"));
        }
        before = Some(&change.state);
    }
    if !maps.wrong.is_empty() {
        text.push_str("\n## Times of disagreement with the oracle\n");
    }
    for interval in &maps.wrong {
        match interval.until {
            Some(until) => line(
                &mut text,
                format_args!("{} to {} ({})", interval.from, until, crate::words::duration(until.since(interval.from))),
            ),
            None => line(&mut text, format_args!("{} to the end", interval.from)),
        }
        for difference in &interval.differences {
            line(&mut text, format_args!("    {difference}"));
        }
    }
    text
}

fn state(text: &mut String, state: &MapState) {
    let width = state.frontends.keys().map(String::len).max().unwrap_or(0).max("FRONTEND".len());
    line(text, format_args!("\n{:<width$}  STATE     BACKEND", "FRONTEND"));
    for (address, frontend) in &state.frontends {
        if frontend.active.is_empty() && frontend.inactive.is_empty() {
            line(text, format_args!("{address:<width$}  -         no backend"));
        }
        for (word, backends) in [("active", &frontend.active), ("inactive", &frontend.inactive)] {
            for backend in backends {
                line(text, format_args!("{address:<width$}  {word:<8}  {backend}"));
            }
        }
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("writing to a String cannot fail");
}
