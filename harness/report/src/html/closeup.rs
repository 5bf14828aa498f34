//! The milliseconds around a fault: every single request, and when each node's maps followed.

use meshbed_events::{Event, Micros, Outcome, Request, RunRecord, Stopwatch};

use super::svg::{Scale, escape, look, put, short, title};
use crate::{Node, NodeMaps, Summary, words};

const WIDTH: f64 = 560.0;
const LEFT: f64 = 66.0;
const PLOT: f64 = WIDTH - LEFT - 28.0;
/// Height of one cluster's requests: rows in which they take turns, so that neighbours do not cover each other.
const REQUEST_ROWS: usize = 4;
const REQUEST_ROW: f64 = 9.0;
const CLIENT_GAP: f64 = 10.0;
const LANE: f64 = 15.0;
const TOP: f64 = 46.0;
/// Shown before the fault at least, in milliseconds.
const BEFORE_MS: f64 = 8.0;
/// Shown after the fault at least, and at most: a slow failover must not make single requests vanish.
const AFTER_MS: f64 = 20.0;
const AFTER_MAX_MS: f64 = 5_000.0;
/// Requests and marks in one close-up; each costs about 150 bytes.
const REQUESTS_MAX: usize = 300;
/// Nodes with a lane.
const NODES_MAX: usize = 16;
/// Marks in the lane of one node.
const MARKS_MAX: usize = 20;
/// Pixels of one character of a label, roughly.
const CHARACTER: f64 = 6.0;

struct Closeup<'s> {
    record: &'s RunRecord,
    summary: &'s Summary,
    stopwatch: &'s Stopwatch,
    clusters: Vec<String>,
    scale: Scale,
}

/// The drawing for one stopwatch.
pub(super) fn draw(record: &RunRecord, summary: &Summary, stopwatch: &Stopwatch) -> String {
    let relative = |at: Option<Micros>| at.map(|at| words::offset_ms(stopwatch.injected, at));
    let marks = [stopwatch.first_answer_after, stopwatch.last_map_right, stopwatch.last_answer_of_dead].map(relative);
    let latest = marks.into_iter().flatten().fold(0.0, f64::max);
    let earliest = marks.into_iter().flatten().fold(0.0, f64::min);
    let until = (latest * 1.25).clamp(AFTER_MS, AFTER_MAX_MS);
    let from = (earliest * 1.25).min(-BEFORE_MS).max(-until);
    let closeup = Closeup {
        record,
        summary,
        stopwatch,
        clusters: summary.clusters(),
        scale: Scale { from, until, left: LEFT, width: PLOT },
    };
    closeup.draw()
}

impl Closeup<'_> {
    fn relative(&self, at: Micros) -> f64 {
        words::offset_ms(self.stopwatch.injected, at)
    }

    /// The pixel of a time, at most a little outside the plot.
    fn x(&self, at: Micros) -> f64 {
        self.scale.x(self.relative(at)).clamp(LEFT - 1.0, LEFT + PLOT + 1.0)
    }

    fn shows(&self, from: Micros, until: Micros) -> bool {
        self.relative(until) >= self.scale.from && self.relative(from) <= self.scale.until
    }

    fn draw(&self) -> String {
        let mut drawn = String::new();
        let mut top = TOP;
        for cluster in self.client_clusters() {
            put(
                &mut drawn,
                format_args!(
                    "<text class=\"lane strong\" x=\"0\" y=\"{}\">{}</text>",
                    top + 21.0,
                    escape(&words::shortened(cluster, 9))
                ),
            );
            self.requests(cluster, top, &mut drawn);
            top += REQUEST_ROWS as f64 * REQUEST_ROW + CLIENT_GAP;
        }
        for (node, maps) in self.summary.nodes.iter().take(NODES_MAX) {
            self.lane(node, maps, top, &mut drawn);
            top += LANE;
        }
        let mut svg = String::new();
        let height = top + 26.0;
        let name = format!("Around the fault {}", self.stopwatch.target);
        put(
            &mut svg,
            format_args!(
                "<svg class=\"chart closeup\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">",
                escape(&name)
            ),
        );
        let zero = self.scale.x(0.0);
        put(
            &mut svg,
            format_args!(
                "<rect class=\"after\" x=\"{zero:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                LEFT + PLOT - zero,
                top - TOP
            ),
        );
        self.axis(top, &mut svg);
        svg.push_str(&drawn);
        self.marks(top, &mut svg);
        svg.push_str("</svg>");
        svg
    }

    fn client_clusters(&self) -> impl Iterator<Item = &String> {
        let asks = |cluster: &&String| {
            let clients = self.summary.steps.iter().flat_map(|step| step.clients.keys());
            clients.into_iter().any(|client| client.cluster == **cluster)
        };
        self.clusters.iter().filter(asks)
    }

    fn axis(&self, top: f64, svg: &mut String) {
        put(svg, format_args!("<path class=\"line\" d=\"M{LEFT} {top}h{PLOT}\"/>"));
        for time in self.scale.ticks(64.0) {
            let x = self.scale.x(time);
            put(svg, format_args!("<path class=\"grid\" d=\"M{x:.1} {TOP}V{}\"/>", top + 4.0));
            let sign = if time > 0.0 { "+" } else { "" };
            put(
                svg,
                format_args!("<text class=\"tick\" x=\"{x:.1}\" y=\"{}\">{sign}{} ms</text>", top + 17.0, short(time)),
            );
        }
    }

    fn requests(&self, cluster: &str, top: f64, svg: &mut String) {
        let of_cluster = |request: &&Request| request.cluster == cluster && self.shows(request.sent, request.done);
        let all = self.record.events.iter().filter_map(|stamped| match &stamped.event {
            Event::Request(request) => Some(request),
            _ => None,
        });
        let mut shown: Vec<&Request> = all.filter(of_cluster).collect();
        shown.sort_by_key(|request| request.sent.0.abs_diff(self.stopwatch.injected.0));
        shown.truncate(REQUESTS_MAX);
        shown.sort_by_key(|request| request.sent);
        for (index, request) in shown.into_iter().enumerate() {
            let y = top + 4.0 + (index % REQUEST_ROWS) as f64 * REQUEST_ROW;
            let (class, what) = match &request.outcome {
                Outcome::Answered(answer) => {
                    (look(&self.clusters, &answer.cluster), format!("answered by {}/{}", answer.cluster, answer.pod))
                }
                Outcome::Failed(kind) => ("error".to_owned(), kind.as_str().to_owned()),
            };
            let sent = words::offset(self.stopwatch.injected, Some(request.sent));
            let text = format!(
                "{}/{} at {sent}: {what} after {}",
                request.cluster,
                request.client,
                words::duration(request.done.since(request.sent))
            );
            let (start, end) = (self.x(request.sent), self.x(request.done));
            put(
                svg,
                format_args!(
                    "<g class=\"request {class}\">{}<path d=\"M{start:.1} {y}H{:.1}\"/>",
                    title(&text),
                    end.max(start + 1.0)
                ),
            );
            match request.outcome {
                Outcome::Answered(_) => put(svg, format_args!("<circle cx=\"{end:.1}\" cy=\"{y}\" r=\"2.6\"/></g>")),
                Outcome::Failed(_) => {
                    put(svg, format_args!("<path d=\"M{:.1} {}l6 6m0 -6l-6 6\"/></g>", end - 3.0, y - 3.0))
                }
            }
        }
    }

    fn lane(&self, node: &Node, maps: &NodeMaps, top: f64, svg: &mut String) {
        let middle = top + LANE / 2.0;
        put(
            svg,
            format_args!(
                "<text class=\"lane\" x=\"0\" y=\"{}\">{}</text>",
                middle + 4.0,
                escape(&words::shortened(&node.name, 10))
            ),
        );
        put(svg, format_args!("<path class=\"grid\" d=\"M{LEFT} {middle}h{PLOT}\"/>"));
        let end = self.summary.duration;
        let wrong = maps.wrong.iter().filter(|interval| self.shows(interval.from, interval.until.unwrap_or(end)));
        for interval in wrong.take(MARKS_MAX) {
            let until = interval.until.unwrap_or(end);
            let text =
                format!("{node}: wrong for {}: {}", words::duration(until.since(interval.from)), interval.text());
            let (start, stop) = (self.x(interval.from), self.x(until));
            put(
                svg,
                format_args!(
                    "<rect class=\"wrong\" x=\"{start:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{}\">{}</rect>",
                    top + 3.0,
                    (stop - start).max(0.5),
                    LANE - 6.0,
                    title(&text)
                ),
            );
        }
        let changes = maps.changes.iter().filter(|change| self.shows(change.at, change.at));
        for change in changes.take(MARKS_MAX) {
            let text = format!("{node}: maps changed at {}", words::offset(self.stopwatch.injected, Some(change.at)));
            put(
                svg,
                format_args!(
                    "<path class=\"change\" d=\"M{:.1} {}v{}\">{}</path>",
                    self.x(change.at),
                    top + 2.0,
                    LANE - 4.0,
                    title(&text)
                ),
            );
        }
    }

    /// The stopwatch's times, with labels above the plot.
    fn marks(&self, bottom: f64, svg: &mut String) {
        let zero = self.scale.x(0.0);
        put(svg, format_args!("<path class=\"inject\" d=\"M{zero:.1} {}V{bottom}\"/>", TOP - 6.0));
        put(svg, format_args!("<text class=\"mark end\" x=\"{:.1}\" y=\"{}\">✕ fault</text>", zero - 4.0, TOP - 4.0));
        let marks = [
            (self.stopwatch.first_answer_after, "first answer after"),
            (self.stopwatch.last_map_right, "last map right"),
        ];
        for (row, (at, name)) in marks.into_iter().enumerate() {
            let Some(at) = at.filter(|at| self.shows(*at, *at)) else { continue };
            let x = self.x(at);
            let y = 12.0 + 14.0 * row as f64;
            let text = format!("{name} {}", words::offset(self.stopwatch.injected, Some(at)));
            let fits = x + 4.0 + text.chars().count() as f64 * CHARACTER < WIDTH;
            let (anchor, label_x) = if fits { ("", x + 4.0) } else { (" end", x - 4.0) };
            put(svg, format_args!("<path class=\"found\" d=\"M{x:.1} {}V{bottom}\"/>", y - 9.0));
            put(svg, format_args!("<text class=\"mark{anchor}\" x=\"{label_x:.1}\" y=\"{y}\">{text}</text>"));
        }
    }
}
