//! The client: requests under way, and what became of each.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use meshbed_events::ErrorKind;
use meshbed_node::http::Response;
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{connect, datagram, keepalive};
use crate::{
    clock::monotonic_ns,
    report::{Answer, Line, Reporter, Seen},
};

/// What every request of this probe has in common.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) target: SocketAddr,
    pub(super) host: String,
    pub(super) path: String,
}

/// How requests travel.
#[derive(Debug)]
pub(super) enum Transport {
    Connect,
    Keepalive(keepalive::Line),
    Datagram,
}

/// The client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) question: Question,
    pub(super) transport: Transport,
    pub(super) timeout: Duration,
    pub(super) in_flight: Arc<Semaphore>,
}

impl Client {
    /// Begins request number `sequence`. When too many are under way it counts as timed out at once.
    pub(super) fn start(self: &Arc<Self>, sequence: u64, requests: &mut JoinSet<()>, reporter: &Reporter) {
        let sender = reporter.sender();
        let Ok(permit) = Arc::clone(&self.in_flight).try_acquire_owned() else {
            let now = monotonic_ns();
            sender.send(Line::failed(sequence, now, now, ErrorKind::TimedOut, Seen::default()));
            return;
        };
        let client = Arc::clone(self);
        requests.spawn(async move {
            let sent_ns = monotonic_ns();
            let deadline = Instant::now() + client.timeout;
            let mut seen = Seen::default();
            let (outcome, stream) = match timeout_at(deadline, client.ask(sequence, &mut seen)).await {
                Ok(Ok((answer, stream))) => (Ok(answer), stream),
                Ok(Err(kind)) => (Err(kind), None),
                Err(_elapsed) => (Err(ErrorKind::TimedOut), None),
            };
            let done_ns = monotonic_ns();
            sender.send(match outcome {
                Ok(answer) => Line::answered(sequence, sent_ns, done_ns, answer, seen),
                Err(kind) => Line::failed(sequence, sent_ns, done_ns, kind, seen),
            });
            // No longer under way for the client, whatever the server does with the connection.
            drop(permit);
            if let Some(stream) = stream {
                // A task of its own: the request is finished, and nobody waits for this when the probe ends.
                tokio::spawn(connect::wait_for_close(stream));
            }
        });
    }

    /// One request. Also returns a connection that is to be closed by the server.
    pub(super) async fn ask(&self, sequence: u64, seen: &mut Seen) -> Result<(Answer, Option<TcpStream>), ErrorKind> {
        match &self.transport {
            Transport::Connect => {
                connect::ask(&self.question, seen).await.map(|(answer, stream)| (answer, Some(stream)))
            }
            Transport::Keepalive(line) => line.ask(&self.question, seen).await.map(|answer| (answer, None)),
            Transport::Datagram => datagram::ask(&self.question, sequence, seen).await.map(|answer| (answer, None)),
        }
    }
}

/// Who answered, in its own words; an answer that does not say so is no answer.
pub(super) fn answer_of(response: &Response) -> Result<Answer, ErrorKind> {
    let header = |name| response.header(name).map(str::to_owned).ok_or(ErrorKind::Malformed);
    Ok(Answer {
        status: response.status,
        cluster: header("x-meshbed-cluster")?,
        pod: header("x-meshbed-pod")?,
        ip: header("x-meshbed-pod-ip")?,
    })
}
