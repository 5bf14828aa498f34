//! What the agent of a node knows, and the step from an event to effects.

use std::{collections::BTreeSet, net::Ipv4Addr};

use mesh_planted::{Defect, planted};
use mesh_types::{Affinity, ClusterId, ClusterName, Frontend, ServiceKey};

use crate::{
    Effect, Event, LocalService, ServiceV2,
    annotation::{self, is_global},
    backends::Candidates,
    frontends::{Frontends, Sources},
    local_objects::LocalObjects,
    namespaces::Namespaces,
    node::{self, Node},
    remote::RemoteClusters,
};

/// What an agent knows about itself.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the local cluster.
    pub cluster_name: ClusterName,
    /// ID of the local cluster.
    pub cluster_id: ClusterId,
    /// Name of the node.
    pub node_name: String,
    /// IPv4 addresses of the node that node ports are put on, besides the surrogate 0.0.0.0, until
    /// [`Event::NodeAddresses`] tells them.
    pub node_addresses: Vec<Ipv4Addr>,
    /// Zone of the node, until [`Event::NodeZone`] tells it.
    pub zone: Option<String>,
    /// Whether topology hints matter (`--enable-service-topology`).
    pub service_topology: bool,
    /// Whether services of a namespace that does not say are global if they say so
    /// (`--clustermesh-default-global-namespace`).
    pub default_global_namespace: bool,
    /// Which format of remote services is read (`--clustermesh-service-v2`).
    pub service_v2: ServiceV2,
    /// The maps had content when the agent started: it must stay in force until enough is known to replace it.
    pub restored: bool,
}

impl Config {
    /// A configuration with Cilium's defaults, for maps that are empty.
    pub fn new(cluster_name: ClusterName, cluster_id: ClusterId, node_name: impl Into<String>) -> Self {
        Self {
            cluster_name,
            cluster_id,
            node_name: node_name.into(),
            node_addresses: Vec::new(),
            zone: None,
            service_topology: false,
            default_global_namespace: true,
            service_v2: ServiceV2::default(),
            restored: false,
        }
    }
}

/// When effects may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not before enough is known.
    Waiting { local_synced: bool, timed_out: bool },
    /// At once.
    Running,
}

/// Everything that the agent knows of services, and what it wants the load balancer to hold.
#[derive(Debug)]
pub struct State {
    config: Config,
    phase: Phase,
    node: Node,
    namespaces: Namespaces,
    local: LocalObjects,
    remote: RemoteClusters,
    frontends: Frontends,
}

impl State {
    /// Nothing is known yet.
    pub fn new(config: Config) -> Self {
        let node = Node {
            name: config.node_name.clone(),
            zone: config.zone.clone(),
            addresses: config.node_addresses.clone(),
            ..Node::default()
        };
        Self {
            phase: Phase::Waiting { local_synced: false, timed_out: false },
            node,
            namespaces: Namespaces::new(config.default_global_namespace),
            local: LocalObjects::default(),
            remote: RemoteClusters::new(config.service_v2),
            frontends: Frontends::default(),
            config,
        }
    }

    /// Takes in an event and returns what the datapath should do about it, in this order.
    ///
    /// Nothing leaves before [`Event::LocalSynced`]; after a restart with filled maps also not before every remote
    /// cluster is synced or [`Event::InitTimeout`] came, so that no remote backend is taken out only because its
    /// cluster was not asked yet. Then all frontends leave at once, followed by one [`Effect::Prune`].
    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut touched = self.take(event);
        if planted(Defect::NamespaceIgnored) {
            self.add_namesakes(&mut touched);
        }
        match self.phase {
            Phase::Running => touched.iter().flat_map(|key| self.recompute(key)).collect(),
            Phase::Waiting { local_synced, timed_out } => {
                let remote_ready =
                    !self.config.restored || timed_out || self.remote.all_synced() || planted(Defect::CanaryIgnored);
                if local_synced && remote_ready { self.release() } else { Vec::new() }
            }
        }
    }

    /// Number of local services that are global.
    pub fn global_services(&self) -> usize {
        self.local.services().filter(|(_, service)| self.is_global(service)).count()
    }

    /// Number of services that a remote cluster exports; 0 for an unknown one.
    pub fn remote_services(&self, cluster: &ClusterName) -> usize {
        self.remote.count(cluster)
    }

    /// Whether effects are still held back.
    pub fn waiting(&self) -> bool {
        self.phase != Phase::Running
    }

    /// Stores what an event says. Returns the services that could look different now.
    fn take(&mut self, event: Event) -> BTreeSet<ServiceKey> {
        match event {
            Event::Service { key, service } => {
                service.iter().for_each(warn);
                let changed = self.local.set_service(&key, service);
                changed.then_some(key).into_iter().collect()
            }
            Event::Slice { namespace, name, slice } => {
                self.local.set_slice(namespace, name, slice).into_iter().collect()
            }
            Event::Namespace { name, annotations } => {
                let changed = self.namespaces.set(&name, annotations.as_ref());
                self.local.services_in(&name).filter(|_| changed).cloned().collect()
            }
            Event::NodeZone { zone } => {
                let changed = self.node.zone != zone;
                self.node.zone = zone;
                self.services_if(changed)
            }
            Event::NodeAddresses { addresses } => {
                let changed = self.node.addresses != addresses;
                self.node.addresses = addresses;
                self.services_if(changed)
            }
            Event::NodeLabels { labels } => {
                let labels = Some(labels);
                let changed = self.node.labels != labels;
                self.node.labels = labels;
                self.services_if(changed)
            }
            Event::RemoteAdded { cluster } if cluster == self.config.cluster_name => {
                tracing::debug!(%cluster, "configuration of the local cluster itself, ignored");
                BTreeSet::new()
            }
            Event::RemoteAdded { cluster } => {
                self.remote.add(cluster);
                BTreeSet::new()
            }
            Event::RemoteExports { cluster, exports } => self.remote.set_exports(&cluster, exports),
            Event::RemoteService { cluster, cluster_id, .. } | Event::RemoteSlice { cluster, cluster_id, .. }
                if cluster_id == self.config.cluster_id && !planted(Defect::DuplicateClusterIdAccepted) =>
            {
                tracing::warn!(%cluster, %cluster_id, "remote cluster has the local cluster's ID, service ignored");
                BTreeSet::new()
            }
            Event::RemoteService { cluster, cluster_id, key, service } => {
                self.remote.set_service(&cluster, cluster_id, key, service)
            }
            Event::RemoteSlice { cluster, cluster_id, namespace, name, slice } => {
                self.remote.set_slice(&cluster, cluster_id, (namespace, name), slice)
            }
            Event::RemoteSynced { cluster } => self.remote.set_synced(&cluster),
            Event::RemoteRemoved { cluster } => self.remote.remove(&cluster),
            Event::LocalSynced => {
                if let Phase::Waiting { local_synced, .. } = &mut self.phase {
                    *local_synced = true;
                }
                BTreeSet::new()
            }
            Event::InitTimeout => {
                if let Phase::Waiting { timed_out, .. } = &mut self.phase {
                    *timed_out = true;
                }
                BTreeSet::new()
            }
        }
    }

    fn release(&mut self) -> Vec<Effect> {
        self.phase = Phase::Running;
        let keys: Vec<ServiceKey> = self.local.services().map(|(key, _)| key.clone()).collect();
        for key in &keys {
            self.recompute(key);
        }
        // Taken from the outcome, so that an address that two services want is told once.
        let addresses = self.frontends.desired_addresses();
        let mut effects: Vec<Effect> = addresses
            .iter()
            .filter_map(|address| self.frontends.desired(address).cloned())
            .map(Effect::Upsert)
            .collect();
        effects.push(Effect::Prune(addresses));
        effects
    }

    fn recompute(&mut self, key: &ServiceKey) -> Vec<Effect> {
        let mut frontends = self.wanted(key);
        if planted(Defect::DeadBackendsKept) {
            self.keep_dead_backends(key, &mut frontends);
        }
        self.frontends.set(key, frontends)
    }

    /// The frontends that service `key` should have now.
    fn wanted(&self, key: &ServiceKey) -> Vec<Frontend> {
        let Some(service) = self.local.service(key) else { return Vec::new() };
        let local = Candidates::local(self.local.slices(key));
        let global = self.is_global(service);
        let remote = if global && !planted(Defect::RemoteBackendsDropped) {
            Candidates::remote(&self.remote.backends(key), &local)
        } else {
            Candidates::default()
        };
        let affinity = if global { annotation::affinity(&service.annotations) } else { Affinity::None };
        let (node, topology) = (&self.node, self.config.service_topology);
        Sources { service, node, topology, affinity, local: &local, remote: &remote }.frontends()
    }

    /// Whether a service is one with its namesakes in other clusters: it and its namespace must be global.
    fn is_global(&self, service: &LocalService) -> bool {
        is_global(&service.annotations) && self.namespaces.is_global(&service.key.namespace)
    }

    /// All services, if something changed that matters to each.
    fn services_if(&self, changed: bool) -> BTreeSet<ServiceKey> {
        self.local.services().filter(|_| changed).map(|(key, _)| key.clone()).collect()
    }

    /// [`Defect::DeadBackendsKept`]: what a frontend had stays in it.
    fn keep_dead_backends(&self, key: &ServiceKey, frontends: &mut [Frontend]) {
        for frontend in frontends {
            let Some(old) = self.frontends.wanted_by(key, &frontend.address) else { continue };
            let dead: Vec<_> = old
                .backends
                .iter()
                .filter(|old| frontend.backends.iter().all(|new| new.address != old.address))
                .cloned()
                .collect();
            frontend.backends.extend(dead);
            frontend.backends.sort_unstable();
        }
    }

    /// [`Defect::NamespaceIgnored`]: what changes for a service changes for all of its name.
    fn add_namesakes(&self, touched: &mut BTreeSet<ServiceKey>) {
        let named = |key: &&ServiceKey| touched.iter().any(|one| one.name == key.name);
        let namesakes: Vec<ServiceKey> = self.local.services().map(|(key, _)| key).filter(named).cloned().collect();
        touched.extend(namesakes);
    }
}

/// Tells of annotations that are ignored.
fn warn(service: &LocalService) {
    for (annotation, value) in annotation::unknown_values(&service.annotations) {
        tracing::warn!(service = %service.key, annotation, value, "unknown value of an annotation, ignored");
    }
    if let Some(error) = node::selector_error(&service.annotations) {
        tracing::warn!(service = %service.key, %error, "the service is not limited to certain nodes");
    }
}
