//! Can this machine run a mesh? Asked before anything is made; every finding at once.
#![expect(unsafe_code, reason = "there is no safe way to ask the kernel for bpf(2)")]

use std::{
    fs, io,
    os::fd::{FromRawFd, OwnedFd},
    path::{Path, PathBuf},
    thread,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use meshbed_scenario::{AgentSpec, Placeholder, Template};

use crate::{Programs, mount_table::MountTable};

/// Something that this machine lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What, such as `bpf(2)`.
    pub what: String,
    /// What it is needed for.
    pub why: String,
    /// How to get it, or what the kernel said.
    pub how: String,
}

impl Missing {
    fn new(what: impl Into<String>, why: impl Into<String>, how: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), how: how.into() }
    }
}

/// Something that works or tells why not.
type Attempt = fn() -> io::Result<()>;

/// Everything that this machine lacks; empty when a mesh can be brought up. Leaves no trace.
pub fn preflight(programs: &Programs) -> Vec<Missing> {
    let mut missing = Vec::new();
    missing.extend(programs.all().into_iter().filter(|program| !is_executable(program)).map(missing_program));
    if let Some(lacking) = missing_capabilities() {
        // Without them every check below fails for the same reason.
        missing.push(lacking);
        return missing;
    }
    missing.extend(try_cgroup());
    let tries: [(&str, &str, Attempt); 3] = [
        ("network namespaces", "every node and pod is one", || Ok(unshare(CloneFlags::CLONE_NEWNET)?)),
        ("mountable bpffs", "agents pin their maps in it", try_bpffs),
        ("bpf(2)", "agents load programs and maps with it", try_bpf),
    ];
    for (what, why, attempt) in tries {
        if let Err(error) = on_thread(attempt) {
            missing.push(Missing::new(what, why, format!("the kernel refused it: {error}")));
        }
    }
    missing
}

/// What this machine lacks of `agent` and of what it needs; empty when it can be started.
pub fn agent_preflight(agent: &AgentSpec, programs: &Programs) -> Vec<Missing> {
    let bin_dir = programs.bin_dir().to_string_lossy();
    let in_folder = |template: &Template| PathBuf::from(template.render(|_| bin_dir.to_string()));
    let how = format!("put it into `{bin_dir}`, or name the folder that has it with --agent-bin-dir");
    let lacking = |what: String| Missing::new(what, format!("agent `{}` needs it", agent.name()), how.clone());
    let mut missing = Vec::new();
    for program in agent_programs(agent, programs) {
        if !is_executable(&program) {
            missing.push(lacking(format!("program `{}`", program.display())));
        }
    }
    for path in agent.needs().files.iter().map(in_folder).filter(|path| !path.exists()) {
        missing.push(lacking(format!("`{}`", path.display())));
    }
    if let Some(crds) = &agent.needs().crds {
        let folder = in_folder(&crds.folder);
        let absent = absent_crds(&folder, &crds.names);
        if !absent.is_empty() {
            let what = format!("CustomResourceDefinitions in `{}`: {}", folder.display(), absent.join(", "));
            missing.push(lacking(what));
        }
    }
    missing
}

/// The programs that `agent` runs or needs, as far as they can be known before there is a run.
pub fn agent_programs(agent: &AgentSpec, programs: &Programs) -> Vec<PathBuf> {
    let bin_dir = programs.bin_dir().to_string_lossy();
    let roles = [Some(agent.node()), agent.exporter(), agent.setup()].into_iter().flatten();
    // Only `{binDir}` can be known before there is a run; a program named by anything else is found when it starts.
    let names =
        roles.map(|role| &role.command()[0]).filter(|name| name.placeholders().all(|p| p == Placeholder::BinDir));
    let mut wanted: Vec<String> = names.map(|name| name.render(|_| bin_dir.to_string())).collect();
    wanted.extend(agent.needs().programs.iter().cloned());
    wanted.sort();
    wanted.dedup();
    wanted.iter().map(|name| programs.find(name)).collect()
}

/// Those of the CustomResourceDefinitions called `names` that no file of `folder` names.
fn absent_crds(folder: &Path, names: &[String]) -> Vec<String> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let texts: Vec<String> = files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect();
    let is_named = |name: &str| {
        let line = format!("name: {name}");
        texts.iter().flat_map(|text| text.lines()).any(|found| found.trim() == line)
    };
    names.iter().filter(|name| !is_named(name)).cloned().collect()
}

fn missing_program(path: &Path) -> Missing {
    let what = format!("program `{}`", path.display());
    if path.file_name().is_some_and(|name| name == "etcd") {
        Missing::new(what, "it is the kvstore of every cluster", "apt-get install etcd-server")
    } else {
        Missing::new(what, "it is a part of every mesh", "build it: cargo build --workspace --bins")
    }
}

fn is_executable(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok() && path.is_file()
}

/// Capabilities that everything here rests on: number and name (capabilities(7)).
const CAPABILITIES: [(u32, &str); 3] = [(5, "CAP_KILL"), (12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN")];

fn missing_capabilities() -> Option<Missing> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let names = lacking(effective(&status)?);
    if names.is_empty() {
        return None;
    }
    Some(Missing::new(names.join(", "), "the mesh is made of namespaces, mounts and BPF programs", "run as root"))
}

/// The effective capabilities in a `/proc/<pid>/status`.
fn effective(status: &str) -> Option<u64> {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

fn lacking(effective: u64) -> Vec<&'static str> {
    CAPABILITIES.iter().filter(|(number, _)| effective & (1 << number) == 0).map(|(_, name)| *name).collect()
}

fn try_cgroup() -> Option<Missing> {
    const WHY: &str = "it owns the processes of a run, and BPF programs attach to it";
    let table = match MountTable::read() {
        Ok(table) => table,
        Err(error) => return Some(Missing::new("mount table", "it tells where cgroup v2 is", error.to_string())),
    };
    if table.cgroup_root().is_some() {
        return None;
    }
    let error = on_thread(|| try_mount("cgroup2")).err()?;
    Some(Missing::new("cgroup v2", WHY, format!("it is mounted nowhere, and mounting it failed: {error}")))
}

/// Mounts in a namespace that ends with the thread, over a directory that exists everywhere.
fn try_mount(file_system: &str) -> io::Result<()> {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    Ok(mount(none, "/run", Some(file_system), MsFlags::empty(), none)?)
}

fn try_bpffs() -> io::Result<()> {
    try_mount("bpf")
}

/// Makes a map with one element (`BPF_MAP_CREATE` of an array) and closes it.
fn try_bpf() -> io::Result<()> {
    const MAP_CREATE: libc::c_int = 0;
    const MAP_TYPE_ARRAY: u32 = 2;
    // map_type, key_size, value_size, max_entries, map_flags: the first fields of `union bpf_attr`.
    let attributes: [u32; 5] = [MAP_TYPE_ARRAY, 4, 4, 1, 0];
    // SAFETY: the kernel reads as many bytes as it is told, all of them initialised.
    let result = unsafe { libc::syscall(libc::SYS_bpf, MAP_CREATE, attributes.as_ptr(), size_of_val(&attributes)) };
    let fd = i32::try_from(result).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel just made for us, with no other owner.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}

/// Namespaces that `work` enters end with its thread.
fn on_thread(work: impl FnOnce() -> io::Result<()> + Send) -> io::Result<()> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use meshbed_scenario::AgentSpec;

    use super::{agent_preflight, effective, is_executable, lacking, missing_program};
    use crate::Programs;

    #[test]
    fn capabilities_by_name() {
        let status = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t0000000000200020\n";
        assert_eq!(effective(status), Some(0x20_0020));
        assert_eq!(lacking(0x20_0020), ["CAP_NET_ADMIN"]);
        assert!(lacking(u64::MAX).is_empty());
    }

    /// What is said to somebody who wants to test Cilium and has not brought it, and to somebody who has half of it.
    #[test]
    fn what_an_agent_lacks() {
        let text = include_str!("../../../fixtures/agents/cilium.yaml");
        let cilium = AgentSpec::parse(text, "cilium.yaml").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut programs = Programs::next_to(Path::new("/opt/meshbed"));
        programs.agent_bin_dir = Some(folder.path().to_owned());
        let what = || {
            let missing = agent_preflight(&cilium, &programs).into_iter();
            let what: Vec<_> =
                missing.map(|missing| missing.what.replace(folder.path().to_str().unwrap(), "<bin>")).collect();
            what
        };
        let all = what();
        assert!(all.contains(&"program `<bin>/cilium-agent`".to_owned()), "{all:?}");
        assert!(all.contains(&"program `<bin>/clustermesh-apiserver`".to_owned()), "{all:?}");
        assert!(all.contains(&"`<bin>/lib/bpf`".to_owned()), "{all:?}");
        assert_eq!(all.iter().filter(|what| what.contains("ciliumnodes.cilium.io")).count(), 1, "{all:?}");

        std::os::unix::fs::symlink("/bin/true", folder.path().join("cilium-agent")).unwrap();
        std::fs::create_dir_all(folder.path().join("lib/bpf")).unwrap();
        std::fs::create_dir(folder.path().join("crds")).unwrap();
        std::fs::write(folder.path().join("crds/a.yaml"), "metadata:\n  name: ciliumnodes.cilium.io\n").unwrap();
        let half = what();
        assert!(!half.contains(&"program `<bin>/cilium-agent`".to_owned()), "{half:?}");
        assert!(half.contains(&"program `<bin>/clustermesh-apiserver`".to_owned()), "{half:?}");
        assert!(!half.iter().any(|what| what.contains("lib/bpf") || what.contains("ciliumnodes")), "{half:?}");
        assert!(half.iter().any(|what| what.contains("ciliumidentities")), "{half:?}");
    }

    #[test]
    fn programs_that_are_not_there() {
        assert!(is_executable(Path::new("/bin/sh")));
        assert!(!is_executable(Path::new("/etc/passwd")));
        assert!(!is_executable(Path::new("/bin")));
        assert_eq!(missing_program(&PathBuf::from("etcd")).how, "apt-get install etcd-server");
    }
}
