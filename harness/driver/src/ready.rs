//! Whether a process is ready, by what its description says. Asked again and again where nobody tells.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    command::{Placement, Session, command},
    http,
    launch::{Launch, ReadyCheck},
};

/// Time between two questions.
const ASKING_INTERVAL: Duration = Duration::from_millis(20);
/// How long a command that asks may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits until the process `pid`, started by `launch`, is ready by the checks that need asking. The others, which come
/// to us by themselves, are waited for elsewhere, so for them it never returns.
pub(crate) async fn asked(launch: &Launch, pid: u32) {
    let mut ticks = interval(ASKING_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let ready = match &launch.ready {
            ReadyCheck::Notify | ReadyCheck::Ended => return std::future::pending().await,
            ReadyCheck::Http(url) => answers(&launch.netns, url).await,
            ReadyCheck::Exec(line) => succeeds(launch, line).await,
            ReadyCheck::Exists(path) => Ok(as_seen_by(pid, path).exists()),
        };
        match ready {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::trace!(pid, %error, "not ready"),
        }
    }
}

async fn answers(netns: &Path, url: &str) -> io::Result<bool> {
    let (netns, url) = (netns.to_owned(), url.to_owned());
    let answer = spawn_blocking(move || http::get(&netns, &url)).await.map_err(io::Error::other)?;
    Ok(answer.is_ok_and(|answer| (200..300).contains(&answer.status)))
}

/// Runs `line` where the process runs.
async fn succeeds(launch: &Launch, line: &[String]) -> io::Result<bool> {
    let Some((program, arguments)) = line.split_first() else { return Ok(true) };
    let placement = Placement {
        netns: &launch.netns,
        cgroup: Some(&launch.cgroup),
        bpf_root: launch.bpf_root.as_deref(),
        cgroup_root: launch.cgroup_root.as_deref(),
        session: Session::New,
        inherited: None,
    };
    let mut command = tokio::process::Command::from(command(&placement, program.as_ref()));
    command.args(arguments).envs(launch.env.iter().cloned()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = timeout(COMMAND_TIMEOUT, command.status()).await.map_err(io::Error::from)??;
    Ok(status.success())
}

/// `path` in the mount namespace of process `pid`.
fn as_seen_by(pid: u32, path: &Path) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/root")).join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::as_seen_by;

    #[test]
    fn paths_of_others() {
        assert_eq!(as_seen_by(7, Path::new("/sys/fs/bpf/x")), Path::new("/proc/7/root/sys/fs/bpf/x"));
        assert!(as_seen_by(std::process::id(), Path::new("/proc/self/stat")).exists());
    }
}
