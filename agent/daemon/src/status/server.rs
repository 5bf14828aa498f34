//! HTTP over the agent's Unix socket.

use std::{convert::Infallible, fs, io::ErrorKind, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
};

use super::{HEALTH, IDENTITIES, NODES, Question, socket};

/// Questions that may wait for the agent; whoever asks more waits.
const QUESTIONS_WAITING_MAX: usize = 16;
/// Connections served at once; whoever comes later waits.
const CONNECTIONS_MAX: usize = 64;
/// Owner and group may ask.
const SOCKET_MODE: u32 = 0o660;

/// The running server. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct StatusServer(JoinHandle<()>);

impl StatusServer {
    /// Binds the socket in `state_dir`, which is made if need be. Questions come out of the receiver.
    pub(crate) fn start(state_dir: &Path) -> anyhow::Result<(Self, mpsc::Receiver<Question>)> {
        fs::create_dir_all(state_dir).with_context(|| format!("failed to make directory `{}`", state_dir.display()))?;
        let path = socket(state_dir);
        let context = || format!("failed to bind `{}`", path.display());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).with_context(context),
            // Whatever was there was left by an agent before us.
            _ => {}
        }
        let listener = UnixListener::bind(&path).with_context(context)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(SOCKET_MODE)).with_context(context)?;
        let (questions, receiver) = mpsc::channel(QUESTIONS_WAITING_MAX);
        Ok((Self(tokio::spawn(serve(listener, questions))), receiver))
    }
}

impl Drop for StatusServer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(listener: UnixListener, questions: mpsc::Sender<Question>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, questions.clone()));
                }
                Err(error) => tracing::warn!(%error, "failed to accept a connection on the status socket"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: UnixStream, questions: mpsc::Sender<Question>) {
    let service = service_fn(|request| answer(request, questions.clone()));
    if let Err(error) = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
    {
        tracing::debug!(%error, "connection on the status socket broke");
    }
}

async fn answer(
    request: Request<Incoming>,
    questions: mpsc::Sender<Question>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    if ![HEALTH, NODES, IDENTITIES].contains(&path) {
        return Ok(response(StatusCode::NOT_FOUND, Vec::new()));
    }
    if request.method() != Method::GET {
        return Ok(response(StatusCode::METHOD_NOT_ALLOWED, Vec::new()));
    }
    let body = match path {
        NODES => put(&questions, Question::Nodes).await,
        IDENTITIES => put(&questions, Question::Identities).await,
        _ => put(&questions, Question::Health).await,
    };
    Ok(match body {
        Some(body) => response(StatusCode::OK, body),
        None => response(StatusCode::SERVICE_UNAVAILABLE, Vec::new()),
    })
}

/// The answer to a question as JSON; `None` when the agent is ending.
async fn put<T: Serialize>(
    questions: &mpsc::Sender<Question>,
    question: impl FnOnce(oneshot::Sender<T>) -> Question,
) -> Option<Vec<u8>> {
    let (sender, receiver) = oneshot::channel();
    questions.send(question(sender)).await.ok()?;
    serde_json::to_vec(&receiver.await.ok()?).ok()
}

fn response(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::{super::client, *};
    use crate::status::{AgentStatus, Health, Identity};

    #[tokio::test]
    async fn a_question_gets_its_answer() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let state_dir = folder.path().join("state");
        let (_server, mut questions) = StatusServer::start(&state_dir).expect("bound");
        let expected = AgentStatus::new(Health::Failure("map is full".to_owned()), 3, Vec::new());
        let path = socket(&state_dir);
        let ask = client::ask::<AgentStatus>(&path, HEALTH);
        let reply = async {
            let Question::Health(reply) = questions.recv().await.expect("a question") else { panic!("another one") };
            reply.send(expected.clone()).expect("still waiting");
        };
        let (answer, ()) = tokio::join!(ask, reply);
        assert_eq!(answer.expect("an answer"), expected);

        let ask = client::ask::<Vec<Identity>>(&path, IDENTITIES);
        let expected = vec![Identity { id: 1, labels: vec!["reserved:host".to_owned()] }];
        let reply = async {
            let Question::Identities(reply) = questions.recv().await.expect("a question") else {
                panic!("another one")
            };
            reply.send(expected.clone()).expect("still waiting");
        };
        let (answer, ()) = tokio::join!(ask, reply);
        assert_eq!(answer.expect("an answer"), expected);

        let error = client::ask::<AgentStatus>(&path, "/v1/typo").await.expect_err("there is no such path");
        assert_eq!(error.to_string(), "the agent answered 404 Not Found");
        drop(questions);
        let error = client::ask::<AgentStatus>(&path, HEALTH).await.expect_err("nobody answers");
        assert_eq!(error.to_string(), "the agent answered 503 Service Unavailable");

        // A second agent takes over the socket that the first left behind.
        drop(StatusServer::start(&state_dir).expect("bound again"));
    }

    #[tokio::test]
    async fn without_an_agent_the_socket_is_named() {
        let error =
            client::ask::<AgentStatus>(Path::new("/no/such/mesh-agent.sock"), HEALTH).await.expect_err("nobody there");
        let text = format!("{error:#}");
        assert!(text.starts_with("unable to connect to the agent at `/no/such/mesh-agent.sock`"), "{text}");
    }
}
