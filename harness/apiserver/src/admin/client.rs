//! The engine's side of the admin socket.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::protocol::{LINE_MAX, Reply, Request};
use super::rule::{Rule, RuleReport};

/// A request on an admin socket failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket cannot be used. The server may be gone; then its rules are gone as well.
    #[error("cannot use admin socket `{path}`")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What came back is no reply.
    #[error("admin socket `{path}` answered what is no reply")]
    Reply {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// The server refuses: the rule makes no sense, there are too many, or there is none of that name.
    #[error("admin socket `{path}` refused: {problem}")]
    Refused {
        /// The socket.
        path: PathBuf,
        /// The server's words.
        problem: String,
    },
}

/// A connection to the admin socket of one API server. Rules outlive it, but not the server.
///
/// A call that is dropped before it has returned leaves the connection in the middle of a reply: drop the client, too.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Client {
    /// Connects to the socket that [`crate::Options::admin_socket`] names.
    pub async fn connect(path: impl Into<PathBuf>) -> Result<Self, ClientError> {
        let path = path.into();
        match UnixStream::connect(&path).await {
            Ok(stream) => {
                let (reader, writer) = stream.into_split();
                Ok(Self { path, reader: BufReader::new(reader), writer })
            }
            Err(source) => Err(ClientError::Socket { path, source }),
        }
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a rule into force, in place of one of the same name. It is in force when this returns: open watches may
    /// still take a moment to be hit, which [`RuleReport::hits`] tells.
    pub async fn add(&mut self, rule: Rule) -> Result<(), ClientError> {
        self.ask(&Request::Add { rule }).await.map(drop)
    }

    /// Takes a rule out of force; returns what it has done.
    pub async fn remove(&mut self, name: &str) -> Result<Option<RuleReport>, ClientError> {
        Ok(self.ask(&Request::Remove { name: name.to_owned() }).await?.pop())
    }

    /// Takes all rules out of force; returns what they have done. Afterwards the server behaves as if none had been.
    pub async fn clear(&mut self) -> Result<Vec<RuleReport>, ClientError> {
        self.ask(&Request::Clear).await
    }

    /// What the rules in force have done, by name.
    pub async fn report(&mut self) -> Result<Vec<RuleReport>, ClientError> {
        self.ask(&Request::Report).await
    }

    /// Makes the server forget all changes until now, as a compaction of the etcd under kube-apiserver does; returns the
    /// newest revision. Watches that are open go on. Whoever wants to go on from an older revision is answered `410`.
    pub async fn compact(&mut self) -> Result<u64, ClientError> {
        match self.converse(&Request::Compact).await? {
            Reply::Compacted { revision } => Ok(revision),
            other => Err(self.misunderstood(&other)),
        }
    }

    async fn ask(&mut self, request: &Request) -> Result<Vec<RuleReport>, ClientError> {
        match self.converse(request).await? {
            Reply::Done { reports } => Ok(reports),
            other => Err(self.misunderstood(&other)),
        }
    }

    async fn converse(&mut self, request: &Request) -> Result<Reply, ClientError> {
        let path = self.path.clone();
        let line = self.exchange(request).await.map_err(|source| ClientError::Socket { path: path.clone(), source })?;
        match serde_json::from_slice(&line) {
            Ok(Reply::Refused { problem }) => Err(ClientError::Refused { path, problem }),
            Ok(reply) => Ok(reply),
            Err(source) => Err(ClientError::Reply { path, source }),
        }
    }

    fn misunderstood(&self, reply: &Reply) -> ClientError {
        let source = <serde_json::Error as serde::de::Error>::custom(format!("a reply to another request: {reply:?}"));
        ClientError::Reply { path: self.path.clone(), source }
    }

    async fn exchange(&mut self, request: &Request) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(request).expect("a request always serialises");
        line.push(b'\n');
        self.writer.write_all(&line).await?;
        let mut reply = Vec::new();
        (&mut self.reader).take(LINE_MAX as u64).read_until(b'\n', &mut reply).await?;
        match reply.last() {
            Some(b'\n') => Ok(reply),
            Some(_) if reply.len() >= LINE_MAX => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the reply is too long"))
            }
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
