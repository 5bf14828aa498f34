//! Runs the program and looks at what it leaves on the machine.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Where the folders of runs are.
const RUNS: &str = "/run/meshbed";
/// Time between two looks at what nobody tells.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long the kernel may take to remove what belonged to namespaces that are gone.
const LEFT_MAX: Duration = Duration::from_secs(5);

/// Folder of the project.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The program, run from the project's folder; reports go below `reports`.
pub(crate) fn meshbed() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshbed"));
    command.current_dir(project()).env_remove("RUST_LOG").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// A program that cargo built beside `meshbed`.
pub(crate) fn beside(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_meshbed")).with_file_name(name);
    assert!(path.is_file(), "`{}` is missing: `just test-root` builds it", path.display());
    path
}

/// Says why and returns true when the tests of meshes cannot run.
pub(crate) fn skip() -> bool {
    let skip = !nix::unistd::Uid::effective().is_root();
    if skip {
        eprintln!("skipped: bringing up a mesh needs root");
    }
    skip
}

/// stdout and stderr of a finished program, for messages.
pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}\n----- stdout -----\n{}\n----- stderr -----\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Takes the mesh down however the test ends.
pub(crate) struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        let output = meshbed().arg("down").output().expect("meshbed runs");
        assert!(output.status.success() || std::thread::panicking(), "{}", text(&output));
    }
}

/// What a program says, which must end well.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Folder of the mesh that is up.
pub(crate) fn run_folder() -> PathBuf {
    let runs = fs::read_dir(RUNS).expect("the mesh is up");
    runs.flatten().next().expect("there is one run").path()
}

/// Looks until there is nothing to complain about, and fails when that takes too long.
pub(crate) fn wait_for_none<T: AsRef<str>, L: IntoIterator<Item = T>>(within: Duration, mut look: impl FnMut() -> L) {
    let deadline = Instant::now() + within;
    loop {
        let left: Vec<T> = look().into_iter().collect();
        if left.is_empty() {
            return;
        }
        let texts: Vec<&str> = left.iter().map(AsRef::as_ref).collect();
        assert!(Instant::now() < deadline, "after {within:?} there is still:\n{}", texts.join("\n"));
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// A run in progress.
pub(crate) struct Running {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    said: String,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("meshbed starts");
        let stderr = BufReader::new(child.stderr.take().expect("it was piped"));
        Self { child, stderr, said: String::new() }
    }

    /// Reads its live output until a line contains `what`.
    pub(crate) fn until(&mut self, what: &str) {
        loop {
            let mut line = String::new();
            let read = self.stderr.read_line(&mut line).expect("stderr is readable");
            assert!(read > 0, "it ended before it said `{what}`:\n{}", self.said);
            self.said.push_str(&line);
            if line.contains(what) {
                return;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a PID fits")), signal).expect("it is running");
    }

    /// Waits for its end and returns the exit code, if it was not killed.
    pub(crate) fn end(mut self) -> Option<i32> {
        let mut rest = String::new();
        // Reading to the end keeps the pipe from filling up.
        while self.stderr.read_line(&mut rest).expect("stderr is readable") > 0 {}
        self.child.wait().expect("it can be waited for").code()
    }
}

/// What looked like a mesh's on this machine when a test began. Another mesh may be up, or may have been abandoned by
/// whoever was ended with its machine: a test answers for its own only.
pub(crate) struct Machine(BTreeSet<String>);

impl Machine {
    pub(crate) fn now() -> Self {
        Self(belongings())
    }

    /// What there is now and was not then.
    pub(crate) fn more(&self) -> BTreeSet<String> {
        belongings().difference(&self.0).cloned().collect()
    }

    /// Fails with everything that is left. The kernel removes links of a dead namespace a moment later: that much is
    /// waited for.
    pub(crate) fn assert_as_before(&self) {
        wait_for_none(LEFT_MAX, || self.more());
    }
}

/// Everything on this machine that looks like a mesh's: namespaces, mounts, cgroups, processes, run folders, links.
fn belongings() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in entries(Path::new("/run/netns")) {
        if entry.starts_with("mb-") {
            found.insert(format!("namespace {entry}"));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mounts").expect("the mount table is readable");
    found.extend(mounts.lines().filter(|line| line.contains(RUNS)).map(|line| format!("mount {line}")));
    for mount in mounts.lines().filter(|line| line.split(' ').nth(2) == Some("cgroup2")) {
        let root = Path::new(mount.split(' ').nth(1).expect("a mount has a target")).join("meshbed");
        found.extend(entries(&root).into_iter().map(|name| format!("cgroup {}/{name}", root.display())));
    }
    found.extend(entries(Path::new(RUNS)).into_iter().map(|name| format!("run folder {name}")));
    for link in entries(Path::new("/sys/class/net")) {
        if link.starts_with("lxc") || link.starts_with("mb-") {
            found.insert(format!("link {link}"));
        }
    }
    for pid in entries(Path::new("/proc")).into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains("/run/meshbed/") || command.contains("meshbed-pod") {
            found.insert(format!("process {pid} {command}"));
        }
    }
    found
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
