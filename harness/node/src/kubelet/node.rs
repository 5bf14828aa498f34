//! What all pods of a node share.

use std::{
    fs, io,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::Client;
use tokio::sync::watch;

use super::{
    adoption::Survivors,
    checkpoint::Checkpoint,
    hosts::{ClusterIps, HostsFiles},
    ipam::{Exhausted, Ipam},
    network::NodeNetwork,
    options::Options,
    volumes::ConfigMaps,
};
use crate::files;

/// Folder below the state directory with the volumes of pods, by UID.
const VOLUMES_FOLDER: &str = "volumes";
/// Folder below the state directory with the output of containers.
const LOGS_FOLDER: &str = "logs";
/// File below the state directory with the address that was given out last.
const LAST_ADDRESS_FILE: &str = "last-address";
/// Folder below the state directory with the hosts files, by namespace.
pub(crate) const HOSTS_FOLDER: &str = "hosts";

/// The node.
pub(crate) struct Node {
    pub(crate) options: Options,
    pub(crate) client: Client,
    pub(crate) network: NodeNetwork,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) config_maps: watch::Receiver<Arc<ConfigMaps>>,
    /// Boot of the node that this kubelet belongs to.
    pub(crate) boot_id: String,
    pub(crate) ipam: Mutex<Ipam>,
    pub(crate) hosts: Mutex<HostsFiles>,
    /// What pods of an earlier kubelet go on with.
    pub(crate) survivors: Mutex<Survivors>,
}

impl Node {
    pub(crate) fn volumes_folder(&self) -> PathBuf {
        self.options.state_dir.join(VOLUMES_FOLDER)
    }

    pub(crate) fn logs_folder(&self) -> PathBuf {
        self.options.state_dir.join(LOGS_FOLDER)
    }

    pub(crate) fn allocate(&self) -> Result<Ipv4Addr, Exhausted> {
        let address = lock(&self.ipam).allocate()?;
        // As the CNI plugin host-local does: others may not have heard yet that a pod is gone, and must not find
        // another one at its address. Without the file, addresses are merely used again sooner.
        let path = self.options.state_dir.join(LAST_ADDRESS_FILE);
        if let Err(error) = files::replace(&path, address.to_string().as_bytes()) {
            tracing::error!(path = %path.display(), %error, "the last address was not written down");
        }
        Ok(address)
    }

    /// Goes on behind the address that an earlier kubelet gave out last.
    pub(crate) fn resume_addresses(&self) {
        let text = fs::read_to_string(self.options.state_dir.join(LAST_ADDRESS_FILE)).unwrap_or_default();
        if let Ok(address) = text.parse() {
            lock(&self.ipam).resume_after(address);
        }
    }

    /// Takes an address that a pod has; false when it cannot be.
    pub(crate) fn reserve(&self, address: Ipv4Addr) -> bool {
        lock(&self.ipam).reserve(address)
    }

    /// What the pod goes on with, if an earlier kubelet ran it. Gives it once.
    pub(crate) fn take_survivor(&self, uid: &str) -> Option<Checkpoint> {
        lock(&self.survivors).remove(uid)
    }

    pub(crate) fn release(&self, address: Ipv4Addr) {
        lock(&self.ipam).release(address);
    }

    pub(crate) fn hosts_file(&self, namespace: &str) -> io::Result<PathBuf> {
        lock(&self.hosts).file(namespace)
    }

    pub(crate) fn update_hosts(&self, services: ClusterIps) -> io::Result<()> {
        lock(&self.hosts).update(services)
    }
}

/// Nothing that is done under these locks leaves a value half changed, so that a panic elsewhere does not matter.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
