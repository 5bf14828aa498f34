//! Whether packets arrive, by packets of our own.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    time::{Duration, Instant},
};

use super::FaultError;

/// Port on which nobody listens: being refused is the proof that a packet arrived, and an answer to it, too.
const DISCARD: u16 = 9;
/// How long one attempt may take. Longer than any round trip between clusters, shorter than TCP's first retransmission.
const ATTEMPT_MAX: Duration = Duration::from_millis(500);
/// How long all attempts together may take: a bridge port, neighbours and routes come back within a second or two.
const REACH_MAX: Duration = Duration::from_secs(10);

/// Waits until packets from the namespace `from` reach `to` and answers come back. Returns how long that took.
pub(super) async fn reached(from: PathBuf, to: Ipv4Addr) -> Result<Duration, FaultError> {
    let address = SocketAddr::from((to, DISCARD));
    let attempt = move || {
        let start = Instant::now();
        while start.elapsed() < REACH_MAX {
            let tried = TcpStream::connect_timeout(&address, ATTEMPT_MAX);
            if tried.is_ok() || tried.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
                return Ok(start.elapsed());
            }
        }
        Err(std::io::Error::from(ErrorKind::TimedOut))
    };
    let failed = FaultError::failed(format!("reach {to} from `{}`", from.display()));
    tokio::task::spawn_blocking(move || meshbed_driver::in_netns(&from, attempt))
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
        .map_err(failed)
}
