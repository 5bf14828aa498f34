//! Logs, a lane a process, or a lane a cluster when there are many: errors and warnings stand out.

use super::super::drawing::{Context, Drawing};
use super::super::happenings::{Kind, Line};
use super::objects::{lane, lanes};

/// Processes with a lane each; logs of more share the lane of their cluster.
const PROCESSES_MAX: usize = 24;

pub(in super::super) fn draw(context: &Context<'_>, drawing: &mut Drawing) {
    let processes = lanes(context, Kind::Log, |line| &line.source);
    if processes.is_empty() {
        return;
    }
    drawing.heading("logs of");
    if processes.len() <= PROCESSES_MAX {
        each(context, &processes, |line| &line.source, drawing);
    } else {
        each(context, &lanes(context, Kind::Log, |line| &line.cluster), |line| &line.cluster, drawing);
    }
}

fn each(context: &Context<'_>, names: &[String], of: fn(&Line) -> &str, drawing: &mut Drawing) {
    for name in names {
        let lines = context.happenings.matching(|line: &Line| line.kind == Kind::Log && of(line) == name);
        lane(context, name, &lines, class, drawing);
    }
}

fn class(line: &Line) -> &'static str {
    match line.level.as_str() {
        "error" => "log bad",
        "warn" => "log caution",
        _ => "log",
    }
}
