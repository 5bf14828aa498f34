//! `meshbed kubelet`.

use anyhow::Context;
use meshbed_node::kubelet::{self, Options};

use crate::exit::Exit;

pub(super) fn run(options: Options) -> anyhow::Result<Exit> {
    super::runtime()?.block_on(kubelet::run(options, super::terminated())).context("the kubelet failed")?;
    Ok(Exit::Success)
}
