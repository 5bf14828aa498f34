//! Cgroups (v2) of pods: one a pod, and in it one a container, which is the one thing that knows every process of the
//! container. What others start in the pod (`meshbed exec`, probe clients) is in the pod's own and outlives containers.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::{Instant, sleep_until};

/// How long killed processes may take to be gone. It takes milliseconds, unless the kernel hangs.
const EMPTY_DEADLINE: Duration = Duration::from_secs(5);
/// First and longest pause between two looks at a cgroup that is not empty yet: the kernel's own notice of an empty
/// cgroup may come 10 ms late, so looking is faster.
const LOOK_FIRST: Duration = Duration::from_micros(250);
const LOOK_LONGEST: Duration = Duration::from_millis(10);

/// A cgroup could not be made or removed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {act} cgroup `{}`", path.display())]
pub(crate) struct CgroupError {
    act: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The cgroup of a container, below its pod's.
pub(crate) fn of_container(pod: &Path, container: &str) -> PathBuf {
    // Names of containers are DNS labels, and the kernel's own files have a dot in theirs.
    pod.join(container)
}

/// Makes a cgroup; one that is there is fine.
pub(crate) fn make(path: &Path) -> Result<(), CgroupError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map_err(error("make", path)),
    }
}

/// Kills every process in the cgroup and below, frozen ones too, and removes it with those below once they are gone.
/// One that is not there is fine.
pub(crate) async fn remove(path: &Path) -> Result<(), CgroupError> {
    let deadline = Instant::now() + EMPTY_DEADLINE;
    let mut pause = LOOK_FIRST;
    loop {
        match remove_empty(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(busy) if busy.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {}
            Err(source) => return Err(error("remove", path)(source)),
        }
        // Again and again: without `cgroup.kill`, a process may have started another one meanwhile.
        kill_all(path).map_err(error("kill the processes of", path))?;
        sleep_until(Instant::now() + pause).await;
        pause = (pause * 2).min(LOOK_LONGEST);
    }
}

/// Removes a cgroup and those below, leaves first.
fn remove_empty(path: &Path) -> io::Result<()> {
    for child in children(path)? {
        remove_empty(&child)?;
    }
    fs::remove_dir(path)
}

fn children(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut children = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            children.push(entry.path());
        }
    }
    Ok(children)
}

fn kill_all(path: &Path) -> io::Result<()> {
    match fs::write(path.join("cgroup.kill"), "1") {
        // Kernels before 5.14 do not have the file.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {}
        result => return result,
    }
    for child in children(path)? {
        kill_all(&child)?;
    }
    for line in fs::read_to_string(path.join("cgroup.procs"))?.lines() {
        let Ok(pid) = line.parse() else { continue };
        match kill(Pid::from_raw(pid), Signal::SIGKILL) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn error(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_owned();
    move |source| CgroupError { act, path, source }
}
