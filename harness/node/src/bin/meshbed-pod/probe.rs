//! `probe`: an open loop of requests, each on a fresh connection, and one line of JSON for what became of each one.

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use meshbed_events::ErrorKind;
use nix::{errno::Errno, sys::resource};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use meshbed_node::http::{Get, GetError, Response};

use crate::{
    clock::monotonic_ns,
    report::{Answer, Line, Reporter},
    schedule::Schedule,
    signals::Termination,
};

/// Requests that may be under way at once. At 400 a second and a time-out of one second, 400 are when nobody answers;
/// one more than this counts as timed out at once, since the client can hold no more.
const IN_FLIGHT_MAX: usize = 4096;
/// Descriptors that the process needs beside one a request.
const DESCRIPTORS_OTHER: u64 = 64;
/// How long, at most, an answered connection is kept open for the server to close it first.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Address and port to connect to.
    #[arg(long, value_name = "IP:PORT")]
    target: SocketAddr,
    /// Value of the header `Host`. Default: the target.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Path to ask for.
    #[arg(long, default_value = "/")]
    path: String,
    /// Requests a second.
    #[arg(long, default_value = "200")]
    rate: NonZeroU32,
    /// Time for one request, from before `connect()` to the end of the answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    timeout_ms: u32,
}

/// What every request of this probe has in common.
#[derive(Debug)]
struct Client {
    target: SocketAddr,
    host: String,
    path: String,
    timeout: Duration,
    in_flight: Arc<Semaphore>,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let mut termination = Termination::watch()?;
    let in_flight_max = raise_descriptor_limit()?;
    let mut reporter = Reporter::start();
    let client = Arc::new(Client {
        target: options.target,
        host: options.host.unwrap_or_else(|| options.target.to_string()),
        path: options.path,
        timeout: Duration::from_millis(options.timeout_ms.into()),
        in_flight: Arc::new(Semaphore::new(in_flight_max)),
    });
    let mut schedule = Schedule::new(Instant::now(), options.rate.get());
    let mut requests = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = termination.received() => break,
            () = reporter.closed() => return Ok(()),
            Some(_) = requests.join_next() => {}
            sequence = schedule.due() => client.start(sequence, &mut requests, &reporter),
        }
    }
    while requests.join_next().await.is_some() {}
    reporter.finish();
    Ok(())
}

impl Client {
    fn start(self: &Arc<Self>, sequence: u64, requests: &mut JoinSet<()>, reporter: &Reporter) {
        let sender = reporter.sender();
        let Ok(permit) = Arc::clone(&self.in_flight).try_acquire_owned() else {
            let now = monotonic_ns();
            sender.send(Line::failed(sequence, now, now, ErrorKind::TimedOut));
            return;
        };
        let client = Arc::clone(self);
        requests.spawn(async move {
            let sent_ns = monotonic_ns();
            let deadline = Instant::now() + client.timeout;
            let (outcome, stream) = match timeout_at(deadline, client.ask()).await {
                Ok(Ok((answer, stream))) => (Ok(answer), Some(stream)),
                Ok(Err(kind)) => (Err(kind), None),
                Err(_elapsed) => (Err(ErrorKind::TimedOut), None),
            };
            let done_ns = monotonic_ns();
            sender.send(match outcome {
                Ok(answer) => Line::answered(sequence, sent_ns, done_ns, answer),
                Err(kind) => Line::failed(sequence, sent_ns, done_ns, kind),
            });
            // No longer under way for the client, whatever the server does with the connection.
            drop(permit);
            if let Some(stream) = stream {
                // A task of its own: the request is finished, and nobody waits for this when the probe ends.
                tokio::spawn(wait_for_close(stream));
            }
        });
    }

    async fn ask(&self) -> Result<(Answer, TcpStream), ErrorKind> {
        let connection = |error: std::io::Error| kind_of(&error);
        let socket =
            if self.target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(connection)?;
        socket.set_nodelay(true).map_err(connection)?;
        let mut stream = socket.connect(self.target).await.map_err(connection)?;
        let get = Get { host: &self.host, path: &self.path, headers: &[] };
        let response = get.send(&mut stream).await.map_err(|error| match error {
            GetError::Connection(error) => kind_of(&error),
            GetError::Cut => ErrorKind::Reset,
            GetError::Malformed(_) => ErrorKind::Malformed,
        })?;
        Ok((answer_of(&response).ok_or(ErrorKind::Malformed)?, stream))
    }
}

/// Who answered, in its own words; none when it did not say.
fn answer_of(response: &Response) -> Option<Answer> {
    let header = |name| response.header(name).map(str::to_owned);
    Some(Answer {
        status: response.status,
        cluster: header("x-meshbed-cluster")?,
        pod: header("x-meshbed-pod")?,
        ip: header("x-meshbed-pod-ip")?,
    })
}

/// Lets the server close first: TIME_WAIT then takes up a place there, not one of the client's ports, of which
/// there would soon be none left at hundreds of connections a second.
async fn wait_for_close(stream: TcpStream) {
    let mut byte = [0];
    let closed = async {
        loop {
            if stream.readable().await.is_err() {
                return;
            }
            match stream.try_read(&mut byte) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    };
    // A server that keeps it open loses it.
    let _elapsed = tokio::time::timeout(CLOSE_WAIT, closed).await;
}

/// The word for an error of the socket.
fn kind_of(error: &std::io::Error) -> ErrorKind {
    let Some(errno) = error.raw_os_error().map(Errno::from_raw) else {
        return if error.kind() == std::io::ErrorKind::UnexpectedEof { ErrorKind::Reset } else { ErrorKind::Other };
    };
    match errno {
        Errno::ECONNREFUSED => ErrorKind::Refused,
        Errno::EHOSTUNREACH | Errno::ENETUNREACH => ErrorKind::Unreachable,
        Errno::EPERM => ErrorKind::NotPermitted,
        Errno::ECONNRESET | Errno::EPIPE => ErrorKind::Reset,
        Errno::ETIMEDOUT => ErrorKind::TimedOut,
        _ => ErrorKind::Other,
    }
}

/// Asks for as many descriptors as the system lets us have, and returns how many requests fit into them.
fn raise_descriptor_limit() -> anyhow::Result<usize> {
    let (_, hard) = resource::getrlimit(resource::Resource::RLIMIT_NOFILE)?;
    resource::setrlimit(resource::Resource::RLIMIT_NOFILE, hard, hard)?;
    // Answered connections that wait for the server to close count here, not among the requests under way: hence half.
    let fitting = usize::try_from(hard.saturating_sub(DESCRIPTORS_OTHER) / 2).unwrap_or(usize::MAX);
    Ok(fitting.clamp(1, IN_FLIGHT_MAX))
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
