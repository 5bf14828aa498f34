//! Steps: names on top, bands behind all lanes.

use meshbed_events::{Micros, StepOutcome};

use super::super::drawing::{CHARACTER, Context, Drawing, STEP_ROW};
use super::super::svg::{escape, put, short, title};
use crate::{Step, Summary, words};

/// The names.
pub(in super::super) fn labels(context: &Context<'_>, drawing: &mut Drawing) {
    for step in &context.summary.steps {
        let Some(started) = step.started.map(Micros::as_millis_f64) else { continue };
        label(context, step, started, context.end(step.finished), &mut drawing.labels);
    }
    drawing.top += STEP_ROW;
}

/// The bands, once the height of everything is known.
pub(in super::super) fn bands(context: &Context<'_>, height: f64, drawing: &mut Drawing) {
    for step in &context.summary.steps {
        let Some(started) = step.started.map(Micros::as_millis_f64) else { continue };
        let end = context.end(step.finished);
        let settled = context.end(step.settled).min(end);
        let tone = if step.index.is_multiple_of(2) { "band" } else { "band odd" };
        let bad = if went_well(context.summary, step) { "" } else { " bad" };
        put(
            &mut drawing.behind,
            format_args!(
                "<a href=\"#step-{}\" class=\"{tone}{bad}\"><rect x=\"{}\" y=\"0\" width=\"{}\" height=\"{height:.1}\"/>\
                 <rect class=\"unsettled\" x=\"{}\" y=\"{STEP_ROW}\" width=\"{}\" height=\"{:.1}\"/>{}</a>",
                step.index + 1,
                short(started),
                short(end - started),
                short(started),
                short(settled - started),
                height - STEP_ROW,
                title(&words_of(step)),
            ),
        );
    }
}

fn went_well(summary: &Summary, step: &Step) -> bool {
    step.outcome == Some(StepOutcome::Passed) && summary.violations_of(step.index).next().is_none()
}

fn label(context: &Context<'_>, step: &Step, started: f64, end: f64, labels: &mut String) {
    let mark = if went_well(context.summary, step) { "" } else { "✕ " };
    let number = format!("{mark}{}", step.index + 1);
    let full = format!("{number} {}", words::printable(&step.name));
    let room = (context.scale.pixels(end - started) / CHARACTER) as usize;
    let text = if full.chars().count() < room { &full } else { &number };
    put(
        labels,
        format_args!(
            "<text class=\"step\" data-t=\"{}\" data-span=\"{}\" data-short=\"{number}\" data-long=\"{}\" x=\"{:.1}\" \
             y=\"16\">{}</text>",
            short((started + end) / 2.0),
            short(end - started),
            escape(&full),
            context.scale.x((started + end) / 2.0),
            escape(text),
        ),
    );
}

fn words_of(step: &Step) -> String {
    let mut text = format!("{} {}: {}", step.index + 1, step.name, words::outcome_text(step.outcome));
    if let Some(duration) = step.duration() {
        put(&mut text, format_args!(" in {}", words::duration(duration)));
    }
    if let Some(settle) = step.settle_time() {
        put(&mut text, format_args!(", settled after {}", words::duration(settle)));
    }
    text
}
