//! `meshbed status`.

use std::fmt::Write;

use meshbed_driver::RunState;
use meshbed_engine::FaultFile;

use super::find;
use crate::{args::StatusArgs, exit::Exit, printer};

pub(super) fn run(args: &StatusArgs) -> anyhow::Result<Exit> {
    let runs = match &args.run {
        Some(run) => vec![find::run(Some(run))?],
        None => meshbed_driver::runs()?,
    };
    if runs.is_empty() {
        printer::talk("no mesh is up on this machine");
        return Ok(Exit::Success);
    }
    for run in &runs {
        printer::data(&text(run));
    }
    Ok(Exit::Success)
}

fn text(run: &RunState) -> String {
    let mut text = String::new();
    let owner = match (run.kept, run.harness_is_alive()) {
        (true, _) => "kept".to_owned(),
        (false, true) => format!("in progress, process {}", run.harness.pid),
        (false, false) => "abandoned: its harness is gone".to_owned(),
    };
    // Writing to a String cannot fail.
    let mut line = |indent: usize, what: String| {
        let _never = writeln!(text, "{:indent$}{what}", "").is_err();
    };
    line(0, format!("run {} ({}): {owner}, in {}", run.run, run.topology, run.run_dir.display()));
    let pods = find::pods(run);
    for cluster in &run.clusters {
        line(2, format!("cluster {} (ID {}): API {}", cluster.name, cluster.id, cluster.api_host_url));
        for node in &cluster.nodes {
            line(4, format!("node {} {} pods {}: {}", node.name, node.ip, node.pod_cidr, maps(&node.bpf_root)));
            for pod in pods.iter().filter(|pod| pod.node.name == node.name && pod.cluster.name == cluster.name) {
                line(6, format!("pod {}/{} {} {}", pod.state.namespace, pod.state.name, pod.state.ip, pod.state.phase));
            }
        }
    }
    for fault in FaultFile::all(&run.run_dir) {
        line(
            2,
            format!(
                "fault {}: {}, {}, injected {}",
                fault.name,
                fault.words,
                fault.state_words(),
                super::fault::ago(&fault)
            ),
        );
        for witness in &fault.witnesses {
            line(4, format!("witness: {witness}"));
        }
    }
    let dead: Vec<_> = run.processes.iter().filter(|process| !process.identity.is_alive()).collect();
    line(2, format!("processes: {} of {} alive", run.processes.len() - dead.len(), run.processes.len()));
    for process in dead {
        line(4, format!("{} is gone; its log: {}", process.name, process.log.display()));
    }
    text
}

fn maps(bpf_root: &std::path::Path) -> String {
    match meshbed_engine::read_maps(bpf_root) {
        Ok(state) => {
            let backends: usize = state.frontends.values().map(|frontend| frontend.active.len()).sum();
            format!("{} frontends with {backends} backends in its maps", state.frontends.len())
        }
        Err(_) => "no maps".to_owned(),
    }
}
