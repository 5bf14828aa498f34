//! `probe`: an open loop of requests, and one line of JSON for what became of each one.

mod client;
mod connect;
mod datagram;
mod failure;
mod keepalive;

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use nix::sys::resource;
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use self::client::{Client, Question, Transport};
use crate::{report::Reporter, schedule::Schedule, signals::Termination};

/// Requests that may be under way at once. At 400 a second and a time-out of one second, 400 are when nobody answers;
/// one more than this counts as timed out at once, since the client can hold no more.
const IN_FLIGHT_MAX: usize = 4096;
/// Descriptors that the process needs beside one a request.
const DESCRIPTORS_OTHER: u64 = 64;
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
    /// How requests travel.
    #[arg(long, value_enum, default_value = "connect")]
    mode: Mode,
    /// Requests a second.
    #[arg(long, default_value = "200")]
    rate: NonZeroU32,
    /// Time for one request, from when it is due to the end of the answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    timeout_ms: u32,
}

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// Each on a TCP connection of its own.
    Connect,
    /// All on one TCP connection, one after the other; it is opened again when it has ended.
    Keepalive,
    /// Each a datagram, and so its answer.
    Udp,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let mut termination = Termination::watch()?;
    let in_flight_max = raise_descriptor_limit()?;
    let mut reporter = Reporter::start();
    let client = Arc::new(Client {
        question: Question {
            target: options.target,
            host: options.host.unwrap_or_else(|| options.target.to_string()),
            path: options.path,
        },
        transport: match options.mode {
            Mode::Connect => Transport::Connect,
            Mode::Keepalive => Transport::Keepalive(keepalive::Line::default()),
            Mode::Udp => Transport::Datagram,
        },
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

/// Asks for as many descriptors as the system lets us have, and returns how many requests fit into them.
fn raise_descriptor_limit() -> anyhow::Result<usize> {
    let (_, hard) = resource::getrlimit(resource::Resource::RLIMIT_NOFILE)?;
    resource::setrlimit(resource::Resource::RLIMIT_NOFILE, hard, hard)?;
    // Answered connections that wait for the server to close count here, not among the requests under way: hence half.
    let fitting = usize::try_from(hard.saturating_sub(DESCRIPTORS_OTHER) / 2).unwrap_or(usize::MAX);
    Ok(fitting.clamp(1, IN_FLIGHT_MAX))
}

#[cfg(test)]
mod tests;
