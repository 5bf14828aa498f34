//! Running a command inside a pod: in its network namespace, its cgroup and its first container's mount namespace.
#![expect(unsafe_code, reason = "std offers `Command::pre_exec`, which joins the namespaces, only as unsafe")]

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{PodState, child};

/// A pod could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// None of its containers has a live process, so there is no mount namespace to join.
    #[error("pod `{namespace}/{name}` has no running container")]
    NotRunning {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        name: String,
    },
    /// A file that stands for a part of it could not be opened; most likely the pod went away meanwhile.
    #[error("failed to open `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Open handles to everything that a process joins to be in a pod.
#[derive(Debug)]
pub struct Entry {
    mounts: OwnedFd,
    network: OwnedFd,
    cgroup: OwnedFd,
}

impl Entry {
    /// Opens a pod by its state file's content. The handles keep its namespaces alive until they are closed.
    pub fn open(pod: &PodState) -> Result<Self, EnterError> {
        let not_running = || EnterError::NotRunning { namespace: pod.namespace.clone(), name: pod.name.clone() };
        let process = pod.containers.iter().find(|process| process.is_alive()).ok_or_else(not_running)?;
        let entry = Self::of_process(process.pid, &pod.netns, &pod.cgroup)?;
        // Asked again after opening: only now is it sure that the mount namespace is not a successor's with the same PID.
        if process.is_alive() { Ok(entry) } else { Err(not_running()) }
    }

    /// Opens a pod by its parts. The caller makes sure that `pid` is what it thinks it is.
    pub(crate) fn of_process(pid: i32, netns: &Path, cgroup: &Path) -> Result<Self, EnterError> {
        Ok(Self {
            mounts: open(&PathBuf::from(format!("/proc/{pid}/ns/mnt")))?,
            network: open(netns)?,
            cgroup: open_procs(cgroup)?,
        })
    }

    /// A command that will run in the pod, with the caller's standard streams and environment.
    pub fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // SAFETY: the closure only makes system calls on descriptors opened before the fork (see `child`).
        unsafe {
            command.pre_exec(move || {
                child::join_cgroup(&self.cgroup)?;
                child::join_network(&self.network)?;
                child::join_mounts(&self.mounts)
            });
        }
        command
    }
}

/// A command that runs `program` in the pod with inherited standard streams; `POD_NAME`, `POD_NAMESPACE` and `POD_IP`
/// are set. When the pod cannot be entered, `spawn` returns that error's kind; [`Entry::open`] tells more.
pub fn command_in_pod(pod: &PodState, program: &Path) -> Command {
    let mut command = match Entry::open(pod) {
        Ok(entry) => entry.command(program),
        Err(error) => failing(program, &error),
    };
    command.env("POD_NAME", &pod.name).env("POD_NAMESPACE", &pod.namespace).env("POD_IP", pod.ip.to_string());
    command
}

fn failing(program: &Path, error: &EnterError) -> Command {
    let errno = match error {
        EnterError::NotRunning { .. } => nix::errno::Errno::ESRCH as i32,
        EnterError::Open { source, .. } => source.raw_os_error().unwrap_or(nix::errno::Errno::EIO as i32),
    };
    let mut command = Command::new(program);
    // SAFETY: the closure makes one value of an integer and nothing else.
    unsafe {
        command.pre_exec(move || Err(io::Error::from_raw_os_error(errno)));
    }
    command
}

/// Opens the list of processes of a cgroup for joining it.
pub(crate) fn open_procs(cgroup: &Path) -> Result<OwnedFd, EnterError> {
    let path = cgroup.join("cgroup.procs");
    match OpenOptions::new().write(true).open(&path) {
        Ok(file) => Ok(file.into()),
        Err(source) => Err(EnterError::Open { path, source }),
    }
}

pub(crate) fn open(path: &Path) -> Result<OwnedFd, EnterError> {
    match File::open(path) {
        Ok(file) => Ok(file.into()),
        Err(source) => Err(EnterError::Open { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ContainerProcess;

    #[test]
    fn a_pod_without_processes_cannot_be_entered() {
        let pod = PodState {
            namespace: "default".into(),
            name: "x-wing".into(),
            uid: "u".into(),
            ip: std::net::Ipv4Addr::LOCALHOST,
            netns: "/nowhere".into(),
            cgroup: "/nowhere".into(),
            labels: BTreeMap::new(),
            phase: "Running".into(),
            containers: vec![ContainerProcess { name: "a".into(), pid: 1, pid_start_ticks: u64::MAX }],
        };
        let error = Entry::open(&pod).expect_err("no such process");
        assert_eq!(error.to_string(), "pod `default/x-wing` has no running container");
        let error = command_in_pod(&pod, Path::new("/bin/true")).spawn().expect_err("no such process");
        assert_eq!(error.raw_os_error(), Some(nix::errno::Errno::ESRCH as i32));
    }
}
