//! Things that are done once, by one's hands.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use meshbed_driver::Control;
use meshbed_node::PodState;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Backend, Question, backends, pods};
use crate::fault::FaultError;

/// How long a process may take to end after SIGKILL, in seconds. The kernel needs microseconds; a machine under load more.
const WITNESS_WAIT_MAX_S: u32 = 5;
/// How long a stopped process may take until all its threads are.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Time between two looks at its threads; nothing tells about them.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Port on which nobody listens: being refused is the proof that a packet arrived, and an answer to it, too.
const DISCARD: u16 = 9;
/// How long one attempt to reach somebody may take. Longer than any round trip between clusters, shorter than TCP's first
/// retransmission.
const ATTEMPT_MAX: Duration = Duration::from_millis(500);
/// How long all attempts together may take: a bridge port, neighbours and routes come back within a second or two.
const REACH_MAX: Duration = Duration::from_secs(10);
/// Port of etcd, where somebody listens: the time that a connection takes is the witness of a delay.
const ETCD: u16 = 2379;
/// How long a connection may take that proves a delay.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Packets of one burst.
const BURST: usize = 20;
/// Headers of IPv4 and UDP.
const HEADERS: usize = 28;

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Errand {
    /// The pods on nodes, by the nodes' names and their kubelets' state folders: [`PodOn`](super::PodOn)s.
    Pods(Vec<(String, PathBuf)>),
    /// Kill every process of these pods and see each end: their numbers, in words.
    Kill(Vec<PodState>),
    /// Stop processes, or let them go on.
    Stop(Vec<i32>, Stopped),
    /// Whether all processes of a pod exist, for each of these: a list of `bool`.
    Alive(Vec<PodState>),
    /// Run a command in a pod: [`Output`].
    Exec(Box<PodState>, Vec<String>, Duration),
    /// Wait until packets from a network namespace reach an address and are answered: how long that took.
    Reach(PathBuf, Ipv4Addr),
    /// Send packets from a network namespace.
    Send(PathBuf, Packets),
    /// A file, if it is there.
    Read(PathBuf),
    /// An entry of the backends map that is pinned there, with this address or the first one: [`Backend`], if there is one.
    FindBackend(PathBuf, Option<String>),
    /// Write an entry there: the [`Backend`] that is there then.
    WriteBackend(PathBuf, Backend),
}

/// Whether processes are stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stopped {
    /// SIGSTOP; every thread was seen in state `T`.
    Yes,
    /// SIGCONT.
    No,
}

/// Packets that prove what a link does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Packets {
    /// Datagrams to an address where nobody listens, of so many bytes, headers included: how many were sent.
    Burst(Ipv4Addr, usize),
    /// A connection to the etcd at an address: how long it took.
    Connection(Ipv4Addr),
}

/// How a command in a pod ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Output {
    /// In words; none when it ended with 0.
    pub(crate) failure: Option<String>,
    /// What it printed, on both streams.
    pub(crate) text: String,
}

/// What came of an errand on another machine. What is not one of these did not work at all.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Came {
    /// Its result.
    Value(Value),
    /// There was nothing to do it to.
    NoTarget(String),
    /// It was done and did not show.
    NoWitness(String),
}

/// Has `errand` done where `cluster` is.
pub(crate) async fn run<T: DeserializeOwned>(
    control: &Control,
    cluster: &str,
    errand: Errand,
) -> Result<T, FaultError> {
    let value = match control.outpost_of(cluster) {
        None => errand.perform().await?,
        Some(outpost) => {
            let what = format!("have something done on the machine of {cluster}");
            match outpost.ask(&Question::Errand(errand)).await.map_err(FaultError::failed(what))? {
                Came::Value(value) => value,
                Came::NoTarget(what) => return Err(FaultError::NoTarget { what }),
                Came::NoWitness(what) => return Err(FaultError::NoWitness { what }),
            }
        }
    };
    serde_json::from_value(value).map_err(FaultError::failed("understand what came of it"))
}

impl Errand {
    /// Does it here.
    pub(super) async fn perform(self) -> Result<Value, FaultError> {
        Ok(match self {
            Self::Pods(nodes) => json(pods::here(&nodes)),
            Self::Kill(pods) => json(kill(open(&pods)?).await?),
            Self::Stop(pids, stopped) => json(stop(&pids, stopped).await?),
            Self::Alive(pods) => json(pods.iter().map(is_alive).collect::<Vec<_>>()),
            Self::Exec(pod, command, timeout) => json(exec(&pod, &command, timeout).await?),
            Self::Reach(from, to) => json(reach(from, to).await?),
            Self::Send(from, packets) => json(send(from, packets).await?),
            Self::Read(path) => json(tokio::fs::read_to_string(path).await.ok()),
            Self::FindBackend(map, wanted) => json(backends::find(&map, wanted.as_deref())?),
            Self::WriteBackend(map, backend) => json(backends::write(&map, &backend)?),
        })
    }
}

/// Results are plain data: they have no form that JSON lacks.
fn json(result: impl Serialize) -> Value {
    serde_json::to_value(result).unwrap_or_default()
}

/// A process that will be killed.
struct Victim {
    pod: String,
    pid: Pid,
    pidfd: OwnedFd,
}

/// Kills them all, then waits until the kernel says that each is gone. Returns their numbers, for the witness.
async fn kill(victims: Vec<Victim>) -> Result<String, FaultError> {
    for victim in &victims {
        let failed = FaultError::failed(format!("kill process {} of pod `{}`", victim.number(), victim.pod));
        pidfd_send_signal(&victim.pidfd, Signal::KILL).map_err(io::Error::from).map_err(failed)?;
    }
    let mut gone = Vec::with_capacity(victims.len());
    for victim in victims {
        gone.push(victim.number().to_string());
        victim.ended().await?;
    }
    Ok(gone.join(", "))
}

/// Opens a pidfd of every process first, so that none can be mistaken for a later one with the same number.
fn open(pods: &[PodState]) -> Result<Vec<Victim>, FaultError> {
    let mut victims = Vec::new();
    for pod in pods {
        for container in &pod.containers {
            let failed = || FaultError::failed(format!("find process {} of pod `{}`", container.pid, pod.name));
            let none = || io::Error::from(rustix::io::Errno::SRCH);
            let pid = Pid::from_raw(container.pid).ok_or_else(none).map_err(failed())?;
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from).map_err(failed())?;
            victims.push(Victim { pod: pod.name.clone(), pid, pidfd });
        }
    }
    Ok(victims)
}

impl Victim {
    fn number(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits for the witness. A pidfd has no other notification than `poll`, so this sits on a blocking thread.
    async fn ended(self) -> Result<(), FaultError> {
        let what = format!(
            "process {} of pod `{}` was still there {WITNESS_WAIT_MAX_S} s after SIGKILL",
            self.number(),
            self.pod
        );
        let pidfd = self.pidfd;
        let waited = tokio::task::spawn_blocking(move || {
            let timeout = Timespec { tv_sec: WITNESS_WAIT_MAX_S.into(), tv_nsec: 0 };
            poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout))
        });
        match waited.await {
            Ok(Ok(1..)) => Ok(()),
            _ => Err(FaultError::NoWitness { what }),
        }
    }
}

async fn stop(pids: &[i32], wanted: Stopped) -> Result<(), FaultError> {
    let number = if wanted == Stopped::Yes { Signal::STOP } else { Signal::CONT };
    for raw in pids {
        let failed = FaultError::failed(format!("signal process {raw}"));
        let pid = Pid::from_raw(*raw).ok_or_else(|| io::Error::from(rustix::io::Errno::SRCH));
        pid.and_then(|pid| kill_process(pid, number).map_err(io::Error::from)).map_err(failed)?;
    }
    if wanted == Stopped::Yes { all_stopped(pids).await } else { Ok(()) }
}

/// Waits for the witness: every thread of the processes is in state `T`.
async fn all_stopped(pids: &[i32]) -> Result<(), FaultError> {
    let deadline = tokio::time::Instant::now() + STOP_MAX;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    while let Some(pid) = pids.iter().find(|pid| !is_stopped(**pid)) {
        if tokio::time::Instant::now() >= deadline {
            return Err(FaultError::NoWitness { what: format!("process {pid} did not stop within {STOP_MAX:?}") });
        }
        ticks.tick().await;
    }
    Ok(())
}

fn is_stopped(pid: i32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The name before it is in parentheses and may contain anything.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    })
}

fn is_alive(pod: &PodState) -> bool {
    pod.containers.iter().all(|container| Path::new(&format!("/proc/{}", container.pid)).exists())
}

async fn exec(pod: &PodState, words: &[String], limit: Duration) -> Result<Output, FaultError> {
    let what = || format!("run `{}` in pod `{}`", words.join(" "), pod.name);
    let Some((program, arguments)) = words.split_first() else {
        return Ok(Output { failure: None, text: String::new() });
    };
    let mut command = meshbed_node::exec::command_in_pod(pod, Path::new(program));
    command.args(arguments).stdin(Stdio::null());
    let running = tokio::process::Command::from(command).kill_on_drop(true).output();
    let ended = tokio::time::timeout(limit, running).await;
    let output = ended.map_err(FaultError::failed(what()))?.map_err(FaultError::failed(what()))?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let failure = (!output.status.success()).then(|| output.status.to_string());
    Ok(Output { failure, text })
}

async fn reach(from: PathBuf, to: Ipv4Addr) -> Result<Duration, FaultError> {
    let address = SocketAddr::from((to, DISCARD));
    let failed = FaultError::failed(format!("reach {to} from `{}`", from.display()));
    let attempt = move || {
        let start = Instant::now();
        while start.elapsed() < REACH_MAX {
            let tried = TcpStream::connect_timeout(&address, ATTEMPT_MAX);
            if tried.is_ok() || tried.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                return Ok(start.elapsed());
            }
        }
        Err(io::Error::from(io::ErrorKind::TimedOut))
    };
    in_netns(from, attempt).await.map_err(failed)
}

async fn send(from: PathBuf, packets: Packets) -> Result<Value, FaultError> {
    match packets {
        Packets::Burst(to, size) => {
            let sent = in_netns(from, move || burst(to, size)).await;
            sent.map(json).map_err(FaultError::failed("send packets of a witness"))
        }
        Packets::Connection(to) => {
            let connect = move || {
                let start = Instant::now();
                TcpStream::connect_timeout(&SocketAddr::V4(SocketAddrV4::new(to, ETCD)), CONNECT_MAX)?;
                Ok(start.elapsed())
            };
            in_netns(from, connect).await.map(json).map_err(FaultError::failed("make the connection of a witness"))
        }
    }
}

/// Datagrams that forbid fragmentation.
fn burst(to: Ipv4Addr, size: usize) -> io::Result<usize> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
    let payload = vec![0_u8; size.saturating_sub(HEADERS).max(1)];
    for _ in 0..BURST {
        socket.send_to(&payload, (to, DISCARD))?;
    }
    Ok(BURST)
}

async fn in_netns<T: Send + 'static>(
    netns: PathBuf,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, meshbed_driver::SystemError> {
    let work = tokio::task::spawn_blocking(move || meshbed_driver::in_netns(&netns, work));
    work.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

#[cfg(test)]
mod tests {
    use super::{Errand, Stopped};

    #[tokio::test]
    async fn what_is_not_there_is_no_file_and_no_process() {
        let value = Errand::Read("/nonexistent".into()).perform().await.expect("an answer");
        assert_eq!(value, serde_json::Value::Null);
        // Numbers of processes end at 2^22 (`PID_MAX_LIMIT`).
        assert!(Errand::Stop(vec![i32::MAX], Stopped::No).perform().await.is_err());
    }
}
