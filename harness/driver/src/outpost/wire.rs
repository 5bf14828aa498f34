//! What goes over a connection with an outpost: lines of JSON, and behind them, for a relay, bytes as they come.

use std::{io, net::SocketAddrV4, time::Duration};

use nix::sys::socket::{setsockopt, sockopt};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

use crate::error::{Act, SystemError};

/// Bytes of a line at most: the maps of a node with some ten thousand backends have a tenth of it.
const LINE_MAX: u64 = 256 << 20;
/// How long connecting may take: the outpost is one hop away and does nothing but listen.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After how long without a sign of life the other machine is gone. A guest that ends says nothing: there is no cable any more.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long a connection may be silent until it is asked whether it still is one, and the time between two such questions.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// The half of a connection that is read.
pub type Reader = BufReader<OwnedReadHalf>;
/// The half of a connection that is written.
pub type Writer = OwnedWriteHalf;

/// Connects to an outpost.
pub(super) async fn connect(address: SocketAddrV4) -> Result<(Reader, Writer), SystemError> {
    let act = || format!("connect to the outpost at {address}");
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await.map_err(io::Error::from);
    split(stream.and_then(|stream| stream).act(act)?).act(act)
}

/// Both halves of a connection.
pub(super) fn split(stream: TcpStream) -> io::Result<(Reader, Writer)> {
    // Most of what is sent is one line that somebody waits for.
    stream.set_nodelay(true)?;
    setsockopt(&stream, sockopt::TcpUserTimeout, &u32::try_from(SILENCE_MAX.as_millis()).unwrap_or(u32::MAX))?;
    let seconds = u32::try_from(ASK_EVERY.as_secs()).unwrap_or(u32::MAX);
    setsockopt(&stream, sockopt::TcpKeepIdle, &seconds)?;
    setsockopt(&stream, sockopt::TcpKeepInterval, &seconds)?;
    setsockopt(&stream, sockopt::KeepAlive, &true)?;
    let (reader, writer) = stream.into_split();
    Ok((BufReader::new(reader), writer))
}

/// Writes a value as a line.
///
/// # Errors
///
/// When the other side is gone.
pub async fn send(to: &mut (impl AsyncWrite + Unpin), value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.write_all(&line).await
}

/// Reads the next line; `None` at the end of the connection.
///
/// # Errors
///
/// When the line is cut off, is none of these values, or the connection broke.
pub async fn receive<T: DeserializeOwned>(from: &mut Reader) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    from.take(LINE_MAX).read_until(b'\n', &mut line).await?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(serde_json::from_slice(&line)?)),
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
