//! The processes of a mesh: started, awaited and watched.

use std::{
    fs::{self, OpenOptions},
    io,
    net::TcpListener,
    os::fd::AsRawFd,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::{
    process::Child,
    sync::{mpsc, watch},
    time::timeout,
};

use crate::{
    ExitedProcess, LogEnd,
    command::{Placement, Session, command},
    error::{Act, ProcessError, SystemError},
    launch::{Launch, ReadyCheck},
    notify::{NOTIFY_SOCKET, NotifySocket},
    pidfd::Pidfd,
    programs::ProgramSpec,
    ready,
    state::{ProcessIdentity, ProcessState},
};

/// How long a killed process may take to be gone. It gets no say in it, but the machine may be loaded.
pub(crate) const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// Where unexpected ends are reported to.
pub(crate) type ExitSender = mpsc::Sender<ExitedProcess>;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With this status.
    Status(ExitStatus),
    /// It is not our child, or waiting for it failed.
    Unknown,
}

/// A process that was started, by us or by another program.
#[derive(Debug)]
pub(crate) struct Process {
    state: ProcessState,
    /// Of those that we started.
    notify: Option<Arc<NotifySocket>>,
    /// Set before the process is told to end.
    told_to_end: Arc<AtomicBool>,
    ended: watch::Receiver<Option<End>>,
}

impl Process {
    /// Starts `spec`, which inherits `listener`. Returns when the program runs in its place; it is not ready then. Its end
    /// is told to `exits`, unless it is expected.
    pub(crate) fn start(
        spec: ProgramSpec,
        listener: Option<TcpListener>,
        exits: Option<&ExitSender>,
    ) -> Result<Self, ProcessError> {
        let name = spec.name.clone();
        Self::try_start(spec, listener, exits.cloned()).map_err(|source| ProcessError::Start { name, source })
    }

    fn try_start(
        spec: ProgramSpec,
        listener: Option<TcpListener>,
        exits: Option<ExitSender>,
    ) -> Result<Self, SystemError> {
        let notify = Arc::new(NotifySocket::bind(spec.launch.notify_socket.clone())?);
        let listener = match (listener, &spec.launch.listen) {
            (None, Some(listen)) => {
                Some(TcpListener::bind(listen.address).act(|| format!("listen on {}", listen.address))?)
            }
            (listener, _) => listener,
        };
        write_files(&spec.launch)?;
        let child = spawn(&spec, listener.as_ref(), &notify)?;
        // The child has its own copy: once it ends, nobody listens.
        drop(listener);
        // Not waited for yet, so the number is still this process's even if it has ended.
        let act = || format!("run `{}`", spec.launch.program.display());
        let pid = child.id().ok_or_else(|| io::Error::other("it was waited for already")).act(act)?;
        let identity = ProcessIdentity::of(pid)?;
        let told_to_end = Arc::new(AtomicBool::new(false));
        let watcher =
            Watcher { name: spec.name.clone(), log: spec.log.clone(), told_to_end: Arc::clone(&told_to_end), exits };
        let ended = watcher.watch(child);
        let ProgramSpec { name, role, cluster, node, log, launch } = spec;
        let state = ProcessState { name, role, cluster, node, identity, log, launch };
        Ok(Self { state, notify: Some(notify), told_to_end, ended })
    }

    /// Takes over a process that another program started. Nobody is told about its end.
    pub(crate) fn adopt(state: ProcessState) -> Result<Self, ProcessError> {
        let name = &state.name;
        let pidfd = Pidfd::open(state.identity).act(|| format!("open a pidfd of `{name}`"));
        let pidfd = pidfd.map_err(|source| ProcessError::Start { name: name.clone(), source })?;
        let (sender, ended) = watch::channel(None);
        match pidfd {
            Some(pidfd) => drop(tokio::spawn(async move {
                // An error means that the pidfd cannot be waited for; then nobody can know more than that.
                drop(pidfd.ended().await);
                sender.send_replace(Some(End::Unknown));
            })),
            None => drop(sender.send_replace(Some(End::Unknown))),
        }
        Ok(Self { state, notify: None, told_to_end: Arc::new(AtomicBool::new(true)), ended })
    }

    /// Who it is.
    pub(crate) fn state(&self) -> &ProcessState {
        &self.state
    }

    /// Who it is, for changing how it is started the next time.
    pub(crate) fn launch_mut(&mut self) -> &mut Launch {
        &mut self.state.launch
    }

    /// Waits until it is ready. The future does not borrow the process.
    pub(crate) fn wait_ready(&self) -> impl Future<Output = Result<(), ProcessError>> + Send + use<> {
        let ProcessState { name, log, launch, identity, .. } = self.state.clone();
        let notify = self.notify.clone();
        let mut ended = self.ended.clone();
        let ends_when_ready = launch.ready == ReadyCheck::Ended;
        async move {
            let outcome = timeout(launch.ready_timeout, async {
                tokio::select! {
                    // What it said before it ended counts.
                    biased;
                    ready = notified(&launch, notify.as_deref()) => ready.map(|()| None),
                    () = ready::asked(&launch, identity.pid) => Ok(None),
                    end = end_of(&mut ended) => Ok(Some(end)),
                }
            });
            match outcome.await {
                Ok(Ok(None)) => Ok(()),
                Ok(Ok(Some(End::Status(status)))) if ends_when_ready && status.success() => Ok(()),
                Ok(Ok(Some(end))) => {
                    Err(ProcessError::Ended { name, status: in_words(end), log: Box::new(LogEnd::of(&log)) })
                }
                Ok(Err(source)) => {
                    let act = format!("read from `{}`", launch.notify_socket.display());
                    Err(ProcessError::Start { name, source: SystemError { act, source } })
                }
                Err(_) => {
                    let deadline = launch.ready_timeout;
                    Err(ProcessError::NotReady { name, deadline, log: Box::new(LogEnd::of(&log)) })
                }
            }
        }
    }

    /// Its end, whenever it comes, is not unexpected any more.
    pub(crate) fn expect_end(&self) {
        self.told_to_end.store(true, Ordering::SeqCst);
    }

    /// Waits until it ended and, if it is our child, was waited for, so that not even a zombie is left.
    pub(crate) async fn reaped(&mut self) {
        end_of(&mut self.ended).await;
    }

    /// Whether it ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some() || self.ended.has_changed().is_err() || !self.state.identity.is_alive()
    }

    /// Starts it again after its end.
    pub(crate) fn start_again(&mut self, exits: Option<&ExitSender>) -> Result<(), ProcessError> {
        *self = Self::start(ProgramSpec::from(&self.state), None, exits)?;
        Ok(())
    }

    /// Ends it with `signal`: returns when the kernel says that it ended. The end counts as expected from now on, also if it
    /// comes after the deadline.
    pub(crate) async fn end_with(&mut self, signal: Signal, deadline: Duration) -> Result<(), ProcessError> {
        let name = || self.state.name.clone();
        let system = |source| ProcessError::Signal { name: name(), source };
        let pidfd = Pidfd::open(self.state.identity).act(|| "open a pidfd".to_owned()).map_err(system)?;
        let pidfd = pidfd.ok_or_else(|| ProcessError::NotRunning { name: name() })?;
        self.expect_end();
        pidfd.signal(signal).act(|| format!("send {signal}")).map_err(system)?;
        match timeout(deadline, pidfd.ended()).await {
            Ok(ended) => ended.act(|| "wait for its end".to_owned()).map_err(system)?,
            Err(_) => return Err(ProcessError::NotEnded { name: name(), deadline }),
        }
        self.reaped().await;
        Ok(())
    }
}

/// Starts the program itself.
fn spawn(spec: &ProgramSpec, listener: Option<&TcpListener>, notify: &NotifySocket) -> Result<Child, SystemError> {
    let launch = &spec.launch;
    let log = OpenOptions::new().create(true).append(true).open(&spec.log);
    let log = log.act(|| format!("open log `{}`", spec.log.display()))?;
    let act = || format!("run `{}`", launch.program.display());
    let inherited = listener.map(AsRawFd::as_raw_fd);
    let placement = Placement {
        netns: &launch.netns,
        cgroup: Some(&launch.cgroup),
        bpf_root: launch.bpf_root.as_deref(),
        cgroup_root: launch.cgroup_root.as_deref(),
        session: Session::New,
        inherited,
    };
    let mut command = command(&placement, launch.program.as_os_str());
    command.args(&launch.arguments);
    if let (Some(listen), Some(fd)) = (&launch.listen, inherited) {
        command.arg(&listen.flag).arg(fd.to_string());
    }
    command.envs(launch.env.iter().cloned()).env(NOTIFY_SOCKET, notify.path());
    command.stdin(Stdio::null()).stdout(log.try_clone().act(act)?).stderr(log);
    tokio::process::Command::from(command).spawn().act(act)
}

fn write_files(launch: &Launch) -> Result<(), SystemError> {
    for (path, content) in &launch.files {
        let act = || format!("write `{}`", path.display());
        fs::create_dir_all(path.parent().unwrap_or(path)).act(act)?;
        fs::write(path, content).act(act)?;
    }
    Ok(())
}

/// Waits for `READY=1` if that is how the process tells.
async fn notified(launch: &Launch, notify: Option<&NotifySocket>) -> io::Result<()> {
    match notify {
        Some(notify) if launch.ready == ReadyCheck::Notify => notify.ready().await,
        _ => std::future::pending().await,
    }
}

/// Waits for the end.
async fn end_of(ended: &mut watch::Receiver<Option<End>>) -> End {
    match ended.wait_for(Option::is_some).await {
        Ok(end) => end.unwrap_or(End::Unknown),
        // The runtime of the watcher ends, and with it everything else.
        Err(_) => End::Unknown,
    }
}

/// Tells about the end of a process.
struct Watcher {
    name: String,
    log: PathBuf,
    told_to_end: Arc<AtomicBool>,
    exits: Option<ExitSender>,
}

impl Watcher {
    /// Watches a child of ours in a task of its own.
    fn watch(self, mut child: Child) -> watch::Receiver<Option<End>> {
        let (sender, ended) = watch::channel(None);
        tokio::spawn(async move {
            let end = child.wait().await.map_or(End::Unknown, End::Status);
            // Nobody may be interested any more.
            sender.send_replace(Some(end));
            self.report(end).await;
        });
        ended
    }

    async fn report(&self, end: End) {
        let Some(exits) = self.exits.as_ref().filter(|_| !self.told_to_end.load(Ordering::SeqCst)) else { return };
        let exited = ExitedProcess { name: self.name.clone(), status: in_words(end), log: LogEnd::of(&self.log) };
        // The mesh may be gone, and with it everybody who would care.
        drop(exits.send(exited).await);
    }
}

fn in_words(end: End) -> String {
    match end {
        End::Status(status) => status.to_string(),
        End::Unknown => "status unknown".to_owned(),
    }
}
