//! What the agent says about itself: the models, the server in the agent, and the commands that ask it.

mod client;
mod list;
mod model;
mod server;
mod text;

pub(crate) use list::{identity_table, node_table};
pub(crate) use model::{
    AgentStatus, ClusterNodes, Health, Identity, NodeAddressing, NodeAddressingElement, NodeElement, NodeSource,
};
pub(crate) use server::StatusServer;

use std::path::{Path, PathBuf};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;

use crate::{
    cli::{ListOptions, Output, StatusOptions},
    runtime::block_on,
};

/// Status of the agent and of its remote clusters. The paths are those of Cilium's API.
const HEALTH: &str = "/v1/healthz";
/// All nodes.
const NODES: &str = "/v1/cluster/nodes";
/// All security identities.
const IDENTITIES: &str = "/v1/identity";

/// A question to the agent, with the place for the answer.
#[derive(Debug)]
pub(crate) enum Question {
    /// How are you?
    Health(oneshot::Sender<AgentStatus>),
    /// Which nodes are there?
    Nodes(oneshot::Sender<ClusterNodes>),
    /// Which security identities are there?
    Identities(oneshot::Sender<Vec<Identity>>),
}

/// The agent's socket in its state directory.
fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join("mesh-agent.sock")
}

/// Asks the agent whose state directory this is.
fn ask<T: DeserializeOwned>(state_dir: &Path, path: &'static str) -> anyhow::Result<T> {
    block_on(client::ask(&socket(state_dir), path))
}

/// JSON as `cilium-dbg` prints it.
fn json(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)?)
}

/// `mesh-agent status`.
pub(crate) fn print(options: &StatusOptions) -> anyhow::Result<String> {
    let status: AgentStatus = ask(&options.state_dir, HEALTH)?;
    Ok(match options.output {
        Some(Output::Json) => json(&status)?,
        None if options.verbose => text::verbose(&status, jiff::Timestamp::now()),
        None => text::brief(&status, jiff::Timestamp::now()),
    })
}

/// `mesh-agent node list`.
pub(crate) fn nodes(options: &ListOptions) -> anyhow::Result<String> {
    let nodes: ClusterNodes = ask(&options.state_dir, NODES)?;
    Ok(match options.output {
        Some(Output::Json) => json(&nodes.nodes)?,
        None => node_table(&nodes),
    })
}

/// `mesh-agent identity list`.
pub(crate) fn identities(options: &ListOptions) -> anyhow::Result<String> {
    let identities: Vec<Identity> = ask(&options.state_dir, IDENTITIES)?;
    Ok(match options.output {
        Some(Output::Json) => json(&identities)?,
        None => identity_table(&identities),
    })
}
