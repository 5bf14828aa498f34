//! Starting processes in a pod.
#![expect(unsafe_code, reason = "std offers `Command::pre_exec`, which joins the namespaces, only as unsafe")]

use std::{
    ffi::CString,
    fs::OpenOptions,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::{Child, Command};

use super::{
    cgroup,
    plan::{self, Plan, PlanError},
};
use crate::{
    child::{self, BindMount},
    exec::{self, Entry},
};

/// What every process of a container is in.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) netns: PathBuf,
    /// The container's own cgroup, in the pod's.
    pub(crate) cgroup: PathBuf,
    /// The hosts file of the pod's namespace.
    pub(crate) hosts: PathBuf,
}

/// Where a pod looks for names of hosts.
pub(crate) const HOSTS_TARGET: &str = "/etc/hosts";

/// Starts a container's first process. Its output is appended to `log`, by itself and through no pipe: it goes on
/// without this kubelet. Whatever an earlier run left in the container's cgroup is killed first: it might still listen.
pub(crate) async fn start(plan: &Plan, place: &Place, log: &Path) -> Result<Child, PlanError> {
    let failed = |what: &str, error: &dyn std::error::Error| PlanError {
        reason: "RunContainerError",
        message: format!("failed to {what}: {}", plan::chain(error)),
    };
    let output = OpenOptions::new().create(true).append(true).open(log);
    let output = output.map_err(|error| failed(&format!("open `{}`", log.display()), &error))?;
    let errors = output.try_clone().map_err(|error| failed("duplicate a descriptor", &error))?;
    cgroup::remove(&place.cgroup).await.map_err(|error| failed("end the run before", &error))?;
    cgroup::make(&place.cgroup).map_err(|error| failed("make a place", &error))?;
    let network = exec::open(&place.netns).map_err(|error| failed("enter the pod", &error))?;
    let cgroup = exec::open_procs(&place.cgroup).map_err(|error| failed("enter the pod", &error))?;
    let hosts = (place.hosts.as_path(), Path::new(HOSTS_TARGET));
    let volumes = plan::possible(&plan.mounts).map(|mount| (mount.source.as_path(), mount.target.as_path()));
    let mounts: Vec<BindMount> = std::iter::once(hosts)
        .chain(volumes)
        .map(|(source, target)| Ok(BindMount { source: c_string(source)?, target: c_string(target)? }))
        .collect::<io::Result<_>>()
        .map_err(|error| failed("prepare mounts", &error))?;

    let mut command = Command::new(&plan.program);
    command
        .args(&plan.arguments)
        .env_clear()
        .envs(&plan.environment)
        .current_dir(plan.working_folder.as_deref().unwrap_or(Path::new("/")))
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    // SAFETY: the closure only makes system calls on descriptors and strings made before the fork (see `child`).
    unsafe {
        command.pre_exec(move || {
            child::join_cgroup(&cgroup)?;
            child::join_network(&network)?;
            child::private_mounts(&mounts)?;
            child::lead_session()
        });
    }
    spawn(command).await.map_err(|error| failed(&format!("run `{}`", plan.program.display()), &error))
}

/// Starts a process away from the runtime's own threads. Joining a cgroup waits for all processors (a grace period of
/// RCU, 10 to 20 ms), the child reports only after that, and other pods must not wait with it.
pub(crate) async fn spawn(mut command: Command) -> io::Result<Child> {
    tokio::task::spawn_blocking(move || command.spawn()).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// A command for a check or hook inside of a container whose first process is `pid`. It dies with the returned child.
pub(crate) fn command_inside(plan: &Plan, place: &Place, pid: i32, program: &str) -> Result<Command, exec::EnterError> {
    let entry = Entry::of_process(pid, &place.netns, &place.cgroup)?;
    let mut command = Command::from(entry.command(Path::new(program)));
    command.env_clear().envs(&plan.environment);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
