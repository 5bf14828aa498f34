//! The chart of the whole run: all lanes on one axis of time.

use meshbed_events::RunRecord;

use super::bins::Bins;
use super::drawing::{Context, Drawing, LEFT, PLOT, STEP_ROW, WIDTH};
use super::happenings::Happenings;
use super::lanes::{axis, faults, logs, maps, objects, requests, steps};
use super::svg::{Scale, put, short};
use crate::Summary;

/// The whole drawing.
pub(super) fn draw(record: &RunRecord, summary: &Summary, happenings: &Happenings, clusters: &[String]) -> String {
    let duration = summary.duration.as_millis_f64().max(1.0);
    let scale = Scale { from: 0.0, until: duration, left: LEFT, width: PLOT };
    let context = Context { summary, happenings, clusters, scale, duration };
    let mut drawing = Drawing::default();
    steps::labels(&context, &mut drawing);
    faults::draw(&context, &mut drawing);
    requests::draw(&context, &Bins::of(record, summary.duration), &mut drawing);
    maps::draw(&context, &mut drawing);
    objects::draw(&context, &mut drawing);
    logs::draw(&context, &mut drawing);
    axis::draw(&context, &mut drawing);
    let bottom = drawing.top;
    steps::bands(&context, bottom, &mut drawing);
    faults::lines(&context, STEP_ROW + 6.0, bottom, &mut drawing);
    whole(&drawing, duration)
}

fn whole(drawing: &Drawing, duration: f64) -> String {
    let height = drawing.top + 24.0;
    let mut svg = String::new();
    put(
        &mut svg,
        format_args!(
            "<svg id=\"timeline\" class=\"chart\" viewBox=\"0 0 {WIDTH} {height:.1}\" role=\"img\" tabindex=\"0\" \
             aria-label=\"Steps, faults, answers, maps, objects and logs over time\" data-left=\"{LEFT}\" \
             data-width=\"{PLOT}\" data-duration=\"{}\">",
            short(duration)
        ),
    );
    put(
        &mut svg,
        format_args!(
            "<svg class=\"plot\" x=\"{LEFT}\" y=\"0\" width=\"{PLOT}\" height=\"{height:.1}\" viewBox=\"0 0 {} \
             {height:.1}\" preserveAspectRatio=\"none\">{}{}</svg>{}</svg>",
            short(duration),
            drawing.behind,
            drawing.inside,
            drawing.labels
        ),
    );
    svg
}
