//! A guest that runs: started, listened to, and ended, with a verdict on how it ended.

use std::{
    fs,
    io::Write,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    process::{Child, Command},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Accelerator, Cache, VmError,
    console::{self, Death},
    content::INIT,
    nic::{Inherited, NICS_MAX, Nic},
    protocol::{Decoder, Frame, Hello},
    qemu::{KVM_FAILS, Machine, MachineNic, QEMU},
};

/// How often the emulator may make a kernel panic before the job began until that counts (see [`End::is_emulators`]; `sched_clock_cpu`
/// is where it happens, in one boot of some twenty with Linux 6.12 and QEMU 7.2).
const BOOT_PANICS_MAX: usize = 3;
/// How long a guest may take until PID 1 speaks. Plain emulation on a busy machine takes a sixth of it.
const BOOT_MAX: Duration = Duration::from_secs(120);
/// How long KVM may take for the same: it boots in a second or not at all.
const BOOT_MAX_KVM: Duration = Duration::from_secs(20);
/// PID 1 says every second that it lives. Nothing for so long, times the slowness of the guest, is a hang.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Time for QEMU to end by itself after the guest has powered off.
const END_MAX: Duration = Duration::from_secs(20);
/// File for what the kernel says.
const CONSOLE: &str = "console.log";
/// File for what QEMU says.
const QEMU_LOG: &str = "qemu.log";
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// What a guest is started with.
#[derive(Clone, Debug)]
pub struct GuestOptions {
    /// The kernel's image.
    pub image: PathBuf,
    /// Its first file system, see [`crate::initramfs`].
    pub initramfs: Vec<u8>,
    /// Processors.
    pub cpus: usize,
    /// Memory in MiB.
    pub memory_mib: usize,
    /// A folder for the logs of the console and of QEMU; it exists.
    pub folder: PathBuf,
    /// Its network interfaces, [`NICS_MAX`] at most; it has no network without.
    pub nics: Vec<Nic>,
}

/// What a guest says while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It has booted, so long after QEMU was started.
    Hello(Hello, Accelerator, Duration),
    /// The job wrote to its standard output.
    Stdout(Vec<u8>),
    /// The job wrote to its standard error.
    Stderr(Vec<u8>),
    /// A file of the job.
    File(PathBuf, Vec<u8>),
    /// Something that is no part of the job went wrong.
    Trouble(String),
}

/// How a guest ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The job ended with this exit code, or `128 + signal`.
    Exited(i32),
    /// The kernel panicked.
    Panicked {
        /// Its reason.
        why: String,
        /// What the console said around it.
        lines: Vec<String>,
    },
    /// Memory was full.
    OutOfMemory {
        /// What the kernel said.
        line: String,
    },
    /// It said nothing for so long.
    Hung {
        /// How long was waited.
        waited: Duration,
    },
    /// It ended in another way.
    Gone {
        /// What QEMU said last.
        why: String,
    },
    /// We were interrupted and the guest with us.
    Interrupted,
}

impl End {
    /// Whether the emulator made it and not the kernel: with several processors QEMU's plain emulation now and then executes what
    /// another processor has patched since, and the kernel finds a breakpoint of its own that it has taken back.
    pub fn is_emulators(&self) -> bool {
        matches!(self, Self::Panicked { why, .. } if why.contains("int3: 0000"))
    }
}

/// Boots a guest and tells `on` what it says until it ends. KVM is tried where it is there; when it runs no guests, that is
/// told, remembered, and emulation used.
///
/// # Errors
///
/// When QEMU cannot be started, or the guest has too many network interfaces.
pub async fn run(
    cache: &Cache,
    options: &GuestOptions,
    interrupt: CancellationToken,
    mut on: impl FnMut(Said),
) -> Result<End, VmError> {
    if options.nics.len() > NICS_MAX {
        let why = format!("{} network interfaces, a guest has room for {NICS_MAX}", options.nics.len());
        return Err(VmError::NoGuest(why));
    }
    let mut accelerator = Accelerator::of_machine(cache);
    let mut panics_left = BOOT_PANICS_MAX;
    loop {
        let started = tokio::select! {
            () = interrupt.cancelled() => return Ok(End::Interrupted),
            started = Running::start(options, accelerator) => started,
        };
        match started {
            Ok((running, hello)) => return running.follow(hello, interrupt, &mut on).await,
            Err(error) if accelerator == Accelerator::Kvm => {
                on(Said::Trouble(format!("KVM runs no guests on this machine ({error}); using plain emulation")));
                // Remembering only saves time.
                drop(cache.learn(KVM_FAILS));
                accelerator = Accelerator::Emulation;
            }
            Err(NotBooted::Ended(end)) if end.is_emulators() && panics_left > 0 => {
                panics_left -= 1;
                on(Said::Trouble("the emulator made the kernel panic while it booted; once more".to_owned()));
            }
            Err(NotBooted::Ended(end)) => return Ok(end),
            Err(NotBooted::Error(error)) => return Err(error),
        }
    }
}

/// A QEMU and the connection with its guest.
struct Running {
    qemu: Child,
    stream: UnixStream,
    decoder: Decoder,
    /// For what the kernel and QEMU say.
    folder: PathBuf,
    begun: Instant,
    accelerator: Accelerator,
}

/// Why a guest never spoke.
#[derive(Debug, thiserror::Error)]
enum NotBooted {
    #[error(transparent)]
    Error(#[from] VmError),
    #[error("the guest did not boot: {0:?}")]
    Ended(End),
}

impl Running {
    async fn start(options: &GuestOptions, accelerator: Accelerator) -> Result<(Self, Hello), NotBooted> {
        let socket = Socket::free();
        let listener = socket.listen()?;
        let memory = in_memory(&options.initramfs)?;
        let cables: Vec<Inherited> = options.nics.iter().map(Inherited::of).collect::<Result<_, _>>()?;
        let machine = Machine {
            accelerator,
            cpus: options.cpus,
            memory_mib: options.memory_mib,
            image: options.image.clone(),
            initramfs: PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd())),
            init: INIT.to_owned(),
            console: options.folder.join(CONSOLE),
            socket: socket.0.clone(),
            nics: plugged(&options.nics, &cables),
        };
        let begun = Instant::now();
        let log = options.folder.join(QEMU_LOG);
        let errors = fs::File::create(&log).map_err(VmError::io(format!("make `{}`", log.display())))?;
        let mut qemu = Command::new(QEMU)
            .args(machine.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            // Ctrl-C is for us: we tell the guest.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| VmError::program(QEMU, format!("{error}; Debian package `qemu-system-x86`")))?;
        drop(cables);
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.map_err(VmError::io("take QEMU's connection"))?.0,
            status = qemu.wait() => return Err(NotBooted::Ended(gone(&options.folder, status.ok()))),
        };
        let folder = options.folder.clone();
        let mut running = Self { qemu, stream, decoder: Decoder::default(), folder, begun, accelerator };
        let boot_max = if accelerator == Accelerator::Kvm { BOOT_MAX_KVM } else { BOOT_MAX };
        let hello = tokio::select! {
            frame = timeout(boot_max, running.next()) => frame,
            () = kvm_error(&log), if accelerator == Accelerator::Kvm => {
                return Err(NotBooted::Ended(gone(&options.folder, None)));
            }
        };
        match hello {
            Err(_) => Err(NotBooted::Ended(running.hung(boot_max).await)),
            Ok(Ok(Some(Frame::Hello(hello)))) => Ok((running, hello)),
            Ok(Ok(Some(other))) => Err(VmError::NoGuest(format!("its first words are {other:?}")).into()),
            Ok(Ok(None)) => Err(NotBooted::Ended(running.ended().await)),
            Ok(Err(error)) => Err(error.into()),
        }
    }

    /// Listens until the guest ends.
    async fn follow(
        mut self,
        hello: Hello,
        interrupt: CancellationToken,
        on: &mut impl FnMut(Said),
    ) -> Result<End, VmError> {
        let silence_max = SILENCE_MAX.mul_f64(slowness(&hello));
        on(Said::Hello(hello, self.accelerator, self.begun.elapsed()));
        let mut file: Option<(PathBuf, Vec<u8>)> = None;
        let mut interrupted = false;
        loop {
            let frame = tokio::select! {
                biased;
                () = interrupt.cancelled(), if !interrupted => {
                    interrupted = true;
                    self.signal(nix::libc::SIGINT).await;
                    continue;
                }
                frame = timeout(silence_max, self.next()) => frame,
            };
            let Ok(frame) = frame else { return Ok(self.hung(silence_max).await) };
            let frame = frame?;
            if !matches!(frame, Some(Frame::Data(_)))
                && let Some((path, bytes)) = file.take()
            {
                on(Said::File(path, bytes));
            }
            match frame {
                Some(Frame::Stdout(bytes)) => on(Said::Stdout(bytes)),
                Some(Frame::Stderr(bytes)) => on(Said::Stderr(bytes)),
                Some(Frame::File(path)) => file = Some((path.into(), Vec::new())),
                Some(Frame::Data(bytes)) => {
                    if let Some((_, content)) = &mut file {
                        content.extend_from_slice(&bytes);
                    }
                }
                Some(Frame::Trouble(text)) => on(Said::Trouble(text)),
                Some(Frame::Ended(code)) => return Ok(self.exited(code).await),
                Some(Frame::Alive | Frame::Hello(_) | Frame::Signal(_)) => {}
                None if interrupted => return Ok(End::Interrupted),
                None => return Ok(self.ended().await),
            }
        }
    }

    async fn next(&mut self) -> Result<Option<Frame>, VmError> {
        let mut bytes = vec![0; READ_BYTES];
        loop {
            let frame = self.decoder.frame().map_err(|error| VmError::NoGuest(error.to_string()))?;
            if frame.is_some() {
                return Ok(frame);
            }
            match self.stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return Ok(None),
                Ok(length) => self.decoder.push(&bytes[..length]),
            }
        }
    }

    /// A guest that cannot be told anything is about to end.
    async fn signal(&mut self, number: i32) {
        drop(self.stream.write_all(&Frame::Signal(number).encode()).await);
    }

    /// The job has ended. The guest powers off by itself, or is made to.
    async fn exited(mut self, code: i32) -> End {
        if timeout(END_MAX, self.qemu.wait()).await.is_err() {
            self.kill().await;
        }
        match (code, console::death(&self.console_text())) {
            (0, _) | (_, None | Some(Death::Panic { .. })) => End::Exited(code),
            (_, Some(Death::OutOfMemory { line })) => End::OutOfMemory { line },
        }
    }

    /// The connection has ended without a word.
    async fn ended(mut self) -> End {
        let status = timeout(END_MAX, self.qemu.wait()).await;
        self.kill().await;
        self.died_or(gone(&self.folder, status.ok().and_then(Result::ok)))
    }

    async fn hung(mut self, waited: Duration) -> End {
        self.kill().await;
        self.died_or(End::Hung { waited })
    }

    /// What the console says of the end, or `otherwise`.
    fn died_or(&self, otherwise: End) -> End {
        match console::death(&self.console_text()) {
            Some(Death::Panic { why, lines }) => End::Panicked { why, lines },
            Some(Death::OutOfMemory { line }) => End::OutOfMemory { line },
            None => otherwise,
        }
    }

    /// Kills QEMU; it may be gone already.
    async fn kill(&mut self) {
        drop(self.qemu.kill().await);
    }

    fn console_text(&self) -> String {
        fs::read(self.folder.join(CONSOLE))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

/// The socket that QEMU connects to; its path is removed when it is dropped, whatever became of the guest.
struct Socket(PathBuf);

impl Socket {
    /// A path that is short enough, whatever folder the run has (unix(7): 107 bytes).
    fn free() -> Self {
        static GUESTS: AtomicU32 = AtomicU32::new(0);
        let number = GUESTS.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("meshbed-guest-{}-{number}.sock", std::process::id())))
    }

    fn listen(&self) -> Result<UnixListener, VmError> {
        UnixListener::bind(&self.0).map_err(VmError::io(format!("listen at `{}`", self.0.display())))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // There is none when it could not be bound.
        drop(fs::remove_file(&self.0));
    }
}

/// How many times slower than the host a guest is.
pub fn slowness(hello: &Hello) -> f64 {
    f64::from(u32::try_from(hello.slowness_milli).unwrap_or(u32::MAX)) / 1000.0
}

/// Returns when QEMU has said that KVM does not execute what it should: it stops the guest then and does not end.
async fn kvm_error(log: &Path) {
    const LOOK_EVERY: Duration = Duration::from_millis(100);
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        if fs::read_to_string(log).is_ok_and(|text| text.contains("KVM internal error")) {
            return;
        }
    }
}

fn plugged(nics: &[Nic], cables: &[Inherited]) -> Vec<MachineNic> {
    let both = nics.iter().zip(cables);
    both.map(|(nic, cable)| MachineNic { mac: nic.mac.clone(), socket: cable.number() }).collect()
}

fn gone(folder: &Path, status: Option<ExitStatus>) -> End {
    let said = fs::read_to_string(folder.join(QEMU_LOG)).unwrap_or_default();
    let said = said.lines().next().unwrap_or("QEMU said nothing").to_owned();
    let status = status.map_or_else(String::new, |status| format!(" ({status})"));
    End::Gone { why: format!("{said}{status}") }
}

/// A file without a name that holds `bytes`; QEMU finds it among our descriptors.
fn in_memory(bytes: &[u8]) -> Result<fs::File, VmError> {
    let failed = "keep the first file system in memory";
    let file = memfd_create("initramfs", MFdFlags::MFD_CLOEXEC).map_err(|error| VmError::io(failed)(error.into()))?;
    let mut file = fs::File::from(file);
    file.write_all(bytes).map_err(VmError::io(failed))?;
    Ok(file)
}
