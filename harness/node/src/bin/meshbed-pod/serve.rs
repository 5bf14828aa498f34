//! Serving HTTP until told to end, and ending without cutting anybody off.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{datagrams, identity, readiness::Readiness, signals::Termination};

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

/// Where and how a server serves.
#[derive(Debug, clap::Args)]
pub(crate) struct Serving {
    /// Address and port; may be repeated.
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:80")]
    listen: Vec<SocketAddr>,
    /// Also answer datagrams at this port; may be repeated.
    #[arg(long, value_name = "PORT")]
    udp: Vec<u16>,
    /// How long to go on serving after SIGTERM, in milliseconds.
    #[arg(long, value_name = "MS", env = "MESHBED_LINGER_MS", default_value_t = 0)]
    linger_ms: u64,
    /// Tell checks that we are ready only while this file exists.
    #[arg(long, value_name = "FILE", env = "MESHBED_READY_FILE")]
    ready_file: Option<PathBuf>,
}

impl Serving {
    /// Serves `answer` until SIGTERM or SIGINT, and as long after that as the server is to linger. Then the connections
    /// that the kernel has already accepted are still answered, no new ones are taken, and the function returns when the
    /// last one is closed.
    pub(crate) async fn until_terminated<F>(self, answer: F) -> anyhow::Result<()>
    where
        F: Fn(&Request<Incoming>) -> Answer + Clone + Send + Sync + 'static,
    {
        // Watched before listening: who sees us answer may end us at once.
        let mut termination = Termination::watch()?;
        let readiness = Readiness::new(self.ready_file);
        let answer = move |request: &Request<Incoming>| {
            let about_readiness = readiness.answer(request.method(), request.uri(), request.headers());
            about_readiness.unwrap_or_else(|| answer(request))
        };
        let connections = Connections { ending: CancellationToken::new(), tasks: TaskTracker::new(), answer };
        let stop = CancellationToken::new();
        let mut servers = JoinSet::new();
        for address in self.listen {
            let listener = listen_at(address).with_context(|| format!("failed to listen at {address}"))?;
            servers.spawn(accept(listener, connections.clone(), stop.clone()));
        }
        for port in self.udp {
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            let datagrams = datagrams::answer_all(address, identity::headers());
            let stop = stop.clone();
            servers.spawn(async move {
                tokio::select! {
                    ended = datagrams => ended.map(drop).with_context(|| format!("failed to serve datagrams at {address}")),
                    () = stop.cancelled() => Ok(()),
                }
            });
        }
        tokio::select! {
            () = termination.received() => {}
            // None of them ends by itself, unless it could not begin.
            Some(ended) = servers.join_next() => return ended?,
        }
        sleep_until(Instant::now() + Duration::from_millis(self.linger_ms)).await;
        stop.cancel();
        while let Some(ended) = servers.join_next().await {
            ended??;
        }
        connections.ending.cancel();
        connections.tasks.close();
        connections.tasks.wait().await;
        Ok(())
    }
}

/// Takes connections until told to stop, and then those that the kernel has already accepted.
async fn accept<F>(listener: TcpListener, connections: Connections<F>, stop: CancellationToken) -> anyhow::Result<()>
where
    F: Fn(&Request<Incoming>) -> Answer + Clone + Send + 'static,
{
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.serve(stream),
                Err(error) if is_short_of_descriptors(&error) => sleep_until(Instant::now() + ACCEPT_PAUSE).await,
                // The connection is gone before it was ours (accept(2)); the next one is another matter.
                Err(_) => {}
            },
            () = stop.cancelled() => break,
        }
    }
    let listener = listener.into_std()?;
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        connections.serve(TcpStream::from_std(stream)?);
    }
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
#[derive(Clone)]
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
