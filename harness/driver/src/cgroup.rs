//! cgroup v2 directories: emptying and removing them. The hierarchy is only used to own processes and to attach BPF
//! programs; no controller is enabled, so processes may sit at any level (cgroup-v2.rst, "No Internal Process
//! Constraint").

use std::{
    fs::{self, File},
    io::{self, Read, Seek},
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::error::{Act, SystemError};

/// How long killed processes may take to go. They get no say in it, but a loaded machine must still schedule each of
/// them once, and one may sit in a system call that cannot be interrupted.
const EMPTY_DEADLINE: Duration = Duration::from_secs(10);
/// How long processes may take to stop. One that waits for a disk stops afterwards.
const FREEZE_DEADLINE: Duration = Duration::from_secs(10);
/// Longest wait for one event of a cgroup, in milliseconds. Events are not lost, so this only bounds the harm of a kernel that forgets one.
const EVENT_WAIT_MS: u8 = 100;

/// The files that exist only while there is nothing in between: absent is as good as removed.
fn absent_is_done(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        other => other,
    }
}

/// Kills every process in `cgroup` and below it and waits until they are gone.
pub(crate) fn kill_all(cgroup: &Path) -> Result<(), SystemError> {
    let act = || format!("kill the processes of cgroup `{}`", cgroup.display());
    let mut events = match File::open(cgroup.join("cgroup.events")) {
        Ok(events) => events,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).act(act),
    };
    let deadline = Instant::now() + EMPTY_DEADLINE;
    let at_once = kill_at_once(cgroup).act(act)?;
    while is_populated(&mut events).act(act)? {
        if Instant::now() >= deadline {
            return Err(io::Error::from(io::ErrorKind::TimedOut)).act(act);
        }
        // Without `cgroup.kill` a process can fork faster than it is found: look again until there is none.
        if !at_once {
            kill_one_by_one(cgroup).act(act)?;
        }
        wait_for_event(&events).act(act)?;
    }
    Ok(())
}

/// Uses `cgroup.kill` (Linux 5.14). Returns whether the kernel has it.
fn kill_at_once(cgroup: &Path) -> io::Result<bool> {
    let file = cgroup.join("cgroup.kill");
    if !file.exists() {
        return Ok(false);
    }
    absent_is_done(fs::write(file, "1")).map(|()| true)
}

fn kill_one_by_one(cgroup: &Path) -> io::Result<()> {
    for directory in bottom_up(cgroup)? {
        for pid in processes(&directory)? {
            // The number was read a moment ago from a cgroup that only this run uses; 5.4 to 5.13 kernels, the only
            // ones that get here, would need a pidfd and a second look to be entirely sure.
            match kill(pid, Signal::SIGKILL) {
                Ok(()) | Err(nix::Error::ESRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Stops every process in `cgroup` and below it, or lets them go on, and waits until the kernel says that it is so.
/// Returns the number of processes in there. Blocks.
pub(crate) fn set_frozen(cgroup: &Path, frozen: Frost) -> Result<usize, SystemError> {
    let (value, wanted) = match frozen {
        Frost::Frozen => ("1", "frozen 1"),
        Frost::Thawed => ("0", "frozen 0"),
    };
    let act = || format!("make cgroup `{}` `{wanted}`", cgroup.display());
    let mut events = File::open(cgroup.join("cgroup.events")).act(act)?;
    fs::write(cgroup.join("cgroup.freeze"), value).act(act)?;
    let deadline = Instant::now() + FREEZE_DEADLINE;
    while !says(&mut events, wanted).act(act)? {
        if Instant::now() >= deadline {
            return Err(io::Error::from(io::ErrorKind::TimedOut)).act(act);
        }
        wait_for_event(&events).act(act)?;
    }
    all_processes(cgroup).map(|pids| pids.len()).act(act)
}

/// Whether the processes of a cgroup run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frost {
    /// They are stopped, whatever they do.
    Frozen,
    /// They run.
    Thawed,
}

/// Processes of `cgroup` and below it.
pub(crate) fn all_processes(cgroup: &Path) -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for directory in bottom_up(cgroup)? {
        pids.extend(processes(&directory)?.into_iter().filter_map(|pid| u32::try_from(pid.as_raw()).ok()));
    }
    Ok(pids)
}

/// Waits until the kernel has something new to say in `events`, or a little while.
fn wait_for_event(events: &File) -> io::Result<()> {
    let mut changed = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
    match poll(&mut changed, PollTimeout::from(EVENT_WAIT_MS)) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Processes of exactly this cgroup. Zombies are not listed.
fn processes(cgroup: &Path) -> io::Result<Vec<Pid>> {
    let mut text = String::new();
    absent_is_done(
        File::open(cgroup.join("cgroup.procs")).and_then(|mut file| file.read_to_string(&mut text)).map(drop),
    )?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw).collect())
}

fn is_populated(events: &mut File) -> io::Result<bool> {
    says(events, "populated 1")
}

/// Whether `events` has the line `wanted`.
fn says(events: &mut File, wanted: &str) -> io::Result<bool> {
    let mut text = String::new();
    events.rewind()?;
    absent_is_done(events.read_to_string(&mut text).map(drop))?;
    Ok(text.lines().any(|line| line == wanted))
}

/// Removes `cgroup` and everything below it. There must be no processes in it.
pub(crate) fn remove(cgroup: &Path) -> Result<(), SystemError> {
    let directories = bottom_up(cgroup).act(|| format!("list cgroup `{}`", cgroup.display()))?;
    for directory in directories {
        absent_is_done(fs::remove_dir(&directory)).act(|| format!("remove cgroup `{}`", directory.display()))?;
    }
    Ok(())
}

/// `cgroup` and the cgroups below it, children before parents; empty if it does not exist.
pub(crate) fn bottom_up(cgroup: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(cgroup) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut directories = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            directories.extend(bottom_up(&entry.path())?);
        }
    }
    directories.push(cgroup.to_owned());
    Ok(directories)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{bottom_up, kill_all, remove};

    #[test]
    fn children_come_first() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("a/b")).unwrap();
        fs::write(directory.path().join("a/file"), "").unwrap();
        let names: Vec<_> = bottom_up(&directory.path().join("a")).unwrap();
        assert_eq!(names, [directory.path().join("a/b"), directory.path().join("a")]);
    }

    #[test]
    fn absent_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let absent = directory.path().join("absent");
        kill_all(&absent).unwrap();
        remove(&absent).unwrap();
    }
}
