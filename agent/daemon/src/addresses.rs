//! Who is behind each address: what remote clusters say of their nodes and addresses, and the ipcache map.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use mesh_core::{Ipcache, IpcacheChange};
use mesh_datapath::{DatapathError, IpcacheChange as Write};
use mesh_k8s::{Kind, LocalEvent};
use mesh_types::{ClusterId, ClusterName, IpPrefix};
use mesh_wire::{IpEntry, IpPrefix as KeyPrefix, Node, Resource};

/// The kinds of objects that the ipcache is made of.
const KINDS: [Resource; 2] = [Resource::Nodes, Resource::Ip];
/// The same in our own cluster.
const LOCAL_KINDS: [Kind; 2] = [Kind::CiliumNodes, Kind::CiliumEndpoints];

/// What is known, and the map that holds it.
pub(crate) struct Addresses {
    /// Our own cluster and node.
    us: (ClusterName, ClusterId, String),
    state: Ipcache,
    /// Addresses of each endpoint of our own cluster.
    endpoints: BTreeMap<(String, String), Vec<IpEntry>>,
    /// Addresses of our own node: what is behind them needs no tunnel.
    own: BTreeSet<IpAddr>,
    map: Box<dyn mesh_datapath::Ipcache + Send>,
    /// Changes that could not be written, by prefix.
    failed: BTreeMap<IpPrefix, Write>,
    /// What each remote cluster has told completely.
    told: BTreeMap<ClusterName, BTreeSet<Resource>>,
    /// The same of our own.
    told_local: BTreeSet<Kind>,
    pruned: bool,
}

impl Addresses {
    /// Nothing is known; what the map holds stays until all sources were heard.
    pub(crate) fn new(
        cluster: ClusterName,
        cluster_id: ClusterId,
        node: &str,
        map: Box<dyn mesh_datapath::Ipcache + Send>,
    ) -> Self {
        let mut addresses = Self {
            us: (cluster, cluster_id, node.to_owned()),
            state: Ipcache::new(node),
            endpoints: BTreeMap::new(),
            own: BTreeSet::new(),
            map,
            failed: BTreeMap::new(),
            told: BTreeMap::new(),
            told_local: BTreeSet::new(),
            pruned: false,
        };
        addresses.write(Ipcache::world());
        addresses
    }

    /// A remote cluster is to be heard.
    pub(crate) fn add(&mut self, cluster: ClusterName) {
        self.told.entry(cluster).or_default();
    }

    /// A remote cluster is no more.
    pub(crate) fn remove(&mut self, cluster: &ClusterName) {
        self.told.remove(cluster);
        let changes = self.state.remove_cluster(cluster);
        self.write(changes);
    }

    /// What changed in our own cluster, as far as it is about addresses.
    pub(crate) fn local(&mut self, event: &LocalEvent) {
        match event {
            LocalEvent::CiliumNode { name, node } => {
                let node = node.as_ref().map(|node| node.exported(&self.us.0, self.us.1));
                if *name == self.us.2 {
                    self.own = node.iter().flat_map(|node| &node.addresses).map(|address| address.ip).collect();
                    // Endpoints that were told before have this node's address as that of a tunnel.
                    let known: Vec<IpEntry> = self.endpoints.values().flatten().cloned().collect();
                    known.into_iter().for_each(|entry| self.set_local(entry));
                }
                let changes = self.state.node(None, name, node.as_ref());
                self.write(changes);
            }
            LocalEvent::CiliumEndpoint { namespace, name, endpoint } => {
                let entries = endpoint.as_ref().map(|endpoint| endpoint.exported()).unwrap_or_default();
                self.local_endpoint((namespace.clone(), name.clone()), entries);
            }
            LocalEvent::Listed(kind) => {
                self.told_local.insert(*kind);
                self.prune(false);
            }
            _ => {}
        }
    }

    fn local_endpoint(&mut self, name: (String, String), entries: Vec<IpEntry>) {
        let before = match entries.is_empty() {
            true => self.endpoints.remove(&name),
            false => self.endpoints.insert(name, entries.clone()),
        };
        // Another endpoint may have taken an address over meanwhile.
        let taken = |prefix: KeyPrefix| self.endpoints.values().flatten().any(|entry| entry.prefix == prefix);
        let before = before.into_iter().flatten().map(|entry| entry.prefix);
        let gone: Vec<KeyPrefix> = before.filter(|prefix| !taken(*prefix)).collect();
        gone.into_iter().for_each(|prefix| self.set(None, prefix, None));
        entries.into_iter().for_each(|entry| self.set_local(entry));
    }

    fn set_local(&mut self, mut entry: IpEntry) {
        entry.host = entry.host.filter(|host| !self.own.contains(host));
        self.set(None, entry.prefix, Some(&entry));
    }

    /// The newest value of a node of a remote cluster.
    pub(crate) fn node(&mut self, cluster: ClusterName, name: &str, node: Option<&Node>) {
        let changes = self.state.node(Some(cluster), name, node);
        self.write(changes);
    }

    /// The newest value of an address of a remote cluster.
    pub(crate) fn endpoint(&mut self, cluster: ClusterName, prefix: KeyPrefix, entry: Option<&IpEntry>) {
        self.set(Some(cluster), prefix, entry);
    }

    fn set(&mut self, owner: Option<ClusterName>, prefix: KeyPrefix, entry: Option<&IpEntry>) {
        let network = prefix.network();
        let prefix = IpPrefix::new(network.addr(), network.prefix_len()).unwrap_or_else(|_| prefix.ip().into());
        let changes = self.state.endpoint(owner, prefix, entry);
        self.write(changes);
    }

    /// A remote cluster has told all objects of a kind.
    pub(crate) fn told(&mut self, cluster: &ClusterName, resource: Resource) {
        if let Some(told) = self.told.get_mut(cluster) {
            told.insert(resource);
        }
    }

    /// Forgets what an earlier life left in the map, once everybody was heard or `anyway`.
    pub(crate) fn prune(&mut self, anyway: bool) {
        let heard = |told: &BTreeSet<Resource>| KINDS.iter().all(|kind| told.contains(kind));
        let all_heard = self.told.values().all(heard) && LOCAL_KINDS.iter().all(|kind| self.told_local.contains(kind));
        if self.pruned || !(anyway || all_heard) {
            return;
        }
        let world: BTreeSet<IpPrefix> = Ipcache::world().into_iter().map(|(prefix, _)| prefix).collect();
        let state = &self.state;
        match self.map.prune(&|prefix| world.contains(&prefix) || state.contains(prefix)) {
            Ok(changed) => {
                self.pruned = true;
                tracing::debug!(removed = changed.removed, "ipcache pruned");
            }
            Err(error) => tracing::error!(error = chain(&error), "Failed to prune the ipcache, trying again"),
        }
    }

    /// Whether something is to be tried again.
    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Tries again what failed.
    pub(crate) fn retry(&mut self) {
        let failed: Vec<Write> = std::mem::take(&mut self.failed).into_values().collect();
        self.update(failed);
    }

    fn write(&mut self, changes: Vec<IpcacheChange>) {
        let writes = changes.into_iter().map(|(prefix, entry)| match entry {
            Some(entry) => Write::Upsert(prefix, entry),
            None => Write::Delete(prefix),
        });
        let writes: Vec<Write> = writes.collect();
        for write in &writes {
            // A newer change takes the place of one that failed.
            self.failed.remove(&write.prefix());
        }
        self.update(writes);
    }

    fn update(&mut self, writes: Vec<Write>) {
        if writes.is_empty() {
            return;
        }
        if let Err(error) = self.map.update(&writes) {
            tracing::error!(error = chain(&error), "Failed to write the ipcache, trying again");
            self.failed.extend(writes.into_iter().map(|write| (write.prefix(), write)));
        }
    }
}

/// An error and its causes in one line.
fn chain(error: &DatapathError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
