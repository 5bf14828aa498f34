//! What the agent says about itself: the model, the server in the agent, and `mesh-agent status`.

mod client;
mod model;
mod server;
mod text;

pub(crate) use model::{AgentStatus, Health};
pub(crate) use server::StatusServer;

use std::path::{Path, PathBuf};

use crate::{
    cli::{Output, StatusOptions},
    runtime::block_on,
};

/// The answer's path, as in Cilium's API.
const PATH: &str = "/v1/healthz";

/// The agent's socket in its state directory.
fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join("mesh-agent.sock")
}

/// Asks the agent and returns the text to print.
pub(crate) fn print(options: &StatusOptions) -> anyhow::Result<String> {
    let status: AgentStatus = block_on(client::ask(&socket(&options.state_dir)))?;
    Ok(match options.output {
        Some(Output::Json) => serde_json::to_string_pretty(&status)?,
        None if options.verbose => text::verbose(&status, jiff::Timestamp::now()),
        None => text::brief(&status),
    })
}
