//! The control socket.

use std::{future::Future, io};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::Mutex,
    task::JoinSet,
};

use crate::{
    SetError,
    controller::Controller,
    protocol::{Request, Response},
};

/// Clients at the same time; more wait to be accepted.
const CLIENTS_MAX: usize = 16;
/// Longest request.
const REQUEST_MAX: u64 = 64 << 10;

/// Answers requests until `shutdown` ends.
pub(crate) async fn serve(listener: UnixListener, controller: Controller, shutdown: impl Future<Output = ()>) {
    let controller = std::sync::Arc::new(Mutex::new(controller));
    let mut clients = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            Some(_) = clients.join_next() => {}
            accepted = listener.accept(), if clients.len() < CLIENTS_MAX => match accepted {
                Ok((stream, _)) => {
                    let controller = std::sync::Arc::clone(&controller);
                    clients.spawn(async move {
                        if let Err(error) = converse(stream, &controller).await {
                            tracing::debug!(%error, "a client left in the middle");
                        }
                    });
                }
                Err(error) => tracing::warn!(%error, "a client could not be accepted"),
            },
        }
    }
}

async fn converse(stream: UnixStream, controller: &Mutex<Controller>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut stream).take(REQUEST_MAX).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Ok(());
        }
        let response = match serde_json::from_slice(&line) {
            Ok(request) => answer(request, &mut *controller.lock().await).await,
            Err(error) => Response::Refused(format!("no request: {error}")),
        };
        let mut bytes = serde_json::to_vec(&response)?;
        bytes.push(b'\n');
        stream.get_mut().write_all(&bytes).await?;
        if !line.ends_with(b"\n") {
            // The rest of a request that is too long is no request.
            return Ok(());
        }
    }
}

async fn answer(request: Request, controller: &mut Controller) -> Response {
    let result = match request {
        Request::Set { from, to, conditions } => {
            tracing::info!(%from, %to, %conditions, "set");
            controller.set(&from, &to, conditions).await.map(|()| Response::Done)
        }
        Request::Get => controller.directions().await.map(Response::Directions),
        Request::Reset => {
            tracing::info!("reset");
            controller.reset().await.map(|()| Response::Done)
        }
    };
    result.unwrap_or_else(|error| {
        tracing::warn!(error = chain(&error), "refused");
        Response::Refused(chain(&error))
    })
}

/// An error with its sources in one line.
fn chain(error: &SetError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
