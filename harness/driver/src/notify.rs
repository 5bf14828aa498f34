//! Readiness by sd_notify(3): a datagram socket for each process, named by `NOTIFY_SOCKET`.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::net::UnixDatagram;

use crate::error::{Act, SystemError};

/// The environment variable that names the socket.
pub(crate) const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// Longest message that is read. Real ones have some lines of some bytes; what is longer is cut, as systemd does.
const MESSAGE_MAX: usize = 4096;

/// Where one process reports to.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl NotifySocket {
    /// Binds the socket at `path`, replacing the one of an earlier start of the same process.
    pub(crate) fn bind(path: PathBuf) -> Result<Self, SystemError> {
        let act = || format!("bind notification socket `{}`", path.display());
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).act(act),
            _ => {}
        }
        let socket = UnixDatagram::bind(&path).act(act)?;
        Ok(Self { socket, path })
    }

    /// The value of `NOTIFY_SOCKET`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for `READY=1`.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        let mut buffer = [0; MESSAGE_MAX];
        loop {
            let length = self.socket.recv(&mut buffer).await?;
            if says_ready(&buffer[..length]) {
                return Ok(());
            }
        }
    }
}

fn says_ready(message: &[u8]) -> bool {
    message.split(|&byte| byte == b'\n').any(|line| line == b"READY=1")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::{NotifySocket, says_ready};

    #[test]
    fn other_words_are_not_ready() {
        assert!(says_ready(b"STATUS=up\nREADY=1\n"));
        assert!(says_ready(b"READY=1"));
        assert!(!says_ready(b"READY=10"));
        assert!(!says_ready(b"X_READY=1"));
    }

    #[tokio::test]
    async fn waits_for_ready() {
        let directory = tempfile::tempdir().unwrap();
        let socket = NotifySocket::bind(directory.path().join("socket")).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"STATUS=starting", socket.path()).unwrap();
        sender.send_to(b"READY=1", socket.path()).unwrap();
        socket.ready().await.unwrap();
    }

    #[tokio::test]
    async fn second_start_takes_the_socket_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let _first = NotifySocket::bind(path.clone()).unwrap();
        NotifySocket::bind(path).unwrap();
    }
}
