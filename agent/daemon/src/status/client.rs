//! Questions to a running agent.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode, header::HOST};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, time::timeout};

/// An agent that is alive answers within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the agent behind `socket` for what is at `path`.
pub(super) async fn ask<T: DeserializeOwned>(socket: &Path, path: &'static str) -> anyhow::Result<T> {
    let stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("unable to connect to the agent at `{}` (is it running?)", socket.display()))?;
    let answer = timeout(TIMEOUT, ask_over(stream, path)).await;
    answer.with_context(|| format!("no answer from the agent after {TIMEOUT:?}"))?
}

async fn ask_over<T: DeserializeOwned>(stream: UnixStream, path: &'static str) -> anyhow::Result<T> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header(HOST, "localhost").body(Empty::<Bytes>::new())?;
    let question = async {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            bail!("the agent answered {}", response.status());
        }
        let body = response.into_body().collect().await?.to_bytes();
        serde_json::from_slice(&body).context("the agent's answer is malformed")
    };
    tokio::pin!(connection);
    tokio::select! {
        answer = question => answer,
        ended = connection => {
            ended.context("connection to the agent broke")?;
            bail!("the agent closed the connection")
        }
    }
}
