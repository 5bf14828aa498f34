//! Frontends: what a service asks for, and which of them win when services ask for the same address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use mesh_planted::{Defect, planted};
use mesh_types::{
    Affinity, Backend, BackendState, Frontend, FrontendAddress, FrontendType, Protocol, Scope, ServiceKey,
    TrafficPolicy,
};

use crate::{
    Effect, LocalService, ServiceKind, ServicePort, TrafficDistribution,
    affinity::select,
    annotation,
    backends::Candidates,
    node::Node,
    topology::{self, Located},
};

/// What the frontends of a service are made of.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    pub(crate) service: &'a LocalService,
    pub(crate) node: &'a Node,
    /// Whether topology hints matter on this node.
    pub(crate) topology: bool,
    pub(crate) affinity: Affinity,
    pub(crate) local: &'a Candidates,
    /// Empty for a service that is not global.
    pub(crate) remote: &'a Candidates,
}

/// Where a frontend is.
struct Place {
    ip: Ipv4Addr,
    port: u16,
    kind: FrontendType,
    scope: Scope,
}

impl Sources<'_> {
    /// The frontends of the service with the backends that each should have, in order of address.
    ///
    /// A frontend without backends is still wanted: clients are refused at once instead of reaching an address that
    /// nobody owns.
    pub(crate) fn frontends(&self) -> Vec<Frontend> {
        let service = self.service;
        let is_exposed = service.kind != ServiceKind::ExternalName && self.node.is_exposed(&service.annotations);
        if !is_exposed || service.is_headless() {
            return Vec::new();
        }
        let mut frontends = BTreeMap::new();
        for port in &service.ports {
            if planted(Defect::UdpIgnored) && port.protocol == Protocol::Udp {
                continue;
            }
            let by_policy = BackendsByPolicy::new(self, port);
            for place in places(service, port, self.node) {
                let (ip, number) = (place.ip, place.port);
                let number_is_taken = |other: &FrontendAddress| (other.ip, other.port) == (ip, number);
                if planted(Defect::ProtocolConfused) && frontends.keys().any(number_is_taken) {
                    continue;
                }
                let frontend = self.frontend(&place, port.protocol, by_policy.of(policy(service, &place)));
                frontends.insert(frontend.address, frontend);
            }
        }
        frontends.into_values().collect()
    }

    fn frontend(&self, place: &Place, protocol: Protocol, backends: &[Backend]) -> Frontend {
        let service = self.service;
        Frontend {
            address: FrontendAddress { ip: place.ip, port: place.port, protocol, scope: place.scope },
            kind: place.kind,
            service: service.key.clone(),
            session_affinity: service.session_affinity.filter(|_| !planted(Defect::SessionAffinityIgnored)),
            policies: service.policies,
            algorithm: annotation::algorithm(&service.annotations),
            backends: backends.to_vec(),
        }
    }

    /// The backends that answer for a port under a traffic policy: port name and protocol, policy, hints, affinity, in
    /// this order.
    fn backends(&self, port: &ServicePort, policy: TrafficPolicy) -> Vec<Backend> {
        let mut local = self.local.of_port(&port.name, port.protocol);
        let mut remote = self.remote.of_port(&port.name, port.protocol);
        topology::by_policy(&mut local, policy, self.node);
        topology::by_policy(&mut remote, policy, self.node);
        if self.topology && self.service.asks_for_zone() {
            topology::by_zone(&mut local, &mut remote, self.node);
        }
        let (use_local, use_remote) = select(self.affinity, states(&local), states(&remote));
        let local = local.into_iter().filter(|_| use_local);
        let remote = remote.into_iter().filter(|_| use_remote);
        let mut backends: Vec<Backend> = local.chain(remote).map(|(backend, _)| backend).collect();
        backends.sort_unstable();
        backends
    }
}

fn states<'a>(backends: &'a [Located<'_>]) -> impl Iterator<Item = BackendState> + 'a {
    backends.iter().map(|(backend, _)| backend.state)
}

/// The backends of one port under each policy that the service has.
struct BackendsByPolicy {
    internal: (TrafficPolicy, Vec<Backend>),
    /// `None`: the same policy.
    external: Option<Vec<Backend>>,
}

impl BackendsByPolicy {
    fn new(sources: &Sources<'_>, port: &ServicePort) -> Self {
        let policies = sources.service.policies;
        Self {
            internal: (policies.internal, sources.backends(port, policies.internal)),
            external: policies.differ().then(|| sources.backends(port, policies.external)),
        }
    }

    fn of(&self, policy: TrafficPolicy) -> &[Backend] {
        let (internal, backends) = &self.internal;
        match &self.external {
            Some(external) if policy != *internal => external,
            _ => backends,
        }
    }
}

impl LocalService {
    /// Whether clients of the service prefer backends of their zone: it says so, by field or by one of two annotations,
    /// the older of which wins. A policy that keeps traffic on the node leaves nothing to prefer.
    fn asks_for_zone(&self) -> bool {
        const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
        const MODE: &str = "service.kubernetes.io/topology-mode";
        let mode = self.annotations.get(HINTS).or_else(|| self.annotations.get(MODE));
        let annotated = mode.is_some_and(|mode| !matches!(mode.as_str(), "" | "disabled" | "Disabled"));
        let asks = annotated || self.distribution == TrafficDistribution::Zone;
        asks && self.policies.internal != TrafficPolicy::Local
    }
}

/// Which of the service's policies holds in a place.
fn policy(service: &LocalService, place: &Place) -> TrafficPolicy {
    match (place.kind, place.scope) {
        // Cluster IPs have only the scope `External`, but no clients from outside.
        (FrontendType::ClusterIp, _) | (_, Scope::Internal) => service.policies.internal,
        (FrontendType::NodePort | FrontendType::LoadBalancer | FrontendType::ExternalIp, Scope::External) => {
            service.policies.external
        }
    }
}

/// Where one service port is reached. A node port is put on 0.0.0.0, the surrogate of all of a node's addresses, and on
/// each of these; what is reached from outside is there twice when clients inside have another policy.
///
/// (Cilium gives external IPs only the scope `External`, although it marks them as having both.)
fn places(service: &LocalService, port: &ServicePort, node: &Node) -> Vec<Place> {
    let only = annotation::exposed_type(&service.annotations);
    let shows = |kind: ServiceKind| only.is_none_or(|only| only == kind);
    let mut places = Vec::new();
    if shows(ServiceKind::ClusterIp) {
        let place = |ip: &Ipv4Addr| Place::new(*ip, port.port, FrontendType::ClusterIp, Scope::External);
        places.extend(service.cluster_ips.iter().map(place));
    }
    let scopes = if service.policies.differ() { &[Scope::External, Scope::Internal][..] } else { &[Scope::External] };
    for &scope in scopes {
        let has_node_ports = matches!(service.kind, ServiceKind::NodePort | ServiceKind::LoadBalancer);
        let node_port = port.node_port.filter(|_| has_node_ports && shows(ServiceKind::NodePort));
        if let Some(number) = node_port {
            let place = |ip: &Ipv4Addr| Place::new(*ip, number, FrontendType::NodePort, scope);
            places.push(place(&Ipv4Addr::UNSPECIFIED));
            places.extend(node.addresses.iter().map(place));
        }
        if service.kind == ServiceKind::LoadBalancer && shows(ServiceKind::LoadBalancer) {
            let place = |ip: &Ipv4Addr| Place::new(*ip, port.port, FrontendType::LoadBalancer, scope);
            places.extend(service.load_balancer_ips.iter().map(place));
        }
        let place = |ip: &Ipv4Addr| Place::new(*ip, port.port, FrontendType::ExternalIp, scope);
        places.extend(service.external_ips.iter().map(place));
    }
    places
}

impl Place {
    fn new(ip: Ipv4Addr, port: u16, kind: FrontendType, scope: Scope) -> Self {
        Self { ip, port, kind, scope }
    }
}

/// What every service asks for. The desired state is, for each address, the frontend of the first service (in
/// order of key) that asks for it.
///
/// Two services want one address only for a moment, when one takes over the cluster IP of another that is
/// just being deleted; the rule makes the outcome independent of which of the two events comes first.
#[derive(Debug, Default)]
pub(crate) struct Frontends {
    wanted: BTreeMap<FrontendAddress, BTreeMap<ServiceKey, Frontend>>,
    addresses: BTreeMap<ServiceKey, BTreeSet<FrontendAddress>>,
}

impl Frontends {
    /// Replaces what `key` asks for. Returns what changes by that: upserts, then deletions.
    pub(crate) fn set(&mut self, key: &ServiceKey, frontends: Vec<Frontend>) -> Vec<Effect> {
        let mut new: BTreeMap<FrontendAddress, Frontend> =
            frontends.into_iter().map(|frontend| (frontend.address, frontend)).collect();
        let new_addresses: BTreeSet<FrontendAddress> = new.keys().copied().collect();
        let old_addresses = self.addresses.remove(key).unwrap_or_default();
        let (mut upserts, mut deletions) = (Vec::new(), Vec::new());
        for address in old_addresses.union(&new_addresses) {
            let before = self.desired(address).cloned();
            let wanted = self.wanted.entry(*address).or_default();
            match new.remove(address) {
                Some(frontend) => wanted.insert(key.clone(), frontend),
                None => wanted.remove(key),
            };
            if wanted.is_empty() {
                self.wanted.remove(address);
            }
            match self.desired(address) {
                after if after == before.as_ref() => {}
                Some(frontend) => upserts.push(Effect::Upsert(frontend.clone())),
                None => deletions.push(Effect::Delete(*address)),
            }
        }
        if !new_addresses.is_empty() {
            self.addresses.insert(key.clone(), new_addresses);
        }
        upserts.append(&mut deletions);
        upserts
    }

    /// The frontend that `address` should have.
    pub(crate) fn desired(&self, address: &FrontendAddress) -> Option<&Frontend> {
        self.wanted.get(address)?.values().next()
    }

    /// All addresses that should have a frontend.
    pub(crate) fn desired_addresses(&self) -> BTreeSet<FrontendAddress> {
        self.wanted.keys().copied().collect()
    }

    /// What `key` asked for last, under `address`.
    pub(crate) fn wanted_by(&self, key: &ServiceKey, address: &FrontendAddress) -> Option<&Frontend> {
        self.wanted.get(address)?.get(key)
    }
}
