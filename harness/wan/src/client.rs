//! Talking to the router of a run.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use mesh_types::ClusterName;
use meshbed_scenario::LinkConditions;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    sync::Mutex,
    time::timeout,
};

use crate::{
    ClientError, Direction,
    protocol::{LINE_MAX, Request, Response},
};

/// How long an answer may take: it takes milliseconds, on a machine under load or under plain emulation much more.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// A connection to the router of a run. Requests are answered one after another.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    /// `None` after a request that was given up in the middle: its answer may still come.
    stream: Mutex<Option<BufReader<UnixStream>>>,
}

impl Client {
    /// Connects to the socket `path` (see [`crate::socket_path`]).
    pub async fn connect(path: impl Into<PathBuf>) -> Result<Self, ClientError> {
        let path = path.into();
        let stream = Self::open(&path).await?;
        Ok(Self { path, stream: Mutex::new(Some(stream)) })
    }

    /// Replaces the conditions of the direction from `from` to `to`. When this returns, they are in force for every
    /// packet that is sent from now on; what came to the router before was treated by the old ones. The default
    /// conditions make the direction clear.
    pub async fn set(
        &self,
        from: &ClusterName,
        to: &ClusterName,
        conditions: &LinkConditions,
    ) -> Result<(), ClientError> {
        let request = Request::Set { from: from.clone(), to: to.clone(), conditions: conditions.clone() };
        self.done(&request).await
    }

    /// All directions that have conditions or have seen packets, with both, in the order of the clusters.
    pub async fn get(&self) -> Result<Vec<Direction>, ClientError> {
        match self.ask(&Request::Get).await? {
            Response::Directions(directions) => Ok(directions),
            other => Err(self.unexpected(&other)),
        }
    }

    /// The direction from `from` to `to`; clear, with nothing counted, when the router has never had to do with it.
    pub async fn direction(&self, from: &ClusterName, to: &ClusterName) -> Result<Direction, ClientError> {
        let found = self.get().await?.into_iter().find(|direction| (&direction.from, &direction.to) == (from, to));
        Ok(found.unwrap_or_else(|| Direction {
            from: from.clone(),
            to: to.clone(),
            conditions: LinkConditions::default(),
            counters: crate::Counters::default(),
        }))
    }

    /// Gives every direction the conditions that it had at the start: those of the topology.
    pub async fn reset(&self) -> Result<(), ClientError> {
        self.done(&Request::Reset).await
    }

    async fn done(&self, request: &Request) -> Result<(), ClientError> {
        match self.ask(request).await? {
            Response::Done => Ok(()),
            other => Err(self.unexpected(&other)),
        }
    }

    async fn ask(&self, request: &Request) -> Result<Response, ClientError> {
        let mut slot = self.stream.lock().await;
        let mut stream = match slot.take() {
            Some(stream) => stream,
            None => Self::open(&self.path).await?,
        };
        let answer = match timeout(ANSWER_DEADLINE, exchange(&mut stream, request)).await {
            Ok(answer) => answer.map_err(|source| ClientError::Talk { path: self.path.clone(), source })?,
            Err(_) => return Err(ClientError::Silent { path: self.path.clone(), deadline: ANSWER_DEADLINE }),
        };
        *slot = Some(stream);
        Ok(answer)
    }

    async fn open(path: &Path) -> Result<BufReader<UnixStream>, ClientError> {
        let stream = UnixStream::connect(path).await;
        stream.map(BufReader::new).map_err(|source| ClientError::Connect { path: path.to_owned(), source })
    }

    fn unexpected(&self, answer: &Response) -> ClientError {
        match answer {
            Response::Refused(why) => ClientError::Refused(why.clone()),
            other => {
                let source = io::Error::new(io::ErrorKind::InvalidData, format!("unexpected answer: {other:?}"));
                ClientError::Talk { path: self.path.clone(), source }
            }
        }
    }
}

async fn exchange(stream: &mut BufReader<UnixStream>, request: &Request) -> io::Result<Response> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.get_mut().write_all(&line).await?;
    line.clear();
    (&mut *stream).take(LINE_MAX as u64).read_until(b'\n', &mut line).await?;
    if !line.ends_with(b"\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}
