//! What there is of runs on this machine.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    RunId, cgroup,
    error::{Act, SystemError},
    ground::GroundLock,
    layout::{CGROUP_NAME, NETNS_ROOT, RUNS_ROOT, run_dir, run_json, run_of_netns},
    mount_table::MountTable,
    namespace::in_netns,
    process_table,
    state::RunState,
    teardown::namespaces,
};

/// All runs on this machine that have a readable `run.json`, oldest first.
pub fn runs() -> Result<Vec<RunState>, SystemError> {
    // With the lock, no run is between its first directory and its `run.json`.
    let _lock = GroundLock::acquire()?;
    let states = run_directories()?.into_iter().filter_map(|run| RunState::load(&run_json(&run)).ok());
    let mut states: Vec<_> = states.collect();
    states.sort_by(|a, b| (a.started_unix_ms, &a.run).cmp(&(b.started_unix_ms, &b.run)));
    Ok(states)
}

/// The run called `run`, if there is one with a readable `run.json`.
pub fn find_run(run: &RunId) -> Result<Option<RunState>, SystemError> {
    Ok(runs()?.into_iter().find(|state| state.run == *run))
}

/// Leftovers of a run that has no readable `run.json`; [`crate::down`] removes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The run that they are named after.
    pub run: RunId,
    /// What they are.
    pub what: Vec<String>,
}

/// What is on this machine of runs without a readable `run.json`. Runs with one whose harness is gone are not here:
/// see [`RunState::is_abandoned`].
pub fn orphans() -> Result<Vec<Orphan>, SystemError> {
    let _lock = GroundLock::acquire()?;
    let mut found = run_directories()?;
    found.extend(list(Path::new(NETNS_ROOT))?.iter().filter_map(|name| run_of_netns(name)));
    if let Some(root) = MountTable::read()?.cgroup_root() {
        found.extend(list(&root.join(CGROUP_NAME))?.iter().filter_map(|name| name.parse().ok()));
    }
    let mut orphans = Vec::new();
    for run in found {
        let what = leftovers(&run)?;
        if !what.is_empty() && RunState::load(&run_json(&run)).is_err() {
            orphans.push(Orphan { run, what });
        }
    }
    Ok(orphans)
}

/// Names of the runs that have a run directory.
fn run_directories() -> Result<BTreeSet<RunId>, SystemError> {
    Ok(list(Path::new(RUNS_ROOT))?.iter().filter_map(|name| name.parse().ok()).collect())
}

fn list(directory: &Path) -> Result<Vec<String>, SystemError> {
    let act = || format!("list `{}`", directory.display());
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.act(act)?,
    };
    entries.map(|entry| Ok(entry.act(act)?.file_name().to_string_lossy().into_owned())).collect()
}

/// Names everything of `run` that is still there: processes, namespaces and the links in them, mounts, BPF pins,
/// cgroups and the run directory. Empty means that the machine is as it was.
pub fn leftovers(run: &RunId) -> Result<Vec<String>, SystemError> {
    let mounts = MountTable::read()?;
    let mut found = processes(run)?;
    for path in namespaces(run)? {
        found.push(format!("namespace {}", path.display()));
        // A pin that was cut off before its mount is a plain file that nobody can enter.
        let links = in_netns(&path, || fs::read_to_string("/proc/thread-self/net/dev")).unwrap_or_default();
        found.extend(link_names(&links).map(|link| format!("link {link} in {}", path.display())));
    }
    let directory = run_dir(run);
    let points = mounts.below(&directory);
    for point in &points {
        found.push(format!("mount {}", point.display()));
        if mounts.at(point).is_some_and(|mount| mount.file_system == "bpf") {
            found.extend(files_below(point).into_iter().map(|pin| format!("pin {}", pin.display())));
        }
    }
    if let Some(root) = mounts.cgroup_root() {
        let act = || "list cgroups".to_owned();
        let cgroups = cgroup::bottom_up(&root.join(CGROUP_NAME).join(run.as_str())).act(act)?;
        found.extend(cgroups.into_iter().map(|cgroup| format!("cgroup {}", cgroup.display())));
    }
    if directory.exists() {
        found.push(format!("directory {}", directory.display()));
    }
    Ok(found)
}

/// Living processes in the run's cgroups. All of its processes are, pods included.
fn processes(run: &RunId) -> Result<Vec<String>, SystemError> {
    let mut found = Vec::new();
    for pid in process_table::pids().act(|| "list `/proc`".to_owned())? {
        let ours = process_table::cgroup(pid).is_some_and(|cgroup| is_cgroup_of(&cgroup, run));
        if ours && process_table::stat(pid).is_ok_and(|stat| !stat.zombie) {
            found.push(format!("process {pid} ({})", process_table::command_name(pid)));
        }
    }
    Ok(found)
}

fn is_cgroup_of(cgroup: &str, run: &RunId) -> bool {
    let mut names = cgroup.split('/').skip_while(|name| *name != CGROUP_NAME).skip(1);
    names.next().is_some_and(|name| name == run.as_str())
}

/// Interfaces other than `lo` in a `/proc/net/dev`.
fn link_names(table: &str) -> impl Iterator<Item = &str> {
    let names = table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim()));
    names.filter(|name| *name != "lo")
}

/// Files in a bpffs; directories that vanish meanwhile have none.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::{is_cgroup_of, link_names};

    #[test]
    fn cgroups_of_a_run() {
        let run = "k3f9x2".parse().unwrap();
        assert!(is_cgroup_of("/meshbed/k3f9x2/alpha/alpha-1/pods/x", &run));
        assert!(is_cgroup_of("/docker/abc/meshbed/k3f9x2", &run), "within a container");
        assert!(!is_cgroup_of("/meshbed/k3f9x3/alpha", &run));
        assert!(!is_cgroup_of("/meshbed", &run));
        assert!(!is_cgroup_of("/k3f9x2", &run));
    }

    #[test]
    fn links_of_a_namespace() {
        let table = "Inter-| Receive\n face |bytes\n    lo:  0 0\n  eth0: 1 2\nlxc0a1b2c3d: 3 4\n";
        assert_eq!(link_names(table).collect::<Vec<_>>(), ["eth0", "lxc0a1b2c3d"]);
    }
}
