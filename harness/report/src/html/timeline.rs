//! The chart of the whole run: steps, faults, answers per cluster and maps on one axis of time.

use meshbed_events::{Micros, RunRecord};

use super::bins::{Bin, Bins, outline};
use super::svg::{Scale, escape, look, put, short, title};
use crate::{Node, NodeMaps, Step, Summary, WrongInterval, maps, words};

/// Width of the drawing.
const WIDTH: f64 = 1160.0;
/// Room for labels on the left.
const LEFT: f64 = 92.0;
/// Width of the part with the axis of time.
const PLOT: f64 = WIDTH - LEFT - 8.0;
/// Height of the row with the steps' labels.
const STEP_ROW: f64 = 24.0;
/// Height of a row of faults.
const FAULT_ROW: f64 = 20.0;
/// Rows of faults at the same time; further ones share the last.
const FAULT_ROWS_MAX: usize = 6;
/// Height of the answers of one cluster's clients.
const PANEL: f64 = 96.0;
/// Height of the ticks for errors below them.
const ERROR_ROW: f64 = 9.0;
/// Room between panels.
const GAP: f64 = 16.0;
/// Height of a node's lane.
const LANE: f64 = 18.0;
/// Nodes with a lane; a page of more could not be read.
const NODES_MAX: usize = 100;
/// Marks in all lanes together, as each with its title costs about 200 bytes.
const MARKS_MAX: usize = 2400;
/// Pixels of one character of a label, roughly.
const CHARACTER: f64 = 6.3;
/// Characters of a map's change in its title.
const CHANGE_MAX: usize = 160;

struct Timeline<'s> {
    summary: &'s Summary,
    bins: Bins,
    scale: Scale,
    duration: f64,
    clusters: Vec<String>,
    fault_rows: Vec<usize>,
}

/// The whole drawing.
pub(super) fn draw(record: &RunRecord, summary: &Summary) -> String {
    let duration = summary.duration.as_millis_f64().max(1.0);
    let timeline = Timeline {
        summary,
        bins: Bins::of(record, summary.duration),
        scale: Scale { from: 0.0, until: duration, left: LEFT, width: PLOT },
        duration,
        clusters: summary.clusters(),
        fault_rows: fault_rows(summary),
    };
    timeline.draw()
}

/// The row of each fault, such that faults in force at the same time have different rows.
fn fault_rows(summary: &Summary) -> Vec<usize> {
    let mut free_from: Vec<Micros> = Vec::new();
    let mut rows = Vec::new();
    for fault in &summary.faults {
        let end = fault.healed.unwrap_or(summary.duration);
        let row = match free_from.iter().position(|free| *free <= fault.injected) {
            Some(row) => row,
            None if free_from.len() < FAULT_ROWS_MAX => {
                free_from.push(end);
                free_from.len() - 1
            }
            None => FAULT_ROWS_MAX - 1,
        };
        if let Some(free) = free_from.get_mut(row) {
            *free = end.max(*free);
        }
        rows.push(row);
    }
    rows
}

impl Timeline<'_> {
    fn panels_top(&self) -> f64 {
        let rows = self.fault_rows.iter().max().map_or(0, |row| row + 1);
        STEP_ROW + 6.0 + rows as f64 * FAULT_ROW + 10.0
    }

    fn panel_top(&self, position: usize) -> f64 {
        self.panels_top() + position as f64 * (PANEL + ERROR_ROW + GAP)
    }

    fn lanes_top(&self) -> f64 {
        self.panel_top(self.bins.clients.len()) + 4.0
    }

    fn lanes(&self) -> impl Iterator<Item = (&Node, &NodeMaps)> {
        self.summary.nodes.iter().take(NODES_MAX)
    }

    fn axis_top(&self) -> f64 {
        self.lanes_top() + self.lanes().count() as f64 * LANE + 6.0
    }

    fn draw(&self) -> String {
        let height = self.axis_top() + 24.0;
        // What is inside the nested drawing has milliseconds as its unit of width, so that zooming is one attribute.
        let mut inside = String::new();
        // Texts stay outside: they would be stretched. `data-t` says where on the axis they belong.
        let mut labels = String::new();
        self.steps(&mut inside, &mut labels);
        self.axis(&mut inside, &mut labels);
        self.panels(&mut inside, &mut labels);
        self.node_lanes(&mut inside, &mut labels);
        self.faults(&mut inside, &mut labels);
        let mut svg = String::new();
        put(
            &mut svg,
            format_args!(
                "<svg id=\"timeline\" class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\" role=\"group\" \
                 aria-label=\"Answers per cluster over time\" data-left=\"{LEFT}\" data-width=\"{PLOT}\" \
                 data-duration=\"{}\">",
                short(self.duration)
            ),
        );
        put(
            &mut svg,
            format_args!(
                "<svg class=\"plot\" x=\"{LEFT}\" y=\"0\" width=\"{PLOT}\" height=\"{height}\" \
                 viewBox=\"0 0 {} {height}\" preserveAspectRatio=\"none\">{inside}</svg>{labels}</svg>",
                short(self.duration)
            ),
        );
        svg
    }

    fn steps(&self, inside: &mut String, labels: &mut String) {
        let height = self.axis_top();
        for step in &self.summary.steps {
            let Some(started) = step.started.map(Micros::as_millis_f64) else { continue };
            let end = self.end_of(step);
            let settled = step.settled.map_or(end, Micros::as_millis_f64);
            let tone = if step.index.is_multiple_of(2) { "band" } else { "band odd" };
            let bad = if self.went_well(step) { "" } else { " bad" };
            let number = step.index + 1;
            put(
                inside,
                format_args!(
                    "<a href=\"#step-{number}\" class=\"{tone}{bad}\"><rect x=\"{}\" y=\"0\" width=\"{}\" \
                     height=\"{height}\"/><rect class=\"unsettled\" x=\"{}\" y=\"{STEP_ROW}\" width=\"{}\" \
                     height=\"{}\"/>{}</a>",
                    short(started),
                    short(end - started),
                    short(started),
                    short(settled - started),
                    height - STEP_ROW,
                    title(&step_title(step)),
                ),
            );
            self.step_label(step, started, end, labels);
        }
    }

    fn went_well(&self, step: &Step) -> bool {
        let no_violation = self.summary.violations_of(step.index).next().is_none();
        step.outcome == Some(meshbed_events::StepOutcome::Passed) && no_violation
    }

    fn end_of(&self, step: &Step) -> f64 {
        step.finished.map_or(self.duration, Micros::as_millis_f64)
    }

    fn step_label(&self, step: &Step, started: f64, end: f64, labels: &mut String) {
        let mark = if self.went_well(step) { "" } else { "✕ " };
        let number = format!("{mark}{}", step.index + 1);
        let name = words::printable(&step.name);
        let room = (self.scale.pixels(end - started) / CHARACTER) as usize;
        let full = format!("{number} {name}");
        let text = if full.chars().count() < room { &full } else { &number };
        put(
            labels,
            format_args!(
                "<text class=\"step\" data-t=\"{}\" data-span=\"{}\" data-short=\"{}\" data-long=\"{}\" x=\"{:.1}\" y=\"16\">{}</text>",
                short((started + end) / 2.0),
                short(end - started),
                number,
                escape(&full),
                self.scale.x((started + end) / 2.0),
                escape(text),
            ),
        );
    }

    fn axis(&self, inside: &mut String, labels: &mut String) {
        let top = self.axis_top();
        put(inside, format_args!("<path class=\"line\" d=\"M0 {top}H{}\"/>", short(self.duration)));
        labels.push_str("<g id=\"ticks\">");
        for time in self.scale.ticks(90.0) {
            let x = self.scale.x(time);
            put(labels, format_args!("<path class=\"line\" d=\"M{x:.1} {top}v5\"/>"));
            put(
                labels,
                format_args!("<text class=\"tick\" x=\"{x:.1}\" y=\"{}\">{} s</text>", top + 18.0, short(time / 1e3)),
            );
        }
        labels.push_str("</g>");
    }

    fn panels(&self, inside: &mut String, labels: &mut String) {
        let peak = axis_end(self.bins.peak_per_second());
        for (position, (cluster, bins)) in self.bins.clients.iter().enumerate() {
            let top = self.panel_top(position);
            let base = top + PANEL;
            self.panel(cluster, bins, peak, top, inside);
            put(
                labels,
                format_args!(
                    "<text class=\"lane strong\" x=\"0\" y=\"{}\">{}</text>",
                    top + 12.0,
                    escape(&words::shortened(cluster, 13))
                ),
            );
            put(labels, format_args!("<text class=\"lane small\" x=\"0\" y=\"{}\">requests/s</text>", top + 27.0));
            for (height, value) in [(PANEL, peak), (PANEL / 2.0, peak / 2.0), (0.0, 0.0)] {
                let y = base - height;
                put(
                    labels,
                    format_args!(
                        "<text class=\"value\" x=\"{}\" y=\"{:.1}\">{}</text>",
                        LEFT - 6.0,
                        y + 4.0,
                        short(value)
                    ),
                );
            }
        }
    }

    fn panel(&self, client: &str, bins: &[Bin], peak: f64, top: f64, inside: &mut String) {
        let base = top + PANEL;
        let end = short(self.duration);
        put(inside, format_args!("<path class=\"grid\" d=\"M0 {top}H{end}M0 {}H{end}\"/>", base - PANEL / 2.0));
        let pixels = |count: u32| self.bins.per_second(count) / peak * PANEL;
        let mut lower = vec![0.0; bins.len()];
        for cluster in &self.clusters {
            let count = |bin: &Bin| bin.answers.get(cluster).copied().unwrap_or(0);
            let upper: Vec<f64> = lower.iter().zip(bins).map(|(low, bin)| low + pixels(count(bin))).collect();
            let path = outline(&lower, &upper, self.bins.width_ms, base);
            if !path.is_empty() {
                put(inside, format_args!("<path class=\"area {}\" d=\"{path}\"/>", look(&self.clusters, cluster)));
            }
            lower = upper;
        }
        let upper: Vec<f64> = lower.iter().zip(bins).map(|(low, bin)| low + pixels(bin.failed())).collect();
        let path = outline(&lower, &upper, self.bins.width_ms, base);
        if !path.is_empty() {
            put(inside, format_args!("<path class=\"area error\" d=\"{path}\"/>"));
        }
        put(inside, format_args!("<path class=\"line\" d=\"M0 {base}H{end}\"/>"));
        self.bin_titles(client, bins, top, inside);
    }

    /// A tick for each bin with errors, and a place to hover over for each bin with requests.
    fn bin_titles(&self, client: &str, bins: &[Bin], top: f64, inside: &mut String) {
        let width = self.bins.width_ms;
        let mut ticks = String::new();
        for (index, bin) in bins.iter().enumerate() {
            let from = index as f64 * width;
            let mut parts: Vec<String> =
                bin.answers.iter().map(|(cluster, count)| format!("{count} by {cluster}")).collect();
            parts.extend(bin.errors.iter().map(|(kind, count)| format!("{count} {kind}")));
            if parts.is_empty() {
                continue;
            }
            if bin.failed() > 0 {
                put(
                    &mut ticks,
                    format_args!("M{} {}v{}", short(from + width / 2.0), top + PANEL + 2.0, ERROR_ROW - 2.0),
                );
            }
            let text = format!("{client}, {:.2} to {:.2} s: {}", from / 1e3, (from + width) / 1e3, parts.join(", "));
            put(
                inside,
                format_args!(
                    "<rect class=\"hover\" x=\"{}\" y=\"{top}\" width=\"{}\" height=\"{}\">{}</rect>",
                    short(from),
                    short(width),
                    PANEL + ERROR_ROW,
                    title(&text)
                ),
            );
        }
        if !ticks.is_empty() {
            put(inside, format_args!("<path class=\"error-tick\" d=\"{ticks}\"/>"));
        }
    }

    fn node_lanes(&self, inside: &mut String, labels: &mut String) {
        let lanes = self.lanes().count().max(1);
        let slots = (MARKS_MAX / lanes).max(10);
        for (position, (node, maps)) in self.lanes().enumerate() {
            let top = self.lanes_top() + position as f64 * LANE;
            let middle = top + LANE / 2.0;
            put(inside, format_args!("<path class=\"grid\" d=\"M0 {middle}H{}\"/>", short(self.duration)));
            for group in grouped(&maps.wrong, self.duration / slots as f64, |interval| interval.from.as_millis_f64()) {
                self.wrong(node, group, top, inside);
            }
            let indices: Vec<usize> = (0..maps.changes.len()).collect();
            let time = |index: &usize| maps.changes.get(*index).map_or(0.0, |change| change.at.as_millis_f64());
            for group in grouped(&indices, self.duration / slots as f64, time) {
                change(node, maps, group, top, inside);
            }
            put(
                labels,
                format_args!(
                    "<text class=\"lane\" x=\"0\" y=\"{}\">{}</text>",
                    middle + 4.0,
                    escape(&words::shortened(&node.name, 14))
                ),
            );
        }
        let hidden = self.summary.nodes.len().saturating_sub(NODES_MAX);
        if hidden > 0 {
            put(
                labels,
                format_args!("<text class=\"lane\" x=\"0\" y=\"{}\">and {hidden} more</text>", self.axis_top() + 16.0),
            );
        }
    }

    fn wrong(&self, node: &Node, group: &[WrongInterval], top: f64, inside: &mut String) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return };
        let until = last.until.unwrap_or(self.summary.duration);
        let text = match group {
            [one] => {
                let differences = one.differences.join("; ");
                let length = words::duration(until.since(one.from));
                let open = if one.until.is_none() { ", to the end" } else { "" };
                format!("{node}: wrong for {length}{open} from {}: {differences}", one.from)
            }
            _ => format!("{node}: wrong {} times from {} to {until}", group.len(), first.from),
        };
        let from = first.from.as_millis_f64();
        put(
            inside,
            format_args!(
                "<rect class=\"wrong\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\">{}</rect>",
                short(from),
                top + 2.0,
                short((until.as_millis_f64() - from).max(0.0)),
                LANE - 4.0,
                title(&text)
            ),
        );
    }

    fn faults(&self, inside: &mut String, labels: &mut String) {
        let bottom = self.lanes_top() - 4.0;
        for (fault, row) in self.summary.faults.iter().zip(&self.fault_rows) {
            let top = STEP_ROW + 6.0 + *row as f64 * FAULT_ROW;
            let from = fault.injected.as_millis_f64();
            let until = fault.healed.map_or(self.duration, Micros::as_millis_f64);
            let name = format!("{} {}", fault.kind, fault.target);
            let witness = if fault.witnesses.is_empty() { "no witness" } else { "witnessed" };
            let healed = fault.healed.map_or("never healed".to_owned(), |at| format!("healed at {at}"));
            let text = format!("{name}: injected at {}, {witness}, {healed}", fault.injected);
            put(
                inside,
                format_args!(
                    "<g class=\"fault\" tabindex=\"0\">{}<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\
                     <path class=\"inject\" d=\"M{} {top}V{bottom}\"/>",
                    title(&text),
                    short(from),
                    top + 2.0,
                    short((until - from).max(0.0)),
                    FAULT_ROW - 4.0,
                    short(from),
                ),
            );
            if let Some(healed) = fault.healed {
                put(
                    inside,
                    format_args!("<path class=\"heal\" d=\"M{} {top}V{bottom}\"/>", short(healed.as_millis_f64())),
                );
            }
            inside.push_str("</g>");
            self.fault_label(&fault.target, from, until, top, labels);
        }
    }

    fn fault_label(&self, name: &str, from: f64, until: f64, top: f64, labels: &mut String) {
        let long = format!("✕ {}", words::printable(name));
        let room = (self.scale.pixels(until - from) / CHARACTER) as usize;
        let text = words::shortened(&long, room.saturating_sub(1).max(1));
        put(
            labels,
            format_args!(
                "<text class=\"fault\" data-t=\"{}\" data-dx=\"5\" data-span=\"{}\" data-clip=\"{}\" x=\"{:.1}\" y=\"{}\">{}</text>",
                short(from),
                short(until - from),
                escape(&long),
                self.scale.x(from) + 5.0,
                top + 14.0,
                escape(&text),
            ),
        );
    }
}

fn change(node: &Node, maps: &NodeMaps, group: &[usize], top: f64, inside: &mut String) {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return };
    let Some(newest) = maps.changes.get(*last) else { return };
    let before = first.checked_sub(1).and_then(|index| maps.changes.get(index)).map(|change| &change.state);
    let differences = maps::differences(before, &newest.state).join(", ");
    let text = match group.len() {
        1 => format!("{node} at {}: {}", newest.at, words::shortened(&differences, CHANGE_MAX)),
        count => format!("{node}: {count} changes until {}: {}", newest.at, words::shortened(&differences, CHANGE_MAX)),
    };
    put(
        inside,
        format_args!(
            "<path class=\"change\" d=\"M{} {}v{}\">{}</path>",
            short(newest.at.as_millis_f64()),
            top + 5.0,
            LANE - 10.0,
            title(&text)
        ),
    );
}

fn step_title(step: &Step) -> String {
    let mut text = format!("{} {}: {}", step.index + 1, step.name, words::outcome_text(step.outcome));
    if let Some(duration) = step.duration() {
        put(&mut text, format_args!(" in {}", words::duration(duration)));
    }
    if let Some(settle) = step.settle_time() {
        put(&mut text, format_args!(", settled after {}", words::duration(settle)));
    }
    text
}

/// Neighbours that lie in the same stretch of `width` milliseconds.
fn grouped<T>(items: &[T], width: f64, time: impl Fn(&T) -> f64) -> Vec<&[T]> {
    let slot = |item: &T| (time(item) / width) as u64;
    items.chunk_by(|one, next| slot(one) == slot(next)).collect()
}

/// A round number at or above `value`, not much above it, so that the panel is filled.
fn axis_end(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let leading = value / power;
    let steps = [1.0, 1.2, 1.5, 2.0, 2.4, 3.0, 4.0, 5.0, 6.0, 8.0];
    steps.into_iter().find(|step| leading <= step + 1e-9).unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_rounded_up_a_little() {
        assert_eq!(axis_end(200.0), 200.0);
        assert_eq!(axis_end(210.0), 240.0);
        assert_eq!(axis_end(0.0), 1.0);
    }
}
