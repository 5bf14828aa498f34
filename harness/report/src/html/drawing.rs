//! What all lanes draw into: a stretched part with milliseconds as its unit of width, and labels that are not stretched.

use meshbed_events::Micros;

use super::happenings::Happenings;
use super::svg::{Scale, escape, put};
use crate::{Summary, words};

/// Width of the drawing.
pub(super) const WIDTH: f64 = 1160.0;
/// Room for labels on the left.
pub(super) const LEFT: f64 = 104.0;
/// Width of the part with the axis of time.
pub(super) const PLOT: f64 = WIDTH - LEFT - 8.0;
/// Height of the row with the steps' labels.
pub(super) const STEP_ROW: f64 = 24.0;
/// Height of a lane of a node, of objects or of logs.
pub(super) const LANE: f64 = 18.0;
/// Pixels of one character of a label, roughly.
pub(super) const CHARACTER: f64 = 6.3;
/// Characters of a lane's name.
const NAME_MAX: usize = 15;

/// What lanes are drawn from.
pub(super) struct Context<'s> {
    pub(super) summary: &'s Summary,
    pub(super) happenings: &'s Happenings,
    pub(super) clusters: &'s [String],
    pub(super) scale: Scale,
    /// Milliseconds of the whole run.
    pub(super) duration: f64,
}

impl Context<'_> {
    /// When something ended that may not have.
    pub(super) fn end(&self, until: Option<Micros>) -> f64 {
        until.map_or(self.duration, Micros::as_millis_f64)
    }
}

/// The drawing in the making. Lanes are drawn from top to bottom.
#[derive(Default)]
pub(super) struct Drawing {
    /// Behind everything: bands of steps, lines of faults. Its unit of width is the millisecond.
    pub(super) behind: String,
    /// The lanes. Its unit of width is the millisecond, so that zooming is one attribute.
    pub(super) inside: String,
    /// Texts: they would be stretched inside. `data-t` says where on the axis they belong.
    pub(super) labels: String,
    /// Where the next lane begins.
    pub(super) top: f64,
}

impl Drawing {
    /// The name of a lane whose middle is at `y`.
    pub(super) fn name(&mut self, y: f64, class: &str, name: &str) {
        let text = escape(&words::shortened(name, NAME_MAX));
        put(&mut self.labels, format_args!("<text class=\"lane{class}\" x=\"0\" y=\"{:.1}\">{text}</text>", y + 4.0));
    }

    /// A heading above lanes that belong together.
    pub(super) fn heading(&mut self, name: &str) {
        self.top += 6.0;
        let y = self.top + 11.0;
        put(&mut self.labels, format_args!("<text class=\"lane small heading\" x=\"0\" y=\"{y:.1}\">{name}</text>"));
        self.top += 16.0;
    }
}

/// A link to a line of the list, or nothing where there is no such line.
pub(super) fn link(line: Option<usize>, content: &str) -> String {
    match line {
        Some(line) => format!("<a href=\"#line-{line}\" tabindex=\"-1\">{content}</a>"),
        None => content.to_owned(),
    }
}

/// Neighbours that are drawn as one mark, such that there are about `limit` marks at most.
pub(super) fn grouped<T>(items: &[T], limit: usize, duration: f64, time: impl Fn(&T) -> f64) -> Vec<&[T]> {
    if items.len() <= limit {
        return items.chunks(1).collect();
    }
    let width = duration / limit.max(1) as f64;
    let slot = |item: &T| (time(item) / width) as u64;
    items.chunk_by(|one, next| slot(one) == slot(next)).collect()
}
