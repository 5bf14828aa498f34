//! An outpost as the machine that leads sees it.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mesh_types::ClusterName;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, UnixListener},
    task::{AbortHandle, JoinHandle},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    OutpostLink,
    clock::{Offset, monotonic_ns},
    nic,
    request::{Answer, Call, Hello, RelayTarget, Request},
    wire::{self, Reader, Writer, receive, send},
};
use crate::error::{Act, SystemError};

/// Time between two questions for the time.
const CLOCK_EVERY: Duration = Duration::from_millis(500);
/// How long an outpost may take to be there: its machine boots at the same time as ours, and emulated that takes a minute when
/// the host has much else to do.
const ARRIVAL_MAX: Duration = Duration::from_secs(300);
/// How long one attempt to reach it may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(2);
/// Time between two attempts.
const ATTEMPT_EVERY: Duration = Duration::from_millis(100);

/// A machine with clusters of the mesh, which does there what we ask for.
#[derive(Debug)]
pub struct Outpost {
    link: OutpostLink,
    hello: Hello,
    offset: Arc<Mutex<Offset>>,
    clock: AbortHandle,
}

impl Drop for Outpost {
    fn drop(&mut self) {
        self.clock.abort();
    }
}

impl Outpost {
    /// Takes the interface to it up and waits until it answers.
    ///
    /// # Errors
    ///
    /// When there is no such interface, or nobody answers for five minutes.
    pub async fn reach(link: OutpostLink) -> Result<Self, SystemError> {
        nic::set_up(&link.management, link.address).await?;
        Self::at(link).await
    }

    /// The same when the interface is up.
    pub(super) async fn at(link: OutpostLink) -> Result<Self, SystemError> {
        let (hello, offset) = arrive(&link).await?;
        let offset = Arc::new(Mutex::new(offset));
        let clock = tokio::spawn(follow_clock(link.clone(), Arc::clone(&offset))).abort_handle();
        Ok(Self { link, hello, offset, clock })
    }

    /// The clusters that are there.
    pub fn clusters(&self) -> &[ClusterName] {
        &self.link.clusters
    }

    /// Their names in words: `beta, gamma`.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.link.clusters.iter().map(ClusterName::as_str).collect();
        names.join(", ")
    }

    /// What it said of itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Hardware address of our interface to the segment of `cluster`.
    pub(crate) fn segment(&self, cluster: &ClusterName) -> Result<&str, SystemError> {
        self.link.segment(cluster)
    }

    /// Our `CLOCK_MONOTONIC` when it was `theirs` there, both in nanoseconds.
    pub fn our_time(&self, theirs: u64) -> u64 {
        let (ahead, _) = self.lock_offset().best();
        theirs.saturating_sub_signed(ahead)
    }

    /// How far [`Self::our_time`] may be wrong.
    pub fn clock_error(&self) -> Duration {
        Duration::from_nanos(self.lock_offset().best().1)
    }

    fn lock_offset(&self) -> std::sync::MutexGuard<'_, Offset> {
        self.offset.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the engine's part of it something to which there is more than one answer. The first says whether it could begin.
    ///
    /// # Errors
    ///
    /// When the outpost cannot be reached, or could not begin; then it says why.
    pub async fn listen(&self, question: &impl Serialize) -> Result<(Reader, Writer), SystemError> {
        let (mut reader, writer) = self.open(&self.to_engine(question)?).await?;
        self.answer(&mut reader).await?;
        Ok((reader, writer))
    }

    fn to_engine(&self, question: &impl Serialize) -> Result<Call, SystemError> {
        serde_json::to_value(question).map(Call::Engine).map_err(io::Error::from).act(|| self.act())
    }

    /// Begins a call that is more than one question and one answer.
    pub(crate) async fn open(&self, call: &Call) -> Result<(Reader, Writer), SystemError> {
        let (reader, mut writer) = wire::connect(self.link.listens).await?;
        send(&mut writer, call).await.act(|| self.act())?;
        Ok((reader, writer))
    }

    /// Asks the engine's part of it something.
    ///
    /// # Errors
    ///
    /// When the outpost cannot be reached or has no answer; then it says why.
    pub async fn ask<T: DeserializeOwned>(&self, question: &impl Serialize) -> Result<T, SystemError> {
        self.call(&self.to_engine(question)?).await
    }

    /// One question and one answer.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: &Call) -> Result<T, SystemError> {
        let (mut reader, _writer) = self.open(call).await?;
        let value = self.answer(&mut reader).await?;
        serde_json::from_value(value).map_err(io::Error::from).act(|| self.act())
    }

    async fn answer(&self, reader: &mut Reader) -> Result<Value, SystemError> {
        let answer: Option<Answer<Value>> = receive(reader).await.act(|| self.act())?;
        let answer = answer.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof)).act(|| self.act())?;
        Result::from(answer).map_err(io::Error::other).act(|| self.act())
    }

    fn act(&self) -> String {
        format!("ask the machine of {}", self.names())
    }

    /// Passes connections to `listener` on to `target` there, until the task is aborted.
    pub(crate) fn relay_tcp(self: &Arc<Self>, listener: TcpListener, target: RelayTarget) -> JoinHandle<()> {
        let outpost = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Nothing can be done about it, and it only makes things slower.
                drop(stream.set_nodelay(true));
                outpost.relay(stream, target.clone());
            }
        })
    }

    /// The same for a socket with a path.
    pub(crate) fn relay_unix(self: &Arc<Self>, listener: UnixListener, target: RelayTarget) -> JoinHandle<()> {
        let outpost = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                outpost.relay(stream, target.clone());
            }
        })
    }

    /// Who cannot be reached there is as gone here: the connection ends.
    fn relay(
        self: &Arc<Self>,
        mut near: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        target: RelayTarget,
    ) {
        let outpost = Arc::clone(self);
        tokio::spawn(async move {
            match outpost.open(&Call::Driver(Request::Relay(target.clone()))).await {
                Ok((reader, writer)) => {
                    let mut far = tokio::io::join(reader, writer);
                    // However it ends, it has ended.
                    drop(copy_bidirectional(&mut near, &mut far).await);
                }
                Err(error) => tracing::debug!(%error, ?target, "no relay"),
            }
        });
    }
}

/// Waits until the outpost answers.
async fn arrive(link: &OutpostLink) -> Result<(Hello, Offset), SystemError> {
    let wait = async {
        let mut ticks = interval(ATTEMPT_EVERY);
        loop {
            ticks.tick().await;
            let mut offset = Offset::default();
            let attempt = async {
                let (mut reader, mut writer) = wire::connect(link.listens).await?;
                ask_time(&mut reader, &mut writer, &mut offset).await.act(|| "ask for the time".to_owned())
            };
            match timeout(ATTEMPT_MAX, attempt).await {
                Ok(Ok(hello)) => return (hello, offset),
                Ok(Err(error)) => tracing::trace!(%error, "the outpost is not there yet"),
                Err(_) => tracing::trace!("the outpost does not answer yet"),
            }
        }
    };
    let act = || format!("reach the outpost at {}", link.listens);
    timeout(ARRIVAL_MAX, wait).await.map_err(io::Error::from).act(act)
}

/// Begins to ask for the time.
async fn ask_time(reader: &mut Reader, writer: &mut Writer, offset: &mut Offset) -> io::Result<Hello> {
    send(writer, &Call::Driver(Request::Clock)).await?;
    let hello = receive(reader).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    sample(reader, writer, offset).await?;
    Ok(hello)
}

/// Asks once more on the same connection.
async fn sample(reader: &mut Reader, writer: &mut Writer, offset: &mut Offset) -> io::Result<()> {
    let sent = monotonic_ns();
    send(writer, &()).await?;
    let theirs: u64 = receive(reader).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    offset.add(sent, theirs, monotonic_ns());
    Ok(())
}

async fn follow_clock(link: OutpostLink, offset: Arc<Mutex<Offset>>) {
    let mut ticks = interval(CLOCK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection: Option<(Reader, Writer)> = None;
    loop {
        ticks.tick().await;
        let asked = async {
            let (mut reader, mut writer) = match connection.take() {
                Some(connection) => connection,
                None => {
                    let (mut reader, mut writer) = wire::connect(link.listens).await.map_err(|error| error.source)?;
                    ask_time(&mut reader, &mut writer, &mut Offset::default()).await?;
                    (reader, writer)
                }
            };
            let mut one = Offset::default();
            sample(&mut reader, &mut writer, &mut one).await?;
            offset.lock().unwrap_or_else(PoisonError::into_inner).append(one);
            Ok::<_, io::Error>((reader, writer))
        };
        match asked.await {
            Ok(asked) => connection = Some(asked),
            Err(error) => tracing::debug!(%error, "the outpost does not tell the time"),
        }
    }
}
