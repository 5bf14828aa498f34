//! The processes of a mesh: started, awaited and watched.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    net::TcpListener,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use crate::{
    ExitedProcess,
    command::{Placement, Session, command},
    error::{Act, ProcessError, SystemError},
    notify::{NOTIFY_SOCKET, NotifySocket},
    programs::ProgramSpec,
    state::{ProcessIdentity, ProcessState},
};

/// How long a process may take to say that it is ready: seconds on a loaded machine or under plain emulation.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// How long a process may take to end in an orderly way before it is killed.
const END_DEADLINE: Duration = Duration::from_secs(5);
/// How much of the end of a log goes into an error, in bytes.
const TAIL_MAX: u64 = 4096;

/// Where unexpected ends are reported to.
pub(crate) type ExitSender = mpsc::Sender<ExitedProcess>;

/// A process that was started.
#[derive(Debug)]
pub(crate) struct Process {
    spec: ProgramSpec,
    state: ProcessState,
    notify: Arc<NotifySocket>,
    /// Set before the process is told to end.
    told_to_end: Arc<AtomicBool>,
    ended: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts `spec`. Returns when the program runs in its place; it is not ready then.
    pub(crate) fn start(spec: ProgramSpec, exits: &ExitSender) -> Result<Self, ProcessError> {
        let name = spec.name.clone();
        Self::try_start(spec, exits).map_err(|source| ProcessError::Start { name, source })
    }

    fn try_start(spec: ProgramSpec, exits: &ExitSender) -> Result<Self, SystemError> {
        let notify = Arc::new(NotifySocket::bind(spec.notify_socket.clone())?);
        let log = OpenOptions::new().create(true).append(true).open(&spec.log);
        let log = log.act(|| format!("open log `{}`", spec.log.display()))?;
        let act = || format!("run `{}`", spec.program.display());
        let placement = Placement {
            netns: &spec.netns,
            cgroup: Some(&spec.cgroup),
            bpf_root: spec.bpf_root.as_deref(),
            session: Session::New,
            inherited: spec.listener.as_ref().map(|listener: &Arc<TcpListener>| listener.as_raw_fd()),
        };
        let mut command = command(&placement, spec.program.as_os_str());
        command.args(&spec.arguments).envs(spec.env.iter().cloned()).env(NOTIFY_SOCKET, notify.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().act(act)?).stderr(log);
        let mut child = tokio::process::Command::from(command).spawn().act(act)?;
        // Not waited for yet, so the number is still this process's even if it has ended.
        let pid = child.id().ok_or_else(|| io::Error::other("it was waited for already")).act(act)?;
        let identity = ProcessIdentity::of(pid)?;

        let told_to_end = Arc::new(AtomicBool::new(false));
        let (sender, ended) = watch::channel(None);
        let watcher = Watcher { name: spec.name.clone(), log: spec.log.clone(), told_to_end: Arc::clone(&told_to_end) };
        let exits = exits.clone();
        tokio::spawn(async move {
            let status = child.wait().await;
            watcher.report(&status, &exits).await;
            // Nobody may be interested any more.
            sender.send_replace(status.ok());
        });
        let state = ProcessState {
            name: spec.name.clone(),
            role: spec.role,
            cluster: spec.cluster.clone(),
            node: spec.node.clone(),
            identity,
            log: spec.log.clone(),
        };
        Ok(Self { spec, state, notify, told_to_end, ended })
    }

    /// Who it is.
    pub(crate) fn state(&self) -> &ProcessState {
        &self.state
    }

    /// Waits until it says that it is ready. The future does not borrow the process.
    pub(crate) fn wait_ready(&self) -> impl Future<Output = Result<(), ProcessError>> + Send + use<> {
        let (name, log) = (self.spec.name.clone(), self.spec.log.clone());
        let notify = Arc::clone(&self.notify);
        let mut ended = self.ended.clone();
        async move {
            let outcome = timeout(READY_DEADLINE, async {
                tokio::select! {
                    // What it said before it ended counts.
                    biased;
                    ready = notify.ready() => ready.map(|()| None),
                    _ = ended.changed() => Ok(Some(*ended.borrow())),
                }
            });
            match outcome.await {
                Ok(Ok(None)) => Ok(()),
                Ok(Ok(Some(status))) => {
                    Err(ProcessError::Ended { name, status: in_words(status), tail: tail(&log), log })
                }
                Ok(Err(source)) => {
                    let act = format!("read from `{}`", notify.path().display());
                    Err(ProcessError::Start { name, source: SystemError { act, source } })
                }
                Err(_) => Err(ProcessError::NotReady { name, deadline: READY_DEADLINE, tail: tail(&log), log }),
            }
        }
    }

    /// Its end, whenever it comes, is not unexpected any more.
    pub(crate) fn expect_end(&self) {
        self.told_to_end.store(true, Ordering::SeqCst);
    }

    /// Waits until a process that was killed has been waited for, so that not even a zombie is left.
    pub(crate) async fn reaped(mut self) {
        // Either it changes or the watcher is gone.
        drop(self.ended.wait_for(Option::is_some).await);
    }

    /// Starts it again after its end.
    pub(crate) fn start_again(&mut self, exits: &ExitSender) -> Result<(), ProcessError> {
        *self = Self::start(self.spec.clone(), exits)?;
        Ok(())
    }

    /// Ends it with SIGTERM, or with SIGKILL when that takes too long.
    pub(crate) async fn end(&mut self) -> Result<(), ProcessError> {
        self.expect_end();
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            self.signal(signal)?;
            if timeout(END_DEADLINE, self.ended.changed()).await.is_ok() || self.has_ended() {
                return Ok(());
            }
        }
        Err(ProcessError::NotEnded { name: self.spec.name.clone(), deadline: 2 * END_DEADLINE })
    }

    fn has_ended(&self) -> bool {
        self.ended.has_changed().is_err() || self.ended.borrow().is_some()
    }

    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        // Checked by start time: between its end and now the number may have got a new owner.
        if self.has_ended() || !self.state.identity.is_alive() {
            return Ok(());
        }
        let pid = i32::try_from(self.state.identity.pid).expect("the kernel's process IDs fit in an i32");
        match kill(Pid::from_raw(pid), signal) {
            Ok(()) | Err(nix::Error::ESRCH) => Ok(()),
            Err(error) => {
                let source = SystemError { act: format!("send {signal}"), source: error.into() };
                Err(ProcessError::Start { name: self.spec.name.clone(), source })
            }
        }
    }
}

/// Tells about the end of a process.
struct Watcher {
    name: String,
    log: PathBuf,
    told_to_end: Arc<AtomicBool>,
}

impl Watcher {
    async fn report(&self, status: &io::Result<ExitStatus>, exits: &ExitSender) {
        if self.told_to_end.load(Ordering::SeqCst) {
            return;
        }
        let status = match status {
            Ok(status) => status.to_string(),
            Err(error) => format!("unknown: {error}"),
        };
        let exited = ExitedProcess { name: self.name.clone(), status, tail: tail(&self.log), log: self.log.clone() };
        // The mesh may be gone, and with it everybody who would care.
        drop(exits.send(exited).await);
    }
}

fn in_words(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "status unknown".to_owned(), |status| status.to_string())
}

/// The last lines of a log; what cannot be read is empty.
pub(crate) fn tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        let start = length.saturating_sub(TAIL_MAX);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(TAIL_MAX).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        // A line whose beginning is cut off says little.
        let whole = if start == 0 { text.as_ref() } else { text.split_once('\n').map_or("", |(_, rest)| rest) };
        Ok(whole.trim_end().to_owned())
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{TAIL_MAX, tail};

    #[test]
    fn tail_has_whole_lines_only() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::write(&log, "one\ntwo\n").unwrap();
        assert_eq!(tail(&log), "one\ntwo");
        let long = usize::try_from(TAIL_MAX).unwrap();
        fs::write(&log, format!("{}\nlast\n", "x".repeat(long))).unwrap();
        assert_eq!(tail(&log), "last");
        assert_eq!(tail(Path::new("/nonexistent")), "");
    }
}
