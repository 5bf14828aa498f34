//! What the agent says about itself: the models, the server in the agent, and the commands that ask it.

mod client;
mod list;
mod mesh;
mod model;
mod server;
mod text;

pub(crate) use list::{identity_table, node_table};
pub(crate) use model::{
    AgentStatus, ClusterNodes, Health, Identity, NodeAddressing, NodeAddressingElement, NodeElement, NodeSource,
};
pub(crate) use server::StatusServer;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::bail;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::oneshot,
    time::{Instant, interval},
};

use crate::{
    cli::{ClustermeshStatusOptions, ListOptions, MeshOutput, Output, StatusOptions},
    runtime::block_on,
};
use mesh::MeshStatus;

/// How often agents are asked while somebody waits for them.
const WAIT_STEP: Duration = Duration::from_millis(500);

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

/// `mesh-agent clustermesh status`: what it prints, and whether all agents are connected to all clusters.
pub(crate) fn clustermesh(options: &ClustermeshStatusOptions) -> anyhow::Result<(String, bool)> {
    let status = block_on(async {
        // None: so far away that it never comes.
        let deadline = Instant::now().checked_add(options.wait_duration);
        let mut again = interval(WAIT_STEP);
        loop {
            again.tick().await;
            let status = MeshStatus::new(&ask_all(&options.state_dir).await?);
            if !options.wait || status.is_ready() || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(status);
            }
        }
    })?;
    let text = match options.output {
        MeshOutput::Json => json(&status)?,
        MeshOutput::Summary => status.summary(),
    };
    Ok((text, status.is_ready()))
}

/// The answers of these agents by the names of their nodes; one that does not answer has only its directory.
async fn ask_all(state_dirs: &[PathBuf]) -> anyhow::Result<BTreeMap<String, Result<AgentStatus, String>>> {
    let mut agents = BTreeMap::new();
    for state_dir in state_dirs {
        let (node, answer) = match ask_one(&socket(state_dir)).await {
            Ok((node, status)) => (node, Ok(status)),
            Err(error) => (state_dir.display().to_string(), Err(format!("{error:#}"))),
        };
        if agents.insert(node.clone(), answer).is_some() {
            bail!("`{}` is of `{node}`, which was asked already", state_dir.display());
        }
    }
    Ok(agents)
}

async fn ask_one(socket: &Path) -> anyhow::Result<(String, AgentStatus)> {
    let nodes: ClusterNodes = client::ask(socket, NODES).await?;
    Ok((nodes.this, client::ask(socket, HEALTH).await?))
}
