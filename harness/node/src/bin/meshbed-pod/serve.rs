//! Serving HTTP until told to end, and ending without cutting anybody off.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::signals::Termination;

/// Connections that may wait to be accepted: above anything that probes open at once. Linux caps it at `somaxconn`.
const BACKLOG: u32 = 4096;
/// How long to wait when no descriptor is left for a new connection. Others end meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(5);
/// How long a client may take to send its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long, once we shall end, a client that has connected but not said anything may still send its request.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// A body that is in memory.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Serves `answer` at `listen` until SIGTERM or SIGINT. Then the connections that the kernel has already accepted are
/// still answered, no new ones are taken, and the function returns when the last one is closed.
pub(crate) async fn until_terminated<F>(listen: SocketAddr, answer: F) -> anyhow::Result<()>
where
    F: Fn(&Request<Incoming>) -> Answer + Clone + Send + 'static,
{
    // Watched before listening: who sees us answer may end us at once.
    let mut termination = Termination::watch()?;
    let listener = listen_at(listen)?;
    let connections = Connections { ending: CancellationToken::new(), tasks: TaskTracker::new(), answer };
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.serve(stream),
                Err(error) if is_short_of_descriptors(&error) => sleep_until(Instant::now() + ACCEPT_PAUSE).await,
                // The connection is gone before it was ours (accept(2)); the next one is another matter.
                Err(_) => {}
            },
            () = termination.received() => break,
        }
    }
    let listener = listener.into_std()?;
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        connections.serve(TcpStream::from_std(stream)?);
    }
    drop(listener);
    connections.ending.cancel();
    connections.tasks.close();
    connections.tasks.wait().await;
    Ok(())
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restarted container must not wait for its predecessor's connections in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The connections that are open, and how to answer on them.
struct Connections<F> {
    ending: CancellationToken,
    tasks: TaskTracker,
    answer: F,
}

impl<F> Connections<F>
where
    F: Fn(&Request<Incoming>) -> Answer + Clone + Send + 'static,
{
    fn serve(&self, stream: TcpStream) {
        if stream.set_nodelay(true).is_err() {
            return; // The peer has already reset the connection.
        }
        let (answer, ending, asked) = (self.answer.clone(), self.ending.clone(), Arc::new(Notify::new()));
        let asking = Arc::clone(&asked);
        let service = service_fn(move |request| {
            asking.notify_one();
            let response = answer(&request);
            async move { Ok::<_, Infallible>(response) }
        });
        self.tasks.spawn(async move {
            let mut connection = pin!(
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service)
            );
            tokio::select! {
                // Errors are the peer's doing (it went away, it spoke no HTTP) and end its connection only.
                _ended = connection.as_mut() => return,
                () = ending.cancelled() => {}
            }
            // hyper would close a connection on which nothing was read yet, though its request may be under way.
            tokio::select! {
                _ended = connection.as_mut() => return,
                () = asked.notified() => {}
                () = sleep_until(Instant::now() + FIRST_REQUEST) => {}
            }
            connection.as_mut().graceful_shutdown();
            let _ended = connection.await;
        });
    }
}

fn is_short_of_descriptors(error: &io::Error) -> bool {
    use nix::errno::Errno;
    [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}
