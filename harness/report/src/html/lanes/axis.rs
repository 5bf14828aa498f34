//! The axis of time.

use super::super::drawing::{Context, Drawing};
use super::super::svg::{put, short};

/// Room between ticks.
const SPACING: f64 = 90.0;

pub(in super::super) fn draw(context: &Context<'_>, drawing: &mut Drawing) {
    let top = drawing.top + 6.0;
    put(&mut drawing.inside, format_args!("<path class=\"line\" d=\"M0 {top:.1}H{}\"/>", short(context.duration)));
    put(&mut drawing.labels, format_args!("<g id=\"ticks\" data-top=\"{top:.1}\">"));
    for time in context.scale.ticks(SPACING) {
        let x = context.scale.x(time);
        put(&mut drawing.labels, format_args!("<path class=\"line\" d=\"M{x:.1} {top:.1}v5\"/>"));
        put(
            &mut drawing.labels,
            format_args!("<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\">{} s</text>", top + 18.0, short(time / 1e3)),
        );
    }
    drawing.labels.push_str("</g>");
    drawing.top = top;
}
