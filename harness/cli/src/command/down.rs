//! `meshbed down`.

use meshbed_driver::RunId;

use crate::{args::DownArgs, exit::Exit, exit::usage, printer};

pub(super) fn run(args: &DownArgs) -> anyhow::Result<Exit> {
    let runs = wanted(args)?;
    if runs.is_empty() && args.run.is_none() {
        printer::talk("nothing to take down");
    }
    if runs.is_empty() {
        return Ok(Exit::Success);
    }
    let runtime = super::runtime()?;
    for run in runs {
        runtime.block_on(meshbed_driver::down(&run))?;
        printer::talk(&format!("run {run} is down, nothing of it is left"));
    }
    Ok(Exit::Success)
}

fn wanted(args: &DownArgs) -> anyhow::Result<Vec<RunId>> {
    if let Some(run) = &args.run {
        let id: RunId = run.parse().map_err(|error| usage(format!("{error}"), ""))?;
        if meshbed_driver::leftovers(&id)?.is_empty() {
            let known: Vec<String> = meshbed_driver::runs()?.iter().map(|run| run.run.to_string()).collect();
            let known = if known.is_empty() { "no run is up".to_owned() } else { format!("up: {}", known.join(", ")) };
            printer::talk(&format!("there is nothing of a run `{id}` on this machine; {known}"));
            return Ok(Vec::new());
        }
        return Ok(vec![id]);
    }
    let mut wanted = Vec::new();
    for run in meshbed_driver::runs()? {
        if args.all || run.kept || run.is_abandoned() {
            wanted.push(run.run);
        } else {
            printer::talk(&format!("run {} is in progress and stays; `meshbed down {0}` ends it", run.run));
        }
    }
    wanted.extend(meshbed_driver::orphans()?.into_iter().map(|orphan| orphan.run));
    Ok(wanted)
}
