//! What a mesh takes of the machine.
//!
//! Memory is counted where it is, not by cgroup: many machines have no memory controller in their v2 hierarchy. It is the
//! sum of what the run's processes have for themselves or share (PSS), what is in the run's tmpfs (etcd's database, the
//! API's, logs, certificates) and what the pinned BPF maps lock. Pages of the tmpfs that processes have mapped, as etcd
//! does with its database, count once, as tmpfs.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd},
    path::Path,
};

use aya::maps::MapData;
use meshbed_driver::RunState;
use nix::sys::statvfs::statvfs;

use crate::maps::PIN_FOLDER;

/// Bytes of a kibibyte, the unit of `/proc`.
pub(super) const KIB: u64 = 1024;

/// See the module. Memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processes of the run, pods included.
    pub processes: usize,
    /// Their proportional set size without shared memory files.
    pub pss: u64,
    /// What is used of the run's tmpfs.
    pub tmpfs: u64,
    /// What the pinned BPF maps of all nodes lock.
    pub bpf: u64,
}

impl Usage {
    /// All memory together.
    pub fn memory(&self) -> u64 {
        self.pss + self.tmpfs + self.bpf
    }

    /// Looks at a run. Processes that end meanwhile are left out.
    pub(super) fn of(state: &RunState) -> io::Result<Self> {
        let pids = processes(&state.cgroup)?;
        let tmpfs = statvfs(&state.run_dir)?;
        let nodes = state.clusters.iter().flat_map(|cluster| &cluster.nodes);
        Ok(Self {
            processes: pids.len(),
            pss: pids.iter().filter_map(|pid| pss(*pid)).sum(),
            tmpfs: (tmpfs.blocks() - tmpfs.blocks_free()) * tmpfs.fragment_size(),
            bpf: nodes.map(|node| pinned(&node.bpf_root.join(PIN_FOLDER))).sum(),
        })
    }
}

/// Processes of a cgroup and of those below it.
fn processes(cgroup: &Path) -> io::Result<Vec<u32>> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs"))?;
    let mut pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for entry in fs::read_dir(cgroup)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            pids.extend(processes(&entry.path())?);
        }
    }
    Ok(pids)
}

/// Bytes of a process; `None` when it is gone.
fn pss(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let shared = field(&text, "Pss_Shmem:").unwrap_or(0);
    Some(field(&text, "Pss:")?.saturating_sub(shared) * KIB)
}

/// What all maps pinned in a folder lock.
fn pinned(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| locked(&entry.path())).sum()
}

fn locked(pin: &Path) -> Option<u64> {
    let map = MapData::from_pin(pin).ok()?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd())).ok()?;
    field(&info, "memlock:")
}

/// The first number behind `name`.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "Pss_Dirty:  7 kB\nPss:    12 kB\nPss_Shmem:   3 kB\n";
        assert_eq!((field(text, "Pss:"), field(text, "Pss_Shmem:"), field(text, "Rss:")), (Some(12), Some(3), None));
    }

    #[test]
    fn this_process_has_memory() {
        assert!(pss(std::process::id()).is_some_and(|bytes| bytes > 0));
    }
}
