//! `mesh-agent` as a process.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Far above what is ever needed.
const DEADLINE: Duration = Duration::from_secs(30);

/// A running `mesh-agent`; killed when dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Starts one that writes its log to `folder`, and waits until it says that it is ready.
    pub(crate) async fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_command(folder, command(arguments)).await
    }

    /// The same with a planted defect.
    #[cfg(feature = "planted-defects")]
    pub(crate) async fn start_planted(folder: &Path, arguments: &[&str], defect: &str) -> Self {
        let mut command = command_of(env!("CARGO_BIN_EXE_mesh-agent-planted"), arguments);
        command.env("MESH_AGENT_DEFECT", defect);
        Self::start_command(folder, command).await
    }

    async fn start_command(folder: &Path, mut command: Command) -> Self {
        let notify = folder.join("notify");
        // Left over from a process before, if any.
        drop(fs::remove_file(&notify));
        let socket = UnixDatagram::bind(&notify).expect("bound");
        socket.set_nonblocking(true).expect("non-blocking");
        let socket = tokio::net::UnixDatagram::from_std(socket).expect("registered");
        let log = fs::File::create(folder.join("log")).expect("log file");
        let child = command
            .env("NOTIFY_SOCKET", &notify)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log file"))
            .stderr(log)
            .spawn()
            .expect("started");
        let process = Self(child);
        let mut message = [0; 64];
        let length = tokio::time::timeout(DEADLINE, socket.recv(&mut message)).await;
        let Ok(length) = length else {
            panic!("not ready:\n{}", fs::read_to_string(folder.join("log")).unwrap_or_default());
        };
        assert_eq!(&message[..length.expect("received")], b"READY=1");
        process
    }

    /// Asks for an orderly end and waits for it.
    pub(crate) fn terminate(mut self) {
        let pid = i32::try_from(self.0.id()).expect("a process ID");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("signalled");
        let status = self.0.wait().expect("waited for");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone after `terminate`.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs one to its end.
pub(crate) fn output(arguments: &[&str]) -> Output {
    command(arguments).output().expect("started")
}

fn command(arguments: &[&str]) -> Command {
    command_of(env!("CARGO_BIN_EXE_mesh-agent"), arguments)
}

fn command_of(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env("RUST_LOG", "info,mesh_agent=debug,mesh_kvstore=debug");
    command
}
