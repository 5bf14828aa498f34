//! Small parts of SVG.

use std::fmt::{self, Write};

use crate::words;

/// Characters of one hover title; a finding may be long, and a page has thousands of titles.
const TITLE_MAX: usize = 240;

/// Adds formatted text to `svg`.
pub(super) fn put(svg: &mut String, arguments: fmt::Arguments<'_>) {
    svg.write_fmt(arguments).expect("writing to a String cannot fail");
}

/// `text` as it may stand in markup and in quoted attributes; control characters become visible.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in words::printable(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A hover title.
pub(super) fn title(text: &str) -> String {
    format!("<title>{}</title>", escape(&words::shortened(text, TITLE_MAX)))
}

/// Number of different looks of clusters; more clusters than that share looks, and hover titles tell them apart.
const LOOKS: usize = 6;

/// The class that gives a cluster its colour and pattern.
pub(super) fn look(clusters: &[String], cluster: &str) -> String {
    let position = clusters.iter().position(|name| name == cluster).unwrap_or(0);
    format!("c{}", position % LOOKS)
}

/// `number` without superfluous digits: `12`, `12.5`, `0.04`.
pub(super) fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A linear scale from times in milliseconds to pixels.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub(super) from: f64,
    pub(super) until: f64,
    pub(super) left: f64,
    pub(super) width: f64,
}

impl Scale {
    pub(super) fn x(&self, time: f64) -> f64 {
        let span = (self.until - self.from).max(f64::MIN_POSITIVE);
        self.left + (time - self.from) / span * self.width
    }

    /// Pixels of so many milliseconds.
    pub(super) fn pixels(&self, millis: f64) -> f64 {
        self.x(self.from + millis) - self.left
    }

    /// Round times about `spacing` pixels apart.
    pub(super) fn ticks(&self, spacing: f64) -> Vec<f64> {
        let step = round_up((self.until - self.from) * spacing / self.width);
        let first = (self.from / step).ceil();
        // Counting steps instead of adding them keeps binary rounding from adding up.
        let count = ((self.until / step).floor() - first).clamp(0.0, TICKS_MAX);
        (0..=count as u32).map(|index| (first + f64::from(index)) * step).collect()
    }
}

/// Ticks of one axis; an axis is some thousand pixels wide at most.
const TICKS_MAX: f64 = 100.0;

/// The next of 1, 2, 5, 10, 20, 50, … and their decimal fractions.
pub(super) fn round_up(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let leading = value / power;
    let rounded = [1.0, 2.0, 5.0].into_iter().find(|step| leading <= step + 1e-9).unwrap_or(10.0);
    rounded * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_numbers() {
        assert_eq!(round_up(79.0), 100.0);
        assert_eq!(round_up(20.0), 20.0);
        assert_eq!(round_up(0.03), 0.05);
        assert_eq!(round_up(0.0), 1.0);
        assert_eq!(short(12.50), "12.5");
        assert_eq!(short(100.0), "100");
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let scale = Scale { from: -3.0, until: 17_514.0, left: 96.0, width: 1048.0 };
        assert_eq!(scale.ticks(100.0), [0.0, 2000.0, 4000.0, 6000.0, 8000.0, 10_000.0, 12_000.0, 14_000.0, 16_000.0]);
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escape("<a href=\"x\">&'\u{7}"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;\\u{7}");
    }
}
