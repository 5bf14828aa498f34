//! cgroups: of a pod, of a node, of a control plane.

use std::path::Path;

use super::{Control, ControlError, Emptied, Frozen, Thawed, blocking, error::While};
use crate::{
    cgroup::{self, Frost},
    error::{Act, SystemError},
};

impl Control {
    /// Stops everything in `cgroup`, of a pod or of a node, in the middle of whatever it does. Unlike with SIGSTOP nobody
    /// in there can notice. The kernel goes on answering for its sockets.
    pub async fn freeze(&self, cgroup: &Path) -> Result<Frozen, ControlError> {
        let processes = set(cgroup, Frost::Frozen).await.during(|| format!("freeze cgroup `{}`", cgroup.display()))?;
        Ok(Frozen { cgroup: cgroup.to_owned(), processes })
    }

    /// Lets everything in `cgroup` go on.
    pub async fn thaw(&self, cgroup: &Path) -> Result<Thawed, ControlError> {
        let processes = set(cgroup, Frost::Thawed).await.during(|| format!("thaw cgroup `{}`", cgroup.display()))?;
        Ok(Thawed { cgroup: cgroup.to_owned(), processes })
    }

    /// Kills everything in `cgroup` and waits until it is gone. The ends of processes that have a name here count as failures
    /// unless they were stopped before; [`Control::crash_node`] takes care of that.
    pub async fn kill_all(&self, cgroup: &Path) -> Result<Emptied, ControlError> {
        empty(cgroup).await.during(|| format!("kill everything in cgroup `{}`", cgroup.display()))
    }
}

async fn set(cgroup: &Path, frost: Frost) -> Result<usize, SystemError> {
    let cgroup = cgroup.to_owned();
    blocking(move || cgroup::set_frozen(&cgroup, frost)).await
}

pub(super) async fn empty(cgroup: &Path) -> Result<Emptied, SystemError> {
    let cgroup = cgroup.to_owned();
    let work = move || {
        let killed = cgroup::all_processes(&cgroup).act(|| format!("list cgroup `{}`", cgroup.display()))?;
        cgroup::kill_all(&cgroup)?;
        Ok(Emptied { cgroup, killed })
    };
    blocking(work).await
}
