//! The thread that moves packets: it waits in `ppoll` for packets, for times and for commands, and does nothing else.

use std::{
    collections::BTreeMap,
    io,
    net::Ipv4Addr,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Instant,
};

use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        eventfd::{EfdFlags, EventFd},
        prctl,
        socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket},
        time::TimeSpec,
    },
};
use tokio::sync::oneshot;

use crate::{
    packet::Packet,
    router::{Cluster, Output, Router, Setting, Way},
    status::Counters,
    tun::{DEVICE_QUEUE, Tun},
};

/// Packets that are read from one device before times and other devices get their turn.
const BATCH: usize = 64;
/// Longest packet.
const PACKET_MAX: usize = 65_535;
/// How late the kernel may wake the thread, in nanoseconds; by default it is 50 µs, to save power.
const TIMER_SLACK: u64 = 1;
/// Commands that can wait. The controller sends one at a time.
const COMMANDS_MAX: usize = 16;

enum Command {
    AddDevice(Cluster, Tun, oneshot::Sender<()>),
    Set(Way, Setting, oneshot::Sender<()>),
    Counters(Vec<Way>, oneshot::Sender<Vec<Counters>>),
}

/// The thread, seen from outside. It ends with this value.
#[derive(Debug)]
pub(crate) struct Forwarder {
    /// `None` when it is about to end.
    commands: Option<mpsc::SyncSender<Command>>,
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

/// The thread has ended, which it does only when it panicked.
#[derive(Debug, thiserror::Error)]
#[error("the thread that forwards packets has ended")]
pub(crate) struct Ended;

impl Forwarder {
    /// Starts the thread with `router`, in the calling thread's network namespace.
    pub(crate) fn start(router: Router) -> io::Result<Self> {
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        // Sends only: sockets of this protocol get no packets, so no buffer of it can fill.
        let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, Some(SockProtocol::Raw))?;
        let (commands, receiver) = mpsc::sync_channel(COMMANDS_MAX);
        let work = Work {
            router,
            devices: Devices { tuns: BTreeMap::new(), raw },
            wake: Arc::clone(&wake),
            buffer: vec![0; PACKET_MAX],
        };
        let thread = thread::Builder::new().name("forwarder".to_owned()).spawn(move || work.run(&receiver))?;
        Ok(Self { commands: Some(commands), wake, thread: Some(thread) })
    }

    /// Packets from `cluster` come and go through `tun` from now on.
    pub(crate) async fn add_device(&self, cluster: Cluster, tun: Tun) -> Result<(), Ended> {
        self.ask(|done| Command::AddDevice(cluster, tun, done)).await
    }

    /// Replaces what is in force in one direction; it is when this returns.
    pub(crate) async fn set(&self, way: Way, setting: Setting) -> Result<(), Ended> {
        self.ask(|done| Command::Set(way, setting, done)).await
    }

    /// Counters of `ways`, in that order.
    pub(crate) async fn counters(&self, ways: Vec<Way>) -> Result<Vec<Counters>, Ended> {
        self.ask(|done| Command::Counters(ways, done)).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Ended> {
        let (sender, receiver) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or(Ended)?;
        commands.try_send(command(sender)).map_err(|_| Ended)?;
        self.wake_up();
        receiver.await.map_err(|_| Ended)
    }

    fn wake_up(&self) {
        // The counter is at its limit only when the thread was told often enough.
        self.wake.write(1).ok();
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.commands = None;
        self.wake_up();
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed.
            drop(thread.join());
        }
    }
}

struct Devices {
    tuns: BTreeMap<Cluster, Tun>,
    /// For packets of the router itself, with headers of our making.
    raw: OwnedFd,
}

impl Output for Devices {
    fn forward(&mut self, from: Cluster, packet: &Packet) -> bool {
        self.tuns.get(&from).is_some_and(|tun| match tun.write(packet.bytes()) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "the kernel did not take a packet back");
                false
            }
        })
    }

    fn answer(&mut self, packet: &Packet) {
        let destination: Ipv4Addr = packet.destination();
        let [a, b, c, d] = destination.octets();
        let address = SockaddrIn::new(a, b, c, d, 0);
        if let Err(error) = sendto(self.raw.as_raw_fd(), packet.bytes(), &address, MsgFlags::MSG_DONTWAIT) {
            tracing::debug!(%error, %destination, "a message of the router was not sent");
        }
    }
}

struct Work {
    router: Router,
    devices: Devices,
    wake: Arc<EventFd>,
    buffer: Vec<u8>,
}

impl Work {
    fn run(mut self, commands: &mpsc::Receiver<Command>) {
        if let Err(error) = prctl::set_timerslack(TIMER_SLACK) {
            tracing::warn!(%error, "delays will be less exact");
        }
        loop {
            match commands.try_recv() {
                Ok(command) => {
                    self.obey(command);
                    continue;
                }
                Err(mpsc::TryRecvError::Disconnected) => return,
                Err(mpsc::TryRecvError::Empty) => {}
            }
            self.router.release(Instant::now(), &mut self.devices);
            for cluster in self.wait() {
                self.drain(cluster, BATCH);
            }
        }
    }

    fn obey(&mut self, command: Command) {
        // Whoever asked may have stopped waiting.
        match command {
            Command::AddDevice(cluster, tun, done) => {
                self.devices.tuns.insert(cluster, tun);
                done.send(()).ok();
            }
            Command::Set(way, setting, done) => {
                // What has come so far came under the old conditions.
                let clusters: Vec<Cluster> = self.devices.tuns.keys().copied().collect();
                for cluster in clusters {
                    self.drain(cluster, DEVICE_QUEUE as usize);
                }
                self.router.set(way, &setting, Instant::now(), &mut self.devices);
                done.send(()).ok();
            }
            Command::Counters(ways, done) => {
                tracing::debug!(strays = self.router.strays(), "counters are read");
                done.send(ways.into_iter().map(|way| self.router.counters(way)).collect()).ok();
            }
        }
    }

    /// Waits until something is to be done; returns the clusters that packets came from.
    fn wait(&self) -> Vec<Cluster> {
        let timeout = self.router.next_release().map(|at| at.saturating_duration_since(Instant::now()));
        let fds = self.devices.tuns.values().map(AsFd::as_fd).chain([self.wake.as_fd()]);
        let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match ppoll(&mut fds, timeout.map(TimeSpec::from_duration), None) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            // Only memory can be short here; the packets will still be there.
            Err(error) => tracing::warn!(%error, "waiting for packets failed"),
        }
        let is_ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        if fds.last().is_some_and(is_ready) {
            // Empty when somebody woke us twice.
            self.wake.read().ok();
        }
        self.devices.tuns.keys().zip(&fds).filter(|(_, fd)| is_ready(fd)).map(|(cluster, _)| *cluster).collect()
    }

    /// Reads what has come from `cluster`, up to `limit` packets.
    fn drain(&mut self, cluster: Cluster, limit: usize) {
        for _ in 0..limit {
            let Some(tun) = self.devices.tuns.get(&cluster) else { return };
            match tun.read(&mut self.buffer) {
                Ok(Some(length)) => {
                    let packet = self.buffer[..length].to_vec();
                    self.router.receive(cluster, packet, Instant::now(), &mut self.devices);
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "reading packets failed");
                    return;
                }
            }
        }
    }
}
