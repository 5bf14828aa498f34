//! Clusters at an outpost, as the machine that leads brings them up and has them.
//!
//! Here each of them has a *shadow*, so that whoever asks its Kubernetes API, its etcd or its API server's admin socket does that as
//! if the cluster were here: the same files and addresses, and a relay behind each. All else needs the outpost itself.

use std::{
    io,
    net::SocketAddrV4,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, UnixListener},
    sync::{Mutex, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::{
    Outpost,
    request::{Call, Part, RelayTarget, Request, Tell, Told},
    wire::{Reader, Writer, receive, send},
};
use crate::{
    ExitedProcess, LogEnd, Rejection, RunState,
    error::{Act, SystemError},
    layout::ETCD_PORT,
    namespace::in_netns,
    process::ExitSender,
    state::ClusterState,
};

/// How long an outpost may take to take its clusters down; ours take some tens of milliseconds.
const DOWN_MAX: Duration = Duration::from_secs(120);

/// What came of bringing clusters up at an outpost.
#[derive(Debug)]
pub(crate) enum NotUp {
    /// The connection.
    System(SystemError),
    /// The outpost itself.
    Failed {
        /// Why, with all causes.
        why: String,
        /// The program that the kernel there did not take.
        rejection: Option<(String, Rejection)>,
    },
}

impl From<SystemError> for NotUp {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}

/// Clusters that come up at an outpost.
pub(crate) struct Rising {
    outpost: Arc<Outpost>,
    reader: Reader,
    writer: Arc<Mutex<Writer>>,
}

/// Clusters that run at an outpost. They are taken down there when this is dropped.
#[derive(Debug)]
pub(crate) struct Far {
    outpost: Arc<Outpost>,
    writer: Arc<Mutex<Writer>>,
    /// Whether the end of the connection is expected.
    told_down: Arc<AtomicBool>,
    /// Told what was left, when they are down.
    is_down: oneshot::Receiver<Result<(), String>>,
    reader: JoinHandle<()>,
}

impl Drop for Far {
    fn drop(&mut self) {
        // Its half of the connection goes with it, which is how the outpost learns of it.
        self.reader.abort();
    }
}

impl Rising {
    /// Asks the outpost to begin.
    pub(crate) async fn begin(outpost: &Arc<Outpost>, part: Part) -> Result<Self, SystemError> {
        let call = Call::Driver(Request::Up(Box::new(part)));
        let (reader, writer) = outpost.open(&call).await?;
        Ok(Self { outpost: Arc::clone(outpost), reader, writer: Arc::new(Mutex::new(writer)) })
    }

    /// For telling it something meanwhile.
    pub(crate) fn teller(&self) -> Teller {
        Teller(Arc::clone(&self.writer))
    }

    /// Waits until everything runs there; `told` hears of all that happens before.
    pub(crate) async fn ready(
        mut self,
        exits: ExitSender,
        mut told: impl FnMut(Told),
    ) -> Result<(Far, Box<RunState>), NotUp> {
        let act = || "hear of the clusters that come up elsewhere".to_owned();
        loop {
            match receive(&mut self.reader).await.act(act)? {
                Some(Told::Ready(state)) => return Ok((self.follow(exits), state)),
                Some(Told::Failed { why, rejection }) => return Err(NotUp::Failed { why, rejection }),
                Some(other) => told(other),
                None => {
                    return Err(NotUp::System(SystemError { act: act(), source: io::ErrorKind::UnexpectedEof.into() }));
                }
            }
        }
    }

    fn follow(self, exits: ExitSender) -> Far {
        let (down, is_down) = oneshot::channel();
        let told_down = Arc::new(AtomicBool::new(false));
        let (mut reader, expected, outpost) = (self.reader, Arc::clone(&told_down), Arc::clone(&self.outpost));
        let reader = tokio::spawn(async move {
            let left = loop {
                match receive(&mut reader).await {
                    // The mesh may be gone, and with it everybody who would care.
                    Ok(Some(Told::Exited(exited))) => drop(exits.send(exited).await),
                    Ok(Some(Told::Down(left))) => break left,
                    Ok(Some(_)) => {}
                    Ok(None) => break Err("it is gone".to_owned()),
                    Err(error) => break Err(format!("it is gone: {error}")),
                }
            };
            if !expected.load(Ordering::SeqCst) {
                // Nothing that is said of a mesh without a part of it is worth anything.
                drop(exits.send(lost(&outpost, &left)).await);
            }
            drop(down.send(left));
        });
        Far { outpost: self.outpost, writer: self.writer, told_down, is_down, reader }
    }
}

impl Far {
    pub(crate) fn outpost(&self) -> &Arc<Outpost> {
        &self.outpost
    }

    /// Takes them down. What is left, in words, is the error.
    pub(crate) async fn down(mut self) -> Result<(), String> {
        let left = format!("{} on another machine", self.outpost.names());
        self.take_down().await.map_err(|why| format!("{left} ({why})"))
    }

    async fn take_down(&mut self) -> Result<(), String> {
        self.told_down.store(true, Ordering::SeqCst);
        send(&mut *self.writer.lock().await, &Tell::Down).await.map_err(|error| format!("it is gone: {error}"))?;
        match timeout(DOWN_MAX, &mut self.is_down).await {
            Ok(Ok(left)) => left,
            Ok(Err(_)) => Err("it is gone".to_owned()),
            Err(_) => Err(format!("not within {DOWN_MAX:?}")),
        }
    }
}

/// See [`Rising::teller`].
pub(crate) struct Teller(Arc<Mutex<Writer>>);

impl Teller {
    pub(crate) async fn tell(&self, what: Tell) -> Result<(), SystemError> {
        let sent = send(&mut *self.0.lock().await, &what).await;
        sent.act(|| "tell the machine of other clusters something".to_owned())
    }
}

/// The relays of a cluster's shadow; they take no more connections when this is dropped.
#[derive(Debug)]
pub(crate) struct Shadow {
    relays: Vec<JoinHandle<()>>,
}

impl Drop for Shadow {
    fn drop(&mut self) {
        self.relays.iter().for_each(JoinHandle::abort);
    }
}

impl Shadow {
    /// Opens the relays to the cluster that is `near` in our plan and `far` in that of the outpost; `api` is our listener for its
    /// Kubernetes API. The namespace of the shadow exists and has the control plane's address.
    pub(crate) fn cast(
        outpost: &Arc<Outpost>,
        near: &ClusterState,
        far: &ClusterState,
        api: std::net::TcpListener,
    ) -> Result<Self, SystemError> {
        let act = || format!("relay connections to cluster `{}`", near.name);
        let etcd = {
            let address = SocketAddrV4::new(near.control_plane_ip, ETCD_PORT);
            let listener = in_netns(&near.netns, || std::net::TcpListener::bind(address))?;
            (listener, RelayTarget::Tcp(Some(far.netns.clone()), address))
        };
        let api = (api, RelayTarget::Tcp(None, api_address(far).act(act)?));
        let mut relays = Vec::new();
        for (listener, target) in [etcd, api] {
            listener.set_nonblocking(true).act(act)?;
            relays.push(outpost.relay_tcp(TcpListener::from_std(listener).act(act)?, target));
        }
        let admin: &PathBuf = &near.api_admin_socket;
        let listener = UnixListener::bind(admin).act(act)?;
        relays.push(outpost.relay_unix(listener, RelayTarget::Unix(far.api_admin_socket.clone())));
        Ok(Self { relays })
    }
}

/// The end of an outpost, as that of a process.
fn lost(outpost: &Outpost, left: &Result<(), String>) -> ExitedProcess {
    let why = left.as_ref().err().map_or("it took them down", String::as_str);
    ExitedProcess {
        name: format!("outpost of {}", outpost.names()),
        status: why.to_owned(),
        log: LogEnd { path: PathBuf::from("the console of its machine"), tail: String::new(), rejection: None },
    }
}

/// Where the Kubernetes API of a cluster listens on its machine.
fn api_address(cluster: &ClusterState) -> io::Result<SocketAddrV4> {
    let address = cluster.api_host_url.strip_prefix("https://").unwrap_or_default();
    address.parse().map_err(io::Error::other)
}
