//! All requests on one TCP connection, one after the other. It is opened again when it has ended.

use std::{io, net::SocketAddr};

use meshbed_events::ErrorKind;
use meshbed_node::http::{Afterwards, Get, Response, receive};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::{Mutex, MutexGuard},
};

use super::{
    client::{Question, answer_of},
    connect,
    failure::{kind_of, kind_of_get},
};
use crate::{
    clock::monotonic_ns,
    report::{Answer, Seen},
};

/// The one connection. Requests wait for it in turn.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// None while a request has it, and after one that failed or was given up: the next one opens another.
    connection: Mutex<Option<Connection>>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    opened_ns: u64,
    ends: (Option<SocketAddr>, Option<SocketAddr>),
}

/// What happened to a request that was sent on a connection that was there already.
enum Sent {
    Answered(Response, Connection),
    /// The other end closed it before it said anything, most likely before it had seen the request.
    Closed,
}

impl Line {
    /// Asks when it is its turn. A request that meets a connection which is just being closed is sent once more on a new
    /// one, as HTTP clients do (RFC 9112, section 9.3.1), and the report says so.
    pub(super) async fn ask(&self, question: &Question, seen: &mut Seen) -> Result<Answer, ErrorKind> {
        let mut turn = self.connection.lock().await;
        if let Some(mut connection) = turn.take()
            && connection.is_open()
        {
            seen.reused(connection.opened_ns, connection.ends);
            match connection.ask_again(question).await? {
                Sent::Answered(response, connection) => return finish(turn, &response, connection),
                Sent::Closed => seen.retried(),
            }
        }
        let opened_ns = monotonic_ns();
        let mut stream = connect::open(question.target, seen).await.map_err(|error| kind_of(&error))?;
        let ends = seen.both_ends();
        let response = get(question).send(&mut stream).await.map_err(|error| kind_of_get(&error))?;
        finish(turn, &response, Connection { stream, opened_ns, ends })
    }
}

fn get(question: &Question) -> Get<'_> {
    Get { host: &question.host, path: &question.path, headers: &[], afterwards: Afterwards::Keep }
}

fn finish(
    mut turn: MutexGuard<'_, Option<Connection>>,
    response: &Response,
    connection: Connection,
) -> Result<Answer, ErrorKind> {
    if !response.closes() {
        *turn = Some(connection);
    }
    answer_of(response)
}

impl Connection {
    /// Whether nothing was heard of its end, nor anything else that nobody asked for.
    fn is_open(&mut self) -> bool {
        matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    async fn ask_again(mut self, question: &Question) -> Result<Sent, ErrorKind> {
        let head = get(question).head();
        let begun = async {
            self.stream.write_all(head.as_bytes()).await?;
            self.stream.peek(&mut [0]).await
        };
        match begun.await {
            Ok(0) => return Ok(Sent::Closed),
            Err(error) if kind_of(&error) == ErrorKind::Reset => return Ok(Sent::Closed),
            Err(error) => return Err(kind_of(&error)),
            Ok(_) => {}
        }
        let response = receive(&mut self.stream).await.map_err(|error| kind_of_get(&error))?;
        Ok(Sent::Answered(response, self))
    }
}
