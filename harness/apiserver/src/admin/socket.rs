//! The server's side of the admin socket.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::protocol::{LINE_MAX, Reply, Request};
use crate::cluster::Cluster;
use crate::misbehaviour::{Misbehaviour, RuleError};

/// Connections at a time: an engine needs one, a person with a shell another.
const CONNECTIONS_MAX: usize = 32;

/// What requests act on.
#[derive(Clone)]
pub(crate) struct Subject {
    /// The cluster behind the API.
    pub(crate) cluster: Arc<Cluster>,
    /// How the API misbehaves.
    pub(crate) misbehaviour: Arc<Misbehaviour>,
}

/// Takes the socket, also from a server that was killed and left its file behind. A file of another sort is left alone.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        _ => {}
    }
    UnixListener::bind(path)
}

/// Serves the socket until the server closes.
pub(crate) async fn serve(listener: UnixListener, subject: Subject, closing: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let has_room = connections.len() < CONNECTIONS_MAX;
        tokio::select! {
            () = closing.cancelled() => return,
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, _)) => { connections.spawn(converse(stream, subject.clone())); }
                Err(error) => tracing::warn!(%error, "cannot accept on the admin socket"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: UnixStream, subject: Subject) {
    if let Err(error) = answer_lines(stream, &subject).await {
        tracing::debug!(%error, "admin connection ended");
    }
}

async fn answer_lines(stream: UnixStream, subject: &Subject) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut reader).take(LINE_MAX as u64).read_until(b'\n', &mut line).await?;
        let complete = line.last() == Some(&b'\n');
        if line.is_empty() {
            return Ok(());
        }
        let reply = match complete {
            true => answer(&line, subject),
            false => Reply::Refused { problem: format!("a line has {LINE_MAX} bytes at most and ends in a line feed") },
        };
        let mut text = serde_json::to_vec(&reply).expect("a reply always serialises");
        text.push(b'\n');
        writer.write_all(&text).await?;
        if !complete {
            return Ok(());
        }
    }
}

fn answer(line: &[u8], Subject { cluster, misbehaviour }: &Subject) -> Reply {
    let request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => return Reply::Refused { problem: format!("no request: {error}") },
    };
    let done: Result<_, RuleError> = match request {
        Request::Add { rule } => misbehaviour.add(rule).map(|()| Vec::new()),
        Request::Remove { name } => misbehaviour.remove(&name).map(|report| vec![report]),
        Request::Clear => Ok(misbehaviour.clear()),
        Request::Report => Ok(misbehaviour.report()),
        Request::Compact => return Reply::Compacted { revision: cluster.write(|state| state.compact()) },
    };
    match done {
        Ok(reports) => Reply::Done { reports },
        Err(error) => Reply::Refused { problem: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_taken_and_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        drop(bind(&path).unwrap());
        assert!(path.exists(), "nobody removes the file of a server that was killed");
        bind(&path).unwrap();
        let file = directory.path().join("precious");
        std::fs::write(&file, "words").unwrap();
        assert!(bind(&file).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "words");
    }
}
