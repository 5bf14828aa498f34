//! `meshbed wan`.

use anyhow::Context;
use meshbed_wan::Options;
use tokio::runtime;

use crate::{args::WanArgs, exit::Exit};

pub(super) fn run(args: WanArgs) -> anyhow::Result<Exit> {
    let options = Options { config: args.config, socket: args.socket, seed: args.seed };
    // Packets have a thread of their own; the rest waits for the control socket.
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime
        .block_on(meshbed_wan::run(options, super::terminated()))
        .context("the router between the clusters failed")?;
    Ok(Exit::Success)
}
