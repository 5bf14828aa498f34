//! Changes of Kubernetes objects, a lane a cluster.

use super::super::drawing::{Context, Drawing, LANE, grouped, link};
use super::super::happenings::{Kind, Line};
use super::super::svg::{put, short, title};

/// Marks in one lane.
const MARKS_MAX: usize = 400;

pub(in super::super) fn draw(context: &Context<'_>, drawing: &mut Drawing) {
    let clusters = lanes(context, Kind::Object, |line| &line.cluster);
    if clusters.is_empty() {
        return;
    }
    drawing.heading("objects of");
    for cluster in clusters {
        let wanted = |line: &Line| line.kind == Kind::Object && line.cluster == cluster;
        lane(context, &cluster, &context.happenings.matching(wanted), |_| "object", drawing);
    }
}

/// Clusters, or processes, that have lines of a kind.
pub(super) fn lanes(context: &Context<'_>, kind: Kind, of: fn(&Line) -> &str) -> Vec<String> {
    let lines = context.happenings.matching(|line| line.kind == kind);
    let mut names: Vec<String> = lines.into_iter().map(|(_, line)| of(line).to_owned()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// One lane of ticks that lead to lines of the list.
pub(super) fn lane(
    context: &Context<'_>,
    name: &str,
    lines: &[(usize, &Line)],
    class: impl Fn(&Line) -> &'static str,
    drawing: &mut Drawing,
) {
    let top = drawing.top;
    let middle = top + LANE / 2.0;
    put(&mut drawing.inside, format_args!("<path class=\"grid\" d=\"M0 {middle:.1}H{}\"/>", short(context.duration)));
    for group in grouped(lines, MARKS_MAX, context.duration, |(_, line)| line.at.as_millis_f64()) {
        let Some((number, first)) = group.first() else { continue };
        let text = match group {
            [_] => format!("{} {}: {}", first.at, first.source, first.text),
            _ => format!("{} and {} more: {}: {}", first.at, group.len() - 1, first.source, first.text),
        };
        // One mark of a group stands for the worst of its lines.
        let worst = group.iter().map(|(_, line)| class(line)).min_by_key(|class| rank(class)).unwrap_or("object");
        let mark = format!(
            "<path class=\"{worst}\" d=\"M{} {:.1}v{}\">{}</path>",
            short(first.at.as_millis_f64()),
            top + 4.0,
            LANE - 8.0,
            title(&text)
        );
        drawing.inside.push_str(&link(Some(*number), &mark));
    }
    drawing.name(middle, "", if name.is_empty() { "harness" } else { name });
    drawing.top += LANE;
}

fn rank(class: &str) -> u8 {
    match class {
        "log bad" => 0,
        "log caution" => 1,
        _ => 2,
    }
}
