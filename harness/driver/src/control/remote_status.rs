//! What an agent says about its remote clusters, when its description names a command that asks it.

use std::{io, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{process::Command, time::timeout};

use super::{Control, ControlError, ControlErrorKind, error::While};
use crate::{
    error::{Act, SystemError},
    outpost::Order,
    programs::node_process,
    state::ProcessRole,
};

/// How long the command may take. An agent that is alive answers within milliseconds.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

impl Control {
    /// Asks the agent of `node` how its remote clusters are; `None` if it does not answer. The answer is JSON of some kind:
    /// Cilium's model, if the agent's description is right.
    pub async fn remote_status(&self, node: &str) -> Result<Option<Value>, ControlError> {
        if let Some(outpost) = self.outpost_of_node(node) {
            return self.order(outpost, Order::RemoteStatus(node.to_owned())).await;
        }
        let act = || format!("ask the agent of node `{node}` about its remote clusters");
        let name = node_process(ProcessRole::Agent, node);
        let command = self.lock_state().process(&name).map(|process| process.launch.status.clone());
        let command = command.ok_or_else(|| ControlErrorKind::UnknownProcess(name.clone())).during(act)?;
        let Some((program, arguments)) = command.split_first() else {
            return Err(ControlError::new(act(), ControlErrorKind::NoStatus(name)));
        };
        ask(program, arguments).await.during(act)
    }
}

async fn ask(program: &str, arguments: &[String]) -> Result<Option<Value>, SystemError> {
    let act = || format!("run `{program}`");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let Ok(output) = timeout(ASK_TIMEOUT, command.output()).await else { return Ok(None) };
    let output = output.act(act)?;
    if !output.status.success() {
        return Ok(None);
    }
    serde_json::from_slice(&output.stdout).map(Some).map_err(io::Error::from).act(act)
}

#[cfg(test)]
mod tests {
    use super::ask;

    #[tokio::test]
    async fn answers_are_json_or_none() {
        let line = |text: &str| ["-c".to_owned(), text.to_owned()];
        assert_eq!(ask("sh", &line("echo '[1]'")).await.unwrap(), Some(serde_json::json!([1])));
        assert_eq!(ask("sh", &line("echo '[1]'; exit 1")).await.unwrap(), None);
        assert!(ask("sh", &line("echo no")).await.is_err());
        assert!(ask("/no/such/program", &[]).await.is_err());
    }
}
