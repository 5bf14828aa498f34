//! What an earlier kubelet left on this node: what pods can go on with is kept for them, the rest is removed.
//!
//! A pod can go on when its sandbox is of this boot of the node and is all there. Whether its containers still run is
//! another matter: their supervisors see to that. After a crash of the whole node nothing can, and pods start anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    cgroup,
    checkpoint::Checkpoint,
    error::KubeletError,
    network::PodNames,
    node::{Node, lock},
    plan,
};
use crate::PodState;

/// Pods that can go on, by UID.
pub(crate) type Survivors = BTreeMap<String, Checkpoint>;

/// Looks at everything that is there. Afterwards the node has what pods can go on with, and nothing else.
pub(crate) async fn take_stock(node: &Node) -> Result<(), KubeletError> {
    node.resume_addresses();
    let mut survivors = Survivors::new();
    for checkpoint in Checkpoint::list(&node.options.state_dir).map_err(KubeletError::Checkpoints)? {
        if can_go_on(node, &checkpoint).await {
            survivors.insert(checkpoint.state.uid.clone(), checkpoint);
        } else {
            tracing::info!(pod = checkpoint.state.name, "what is left of a pod of an earlier kubelet is removed");
            log(&checkpoint.state.name, Checkpoint::remove(&node.options.state_dir, &checkpoint.state.uid));
        }
    }
    remove_others(node, &survivors).await?;
    *lock(&node.survivors) = survivors;
    Ok(())
}

async fn can_go_on(node: &Node, checkpoint: &Checkpoint) -> bool {
    let state = &checkpoint.state;
    checkpoint.boot_id == node.boot_id
        && state.cgroup == node.options.pod_cgroup.join(&state.uid)
        && state.cgroup.is_dir()
        && node.network.is_intact(&names(node, &state.uid)).await
        && node.reserve(state.ip)
}

fn names(node: &Node, uid: &str) -> PodNames {
    PodNames::new(&node.options.netns_prefix, uid)
}

/// Removes processes, networks and files of pods that cannot go on, also of those that nothing was written down of.
async fn remove_others(node: &Node, survivors: &Survivors) -> Result<(), KubeletError> {
    let cgroups = folders(&node.options.pod_cgroup)?;
    let is_left = |path: &&PathBuf| !survivors.values().any(|survivor| survivor.state.cgroup == **path);
    let removals = cgroups.iter().filter(is_left).map(|path| async { log(path.display(), cgroup::remove(path).await) });
    futures::future::join_all(removals).await;
    let kept: Vec<PodNames> = survivors.keys().map(|uid| names(node, uid)).collect();
    log("the network", node.network.sweep(&node.options.netns_prefix, &kept).await);
    let state_dir = &node.options.state_dir;
    for pod in PodState::list(state_dir).map_err(KubeletError::Leftovers)? {
        if !survivors.contains_key(&pod.uid) {
            log(&pod.name, PodState::remove(state_dir, &pod.namespace, &pod.name, &pod.uid));
        }
    }
    Ok(())
}

/// Removes what is left of pods that the API does not list (any more). Their containers get no time, as with any pod that
/// is gone from the API.
pub(crate) async fn remove_unlisted(node: &Node, listed: &BTreeSet<String>) {
    // Those that are listed were taken already, by their workers.
    let waiting =
        |survivors: &mut Survivors| std::mem::take(survivors).into_iter().partition(|(uid, _)| listed.contains(uid));
    let gone: Survivors = {
        let mut survivors = lock(&node.survivors);
        let (kept, gone) = waiting(&mut survivors);
        *survivors = kept;
        gone
    };
    for Checkpoint { state, .. } in gone.into_values() {
        tracing::info!(pod = state.name, "a pod of an earlier kubelet is not in the API any more and is removed");
        log(&state.name, cgroup::remove(&state.cgroup).await);
        match node.network.disconnect(&names(node, &state.uid), state.ip).await {
            Ok(()) => node.release(state.ip),
            // The address stays taken, as something may still have it.
            failure => log(&state.name, failure),
        }
        let state_dir = &node.options.state_dir;
        log(&state.name, PodState::remove(state_dir, &state.namespace, &state.name, &state.uid));
        log(&state.name, Checkpoint::remove(state_dir, &state.uid));
    }
    for path in folders(&node.volumes_folder()).unwrap_or_default() {
        let uid = path.file_name().unwrap_or_default().to_string_lossy();
        if !listed.contains(&*uid) {
            log(path.display(), fs::remove_dir_all(&path));
        }
    }
}

fn folders(path: &Path) -> Result<Vec<PathBuf>, KubeletError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut folders = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
        Ok(folders)
    };
    list().map_err(|source| KubeletError::File { act: "list", path: path.to_owned(), source })
}

fn log<E: Error + 'static>(what: impl std::fmt::Display, result: Result<(), E>) {
    if let Err(error) = result {
        tracing::error!(%what, error = plan::chain(&error), "something of an earlier kubelet stays");
    }
}
