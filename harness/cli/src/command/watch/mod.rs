//! `meshbed watch`: a mesh, live.

mod changes;
mod screen;
mod terminal;

use std::{io::IsTerminal, time::Duration};

use meshbed_driver::Programs;
use meshbed_engine::{MeshView, Viewer, ViewerOptions, ViewerProbe};
use meshbed_scenario::DeploymentKey;
use tokio::time::{MissedTickBehavior, interval};

use self::terminal::Terminal;
use super::find;
use crate::{args::WatchArgs, exit::Exit, printer};

/// Time between two screens: a person reads no faster.
const REDRAW: Duration = Duration::from_millis(500);
/// Time between two looks for lines; what changes and changes back within it is not told.
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn run(args: &WatchArgs) -> anyhow::Result<Exit> {
    let state = find::run(args.run.as_deref())?;
    let topology = find::topology(&state)?;
    // The probes of a run in progress are those of its scenario; more clients would change what it measures.
    let is_at_work = !state.kept && state.harness_is_alive();
    let probe = args.probe.clone().or_else(|| (!args.no_probe && !is_at_work).then(star_wars));
    let pod_program = Programs::next_to(&std::env::current_exe()?).meshbed_pod;
    let options = ViewerOptions { state, topology, pod_program, probe };
    let runtime = super::runtime()?;
    let exit = runtime.block_on(async {
        let viewer = Viewer::start(options).await?;
        if std::io::stdout().is_terminal() { on_terminal(viewer).await } else { in_lines(viewer).await }
    });
    // The thread that reads keys may still wait for one.
    runtime.shutdown_background();
    exit
}

/// The Star Wars demo: x-wings ask the rebel bases.
fn star_wars() -> ViewerProbe {
    let deployment = DeploymentKey { namespace: "default".to_owned(), name: "x-wing".to_owned() };
    let service = meshbed_scenario::ServiceKey { namespace: "default".to_owned(), name: "rebel-base".to_owned() };
    ViewerProbe { deployment, service, port: 80 }
}

async fn on_terminal(mut viewer: Viewer) -> anyhow::Result<Exit> {
    let mut terminal = Terminal::open()?;
    let mut keys = terminal::keys();
    let mut ticks = interval(REDRAW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = super::terminated();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            biased;
            () = &mut ended => return Ok(Exit::Success),
            // Without a keyboard there are no keys, and Ctrl-C is left.
            Some(key) = keys.recv() => {
                if matches!(key, b'q' | b'Q') {
                    return Ok(Exit::Success);
                }
            }
            _ = ticks.tick() => {
                if viewer.is_gone() {
                    drop(terminal);
                    printer::talk("the mesh was taken down");
                    return Ok(Exit::Success);
                }
                viewer.keep_asking().await;
                let (width, height) = terminal.size();
                terminal.draw(&screen::screen(&viewer.look(), width, height))?;
            }
        }
    }
}

async fn in_lines(mut viewer: Viewer) -> anyhow::Result<Exit> {
    let ended = super::terminated();
    tokio::pin!(ended);
    let mut before = MeshView::default();
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if viewer.is_gone() {
            printer::data("the mesh was taken down\n");
            return Ok(Exit::Success);
        }
        viewer.keep_asking().await;
        let now = viewer.look();
        for line in changes::changes(&before, &now) {
            if !printer::data_line(&line) {
                return Ok(Exit::Success);
            }
        }
        before = now;
        tokio::select! {
            biased;
            () = &mut ended => return Ok(Exit::Success),
            // Answers that stay away have no notification, nor have faults.
            _ = ticks.tick() => {}
        }
    }
}
