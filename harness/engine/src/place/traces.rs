//! Traces of agents on other machines, fetched when a run is over.

use meshbed_driver::Control;

use super::errand::{Errand, run};
use crate::propagation::{Traces, parse_trace};

/// Those of all agents that are elsewhere. One that cannot be had is missing: traces explain, they judge nobody.
pub(crate) async fn fetch(control: &Control) -> Traces {
    let mut traces = Traces::new();
    for process in control.state().processes {
        let (Some(cluster), Some(path)) = (process.cluster, process.launch.trace) else { continue };
        let Some(outpost) = control.outpost_of(cluster.as_str()) else { continue };
        match run::<Option<String>>(control, cluster.as_str(), Errand::Read(path)).await {
            Ok(text) => {
                let lines = parse_trace(text.unwrap_or_default().lines()).into_iter();
                traces.insert(process.name, lines.map(|line| line.by(|theirs| outpost.our_time(theirs))).collect());
            }
            Err(error) => tracing::warn!(process = process.name, %error, "no trace"),
        }
    }
    traces
}
