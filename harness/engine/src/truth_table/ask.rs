//! Requests from inside a client pod.

use std::{collections::BTreeMap, net::Ipv4Addr, path::Path, process::Stdio};

use meshbed_events::ErrorKind;
use meshbed_node::PodState;
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use super::TruthTableError;

/// Requests of one client to one service. With two backends that are picked at random, the chance that one of them is
/// never picked by the clients of two nodes is below one in a hundred million.
const REQUESTS: u64 = 15;
/// Requests a second. They overlap, so that those to the dead do not take long.
const RATE: u32 = 500;
/// Time for one request when none may be lost: longer than TCP's first retransmissions, for machines under load.
const PATIENT_MS: u32 = 5000;
/// The same when some may: the dead never answer.
const IMPATIENT_MS: u32 = 500;

/// What became of a client's requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Answers by the address of the backend.
    pub(super) answers: BTreeMap<Ipv4Addr, usize>,
    /// Failures by kind.
    pub(super) failures: BTreeMap<ErrorKind, usize>,
}

/// One line of the probe.
#[derive(Deserialize)]
struct Line {
    seq: u64,
    ip: Option<Ipv4Addr>,
    error: Option<ErrorKind>,
}

/// Sends some requests from `client`.
pub(super) async fn ask(
    client: &PodState,
    program: &Path,
    service: Ipv4Addr,
    port: u16,
    may_be_lost: bool,
) -> Result<Asked, TruthTableError> {
    let timeout = if may_be_lost { IMPATIENT_MS } else { PATIENT_MS };
    let mut command = meshbed_node::exec::command_in_pod(client, program);
    command
        .args(["probe", "--target", &format!("{service}:{port}"), "--path", "/"])
        .args(["--rate", &RATE.to_string(), "--timeout-ms", &timeout.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut child = Command::from(command).kill_on_drop(true).spawn()?;
    let stdout = child.stdout.take().ok_or("a probe has no output")?;
    let mut lines = BufReader::new(stdout).lines();
    let mut asked = Asked::default();
    let mut done = 0;
    while done < REQUESTS {
        let line = lines.next_line().await?.ok_or("a probe ended by itself")?;
        let line: Line = serde_json::from_str(&line)?;
        // Those that fail late come after others that were sent later: only the first ones sent count.
        if line.seq >= REQUESTS {
            continue;
        }
        done += 1;
        match (line.ip, line.error) {
            (Some(ip), None) => *asked.answers.entry(ip).or_default() += 1,
            (_, error) => *asked.failures.entry(error.unwrap_or(ErrorKind::Malformed)).or_default() += 1,
        }
    }
    child.kill().await?;
    Ok(asked)
}
