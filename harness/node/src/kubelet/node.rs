//! What all pods of a node share.

use std::{
    io,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::Client;
use tokio::sync::watch;

use super::{
    hosts::{ClusterIps, HostsFiles},
    ipam::{Exhausted, Ipam},
    network::NodeNetwork,
    options::Options,
    volumes::ConfigMaps,
};

/// Folder below the state directory with the volumes of pods, by UID.
const VOLUMES_FOLDER: &str = "volumes";
/// Folder below the state directory with the output of containers.
const LOGS_FOLDER: &str = "logs";
/// Folder below the state directory with the hosts files, by namespace.
pub(crate) const HOSTS_FOLDER: &str = "hosts";

/// The node.
pub(crate) struct Node {
    pub(crate) options: Options,
    pub(crate) client: Client,
    pub(crate) network: NodeNetwork,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) config_maps: watch::Receiver<Arc<ConfigMaps>>,
    pub(crate) ipam: Mutex<Ipam>,
    pub(crate) hosts: Mutex<HostsFiles>,
}

impl Node {
    pub(crate) fn volumes_folder(&self) -> PathBuf {
        self.options.state_dir.join(VOLUMES_FOLDER)
    }

    pub(crate) fn logs_folder(&self) -> PathBuf {
        self.options.state_dir.join(LOGS_FOLDER)
    }

    pub(crate) fn allocate(&self) -> Result<Ipv4Addr, Exhausted> {
        lock(&self.ipam).allocate()
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
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
