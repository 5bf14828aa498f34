//! The outpost itself: does at its machine what the one that leads asks for.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddrV4,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::BoxFuture;
use meshbed_scenario::Topology;
use serde_json::Value;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UnixStream},
    sync::{mpsc, watch},
    task::spawn_blocking,
};

use super::{
    OutpostLink,
    clock::monotonic_ns,
    nic,
    request::{Answer, Call, File, Hello, Part, RelayTarget, Request, Tell, Told, kernel_release},
    wire::{Reader, Writer, receive, send, split},
};
use crate::{
    Control, Mesh, RunId, SystemError,
    error::{Act, chain},
    in_netns,
    up::{Share, up_part},
};

/// What [`serve`] gives to whoever answers calls that are not the driver's.
pub type Answerer = Box<dyn Fn(Value, Reader, Writer) -> BoxFuture<'static, io::Result<()>> + Send + Sync>;

/// What all connections share.
struct Post {
    link: OutpostLink,
    hello: Hello,
    /// Control over the runs that are up here.
    runs: Mutex<BTreeMap<RunId, Control>>,
    engine: Answerer,
}

/// A part of a mesh that is brought up here.
pub(crate) struct PartHere {
    pub(crate) part: Part,
    pub(crate) link: OutpostLink,
    pub(crate) told: mpsc::UnboundedSender<Told>,
    /// Whether the etcds of all clusters, wherever they are, know their users.
    pub(crate) all_etcds: watch::Receiver<bool>,
}

/// Serves until it is dropped; `engine` answers what is for the engine.
///
/// # Errors
///
/// When the interface of `link` or its address cannot be used.
pub async fn serve(link: OutpostLink, slowness: f64, engine: Answerer) -> Result<(), SystemError> {
    nic::set_up(&link.management, link.address).await?;
    let listens = link.listens;
    let act = || format!("listen on {listens}");
    let listener = TcpListener::bind(listens).await.act(act)?;
    answer_all(&listener, link, slowness, engine).await.act(act)
}

/// Answers whoever connects to `listener`.
pub(super) async fn answer_all(
    listener: &TcpListener,
    link: OutpostLink,
    slowness: f64,
    engine: Answerer,
) -> io::Result<()> {
    let hello = Hello { kernel: kernel_release(), slowness };
    let post = Arc::new(Post { link, hello, runs: Mutex::default(), engine });
    loop {
        let (stream, _) = listener.accept().await?;
        let post = Arc::clone(&post);
        tokio::spawn(async move {
            if let Err(error) = post.answer(stream).await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
}

impl Post {
    async fn answer(self: Arc<Self>, stream: TcpStream) -> io::Result<()> {
        let (mut reader, mut writer) = split(stream)?;
        let Some(call) = receive(&mut reader).await? else { return Ok(()) };
        match call {
            Call::Engine(question) => (self.engine)(question, reader, writer).await,
            Call::Driver(Request::Clock) => self.tell_time(&mut reader, &mut writer).await,
            Call::Driver(Request::Up(part)) => self.bring_up(*part, reader, writer).await,
            Call::Driver(Request::Order(run, order)) => {
                let control = self.lock_runs().get(&run).cloned();
                let answer = match control {
                    Some(control) => order.perform(&control).await.map_err(|error| chain(&error)),
                    None => Err(format!("no run `{run}` is up here")),
                };
                reply(&mut writer, answer).await
            }
            Call::Driver(Request::Config(file, act)) => {
                reply(&mut writer, file.perform(act).map_err(|error| chain(&error))).await
            }
            Call::Driver(Request::WriteFiles(files)) => {
                reply(&mut writer, File::store_all(&files).map_err(|error| chain(&error))).await
            }
            Call::Driver(Request::Relay(target)) => relay(target, reader, writer).await,
        }
    }

    fn lock_runs(&self) -> std::sync::MutexGuard<'_, BTreeMap<RunId, Control>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn tell_time(&self, reader: &mut Reader, writer: &mut Writer) -> io::Result<()> {
        send(writer, &self.hello).await?;
        while let Some(()) = receive(reader).await? {
            send(writer, &monotonic_ns()).await?;
        }
        Ok(())
    }

    /// Brings a part up and keeps it until that is over or the connection ends.
    async fn bring_up(&self, part: Part, mut reader: Reader, mut writer: Writer) -> io::Result<()> {
        let (told, mut to_tell) = mpsc::unbounded_channel();
        let telling = tokio::spawn(async move {
            while let Some(told) = to_tell.recv().await {
                // Nobody is there any more: that shows at the other half, too.
                drop(send(&mut writer, &told).await);
            }
        });
        let (all_etcds, etcds) = watch::channel(false);
        let run = part.options.run.clone();
        let here = PartHere { part, link: self.link.clone(), told: told.clone(), all_etcds: etcds };
        let mesh = tokio::select! {
            mesh = raise(&here) => mesh,
            () = until_down(&mut reader, &all_etcds) => return Ok(()),
        };
        match mesh {
            Err(failed) => drop(told.send(failed)),
            Ok(mesh) => {
                self.lock_runs().insert(run.clone(), mesh.control().clone());
                drop(told.send(Told::Ready(Box::new(mesh.control().state()))));
                tokio::select! {
                    () = until_down(&mut reader, &all_etcds) => {}
                    () = tell_exits(&mesh, &told) => {}
                }
                self.lock_runs().remove(&run);
                let left = mesh.down().await.map_err(|error| chain(&error));
                drop(told.send(Told::Down(left)));
            }
        }
        drop((told, here));
        telling.await.map_err(io::Error::other)
    }
}

/// Brings it up; what it says in the end is the error.
async fn raise(here: &PartHere) -> Result<Mesh, Told> {
    let failed = |why| Told::Failed { why, rejection: None };
    let topology = Topology::parse(&here.part.topology, "topology.yaml").map_err(|error| failed(error.to_string()))?;
    let progress = |what: &str| drop(here.told.send(Told::Progress(what.to_owned())));
    up_part(&topology, &Share::Part(here), here.part.options.clone(), progress).await.map_err(|error| Told::Failed {
        why: chain(&error),
        rejection: error.rejection().map(|(process, rejection)| (process.to_owned(), rejection.clone())),
    })
}

/// Hears what the machine that leads says until it wants everything down, or is gone.
async fn until_down(reader: &mut Reader, all_etcds: &watch::Sender<bool>) {
    while let Ok(Some(tell)) = receive(reader).await {
        match tell {
            Tell::AllEtcds => drop(all_etcds.send_replace(true)),
            Tell::Down => return,
        }
    }
}

/// Never returns.
async fn tell_exits(mesh: &Mesh, told: &mpsc::UnboundedSender<Told>) {
    loop {
        drop(told.send(Told::Exited(mesh.exited().await)));
    }
}

async fn relay(target: RelayTarget, reader: Reader, writer: Writer) -> io::Result<()> {
    let mut near = tokio::io::join(reader, writer);
    match target {
        RelayTarget::Unix(path) => copy_bidirectional(&mut near, &mut UnixStream::connect(path).await?).await,
        RelayTarget::Tcp(None, to) => {
            copy_bidirectional(&mut near, &mut connected(TcpStream::connect(to).await?)?).await
        }
        RelayTarget::Tcp(Some(netns), to) => {
            let stream = spawn_blocking(move || in_netns(&netns, || dial(to))).await.map_err(io::Error::other)?;
            let stream = stream.map_err(|error| error.source)?;
            copy_bidirectional(&mut near, &mut connected(TcpStream::from_std(stream)?)?).await
        }
    }
    .map(drop)
}

/// A connection that Tokio can use.
fn dial(to: SocketAddrV4) -> io::Result<std::net::TcpStream> {
    let stream = std::net::TcpStream::connect(to)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn connected(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn reply<T: serde::Serialize>(writer: &mut Writer, result: Result<T, String>) -> io::Result<()> {
    let answer = match result {
        Ok(value) => Answer::Done(value),
        Err(why) => Answer::Failed(why),
    };
    send(writer, &answer).await
}
