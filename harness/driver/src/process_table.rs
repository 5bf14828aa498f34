//! Reading `/proc/<pid>`.

use std::{fs, io, path::Path};

use crate::error::{Act, SystemError};

/// What is worth knowing of `/proc/<pid>/stat` (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Ended, but not yet waited for.
    pub(crate) zombie: bool,
    /// Start in clock ticks since boot.
    pub(crate) start_ticks: u64,
}

/// Position of `starttime` behind the command name: field 22, and the name is field 2.
const START_TICKS_AFTER_NAME: usize = 19;

/// Reads the state of process `pid`.
pub(crate) fn stat(pid: u32) -> io::Result<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unexpected format"))
}

/// Start of process `pid` in clock ticks since boot.
pub(crate) fn start_ticks(pid: u32) -> Result<u64, SystemError> {
    Ok(stat(pid).act(|| format!("read `/proc/{pid}/stat`"))?.start_ticks)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name may contain anything, also `)`; nothing behind it does.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    let start_ticks = fields.nth(START_TICKS_AFTER_NAME - 1)?.parse().ok()?;
    Some(Stat { zombie, start_ticks })
}

/// States of all threads of process `pid` (the letters of `ps`), in no order.
pub(crate) fn thread_states(pid: u32) -> io::Result<Vec<char>> {
    let mut states = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        match fs::read_to_string(entry?.path().join("stat")) {
            Ok(text) => states.extend(parse_state(&text)),
            // The thread ended meanwhile (proc(5) says ESRCH between open and read).
            Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(states)
}

fn parse_state(stat: &str) -> Option<char> {
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Numbers of all processes.
pub(crate) fn pids() -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        if let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

/// Path of the process's cgroup v2, relative to the root of the hierarchy. `None` if the process is gone.
pub(crate) fn cgroup(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// Name of the program that the process runs, for messages.
pub(crate) fn command_name(pid: u32) -> String {
    let name = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Stat, parse_stat, stat, thread_states};

    #[test]
    fn name_with_parenthesis() {
        let text = "42 (a) b (c)) Z 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
        assert_eq!(parse_stat(text), Some(Stat { zombie: true, start_ticks: 777 }));
        assert_eq!(parse_stat("garbage"), None);
    }

    #[test]
    fn own_threads() {
        let states = thread_states(std::process::id()).unwrap();
        assert!(states.contains(&'R'), "the thread that looks runs: {states:?}");
        assert!(thread_states(u32::MAX).is_err());
    }

    #[test]
    fn own_process() {
        let own = stat(std::process::id()).unwrap();
        assert!(!own.zombie && own.start_ticks > 0);
        assert!(stat(u32::MAX).is_err());
    }
}
