//! Traces of agents on other machines, fetched when a run is over.

use futures::future::join_all;
use meshbed_driver::{Control, ProcessState};

use super::errand::{Errand, run};
use crate::propagation::{TraceLine, Traces, parse_trace};

/// Those of all agents that are elsewhere. One that cannot be had is missing: traces explain, they judge nobody.
pub(crate) async fn fetch(control: &Control) -> Traces {
    let all = control.state().processes.into_iter().map(|process| fetch_one(control, process));
    join_all(all).await.into_iter().flatten().collect()
}

async fn fetch_one(control: &Control, process: ProcessState) -> Option<(String, Vec<TraceLine>)> {
    let (cluster, path) = (process.cluster?, process.launch.trace?);
    let outpost = control.outpost_of(cluster.as_str())?;
    match run::<Option<String>>(control, cluster.as_str(), Errand::Read(path)).await {
        Ok(text) => {
            let lines = parse_trace(text.unwrap_or_default().lines()).into_iter();
            Some((process.name, lines.map(|line| line.by(|theirs| outpost.our_time(theirs))).collect()))
        }
        Err(error) => {
            tracing::warn!(process = process.name, %error, "no trace");
            None
        }
    }
}
