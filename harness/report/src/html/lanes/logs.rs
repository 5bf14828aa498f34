//! Logs of all processes, a lane a cluster: errors and warnings stand out.

use super::super::drawing::{Context, Drawing};
use super::super::happenings::{Kind, Line};
use super::objects::{lane, lanes};

pub(in super::super) fn draw(context: &Context<'_>, drawing: &mut Drawing) {
    let clusters = lanes(context, Kind::Log);
    if clusters.is_empty() {
        return;
    }
    drawing.heading("logs of");
    for cluster in clusters {
        let of_cluster = |line: &Line| line.kind == Kind::Log && line.cluster == cluster;
        lane(context, &cluster, &context.happenings.matching(of_cluster), class, drawing);
    }
}

fn class(line: &Line) -> &'static str {
    match line.level.as_str() {
        "error" => "log bad",
        "warn" => "log caution",
        _ => "log",
    }
}
