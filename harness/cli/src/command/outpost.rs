//! `meshbed outpost`: does on this machine what the one that leads a mesh asks for. Started by `meshbed run` in guests.

use anyhow::Context;
use meshbed_driver::{OUTPOST, OutpostLink};

use super::guest;
use crate::exit::Exit;

pub(super) fn run() -> anyhow::Result<Exit> {
    let told = std::env::var(OUTPOST).with_context(|| format!("`{OUTPOST}` says how the other machine is reached"))?;
    let link: OutpostLink = serde_json::from_str(&told).with_context(|| format!("failed to read `{OUTPOST}`"))?;
    super::runtime()?.block_on(async {
        tokio::select! {
            served = meshbed_driver::serve_outpost(link, guest::slowness(), meshbed_engine::answerer()) => served?,
            () = super::terminated() => {}
        }
        Ok(Exit::Success)
    })
}
