//! What the agent of a node knows, and the step from an event to effects.

use std::collections::BTreeSet;

use mesh_planted::{Defect, planted};
use mesh_types::{ClusterId, ClusterName, Frontend, ServiceKey};

use crate::{
    Effect, Event,
    annotation::{is_global, unknown_affinity},
    backends::Candidates,
    frontends,
    frontends::Frontends,
    local_objects::LocalObjects,
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
    /// The maps had content when the agent started: it must stay in force until enough is known to replace it.
    pub restored: bool,
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
    local: LocalObjects,
    remote: RemoteClusters,
    frontends: Frontends,
}

impl State {
    /// Nothing is known yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            phase: Phase::Waiting { local_synced: false, timed_out: false },
            local: LocalObjects::default(),
            remote: RemoteClusters::default(),
            frontends: Frontends::default(),
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
        self.local.services().filter(|(_, service)| is_global(&service.annotations)).count()
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
                let annotations = service.as_ref().map(|service| &service.annotations);
                if let Some(value) = annotations.and_then(unknown_affinity) {
                    tracing::warn!(service = %key, value, "unknown service affinity, no preference is taken");
                }
                let changed = self.local.set_service(&key, service);
                changed.then_some(key).into_iter().collect()
            }
            Event::Slice { namespace, name, slice } => {
                self.local.set_slice(namespace, name, slice).into_iter().collect()
            }
            Event::RemoteAdded { cluster } if cluster == self.config.cluster_name => {
                tracing::debug!(%cluster, "configuration of the local cluster itself, ignored");
                BTreeSet::new()
            }
            Event::RemoteAdded { cluster } => {
                self.remote.add(cluster);
                BTreeSet::new()
            }
            Event::RemoteService { cluster, cluster_id, .. }
                if cluster_id == self.config.cluster_id && !planted(Defect::DuplicateClusterIdAccepted) =>
            {
                tracing::warn!(%cluster, %cluster_id, "remote cluster has the local cluster's ID, service ignored");
                BTreeSet::new()
            }
            Event::RemoteService { cluster, cluster_id, key, service } => {
                self.remote.set_service(&cluster, cluster_id, key, service)
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
        let remote = if is_global(&service.annotations) && !planted(Defect::RemoteBackendsDropped) {
            Candidates::remote(self.remote.services(key).into_iter(), &local)
        } else {
            Candidates::default()
        };
        frontends::of_service(service, &local, &remote)
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
