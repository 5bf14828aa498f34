//! Frontends: what a service asks for, and which of them win when services ask for the same address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use mesh_planted::{Defect, planted};
use mesh_types::{
    Affinity, Backend, Frontend, FrontendAddress, FrontendType, Protocol, Scope, ServiceKey, TrafficPolicies,
};

use crate::{Effect, LocalService, ServiceKind, ServicePort, affinity::select, annotation, backends::Candidates};

/// The frontends of a service with the backends that each should have, in order of address.
///
/// `remote` is empty for a service that is not global. A frontend without backends is still wanted: clients
/// are refused at once instead of reaching an address that nobody owns.
pub(crate) fn of_service(service: &LocalService, local: &Candidates, remote: &Candidates) -> Vec<Frontend> {
    if service.kind == ServiceKind::ExternalName || service.cluster_ips.is_empty() {
        return Vec::new();
    }
    let affinity = annotation::affinity(&service.annotations);
    let mut frontends = BTreeMap::new();
    for port in &service.ports {
        if planted(Defect::UdpIgnored) && port.protocol == Protocol::Udp {
            continue;
        }
        let backends = backends(affinity, port, local, remote);
        for (ip, number, kind) in addresses(service, port) {
            let address = FrontendAddress { ip, port: number, protocol: port.protocol, scope: Scope::External };
            let number_is_taken = |other: &FrontendAddress| (other.ip, other.port) == (ip, number);
            if planted(Defect::ProtocolConfused) && frontends.keys().any(number_is_taken) {
                continue;
            }
            let frontend = Frontend {
                address,
                kind,
                service: service.key.clone(),
                session_affinity: service.session_affinity.filter(|_| !planted(Defect::SessionAffinityIgnored)),
                policies: TrafficPolicies::default(),
                algorithm: None,
                backends: backends.clone(),
            };
            frontends.insert(address, frontend);
        }
    }
    frontends.into_values().collect()
}

/// Addresses of one service port. A node port is put on 0.0.0.0, the surrogate of all of a node's addresses.
fn addresses(service: &LocalService, port: &ServicePort) -> Vec<(Ipv4Addr, u16, FrontendType)> {
    let cluster_ips = service.cluster_ips.iter().map(|ip| (*ip, port.port, FrontendType::ClusterIp));
    let has_node_ports = matches!(service.kind, ServiceKind::NodePort | ServiceKind::LoadBalancer);
    let node_port = port.node_port.filter(|_| has_node_ports);
    cluster_ips.chain(node_port.map(|number| (Ipv4Addr::UNSPECIFIED, number, FrontendType::NodePort))).collect()
}

fn backends(affinity: Affinity, port: &ServicePort, local: &Candidates, remote: &Candidates) -> Vec<Backend> {
    let local = local.of_port(&port.name, port.protocol);
    let remote = remote.of_port(&port.name, port.protocol);
    let states = |backends: &[Backend]| backends.iter().map(|backend| backend.state).collect::<Vec<_>>();
    let (use_local, use_remote) = select(affinity, states(&local), states(&remote));
    let mut backends = Vec::new();
    if use_local {
        backends.extend(local);
    }
    if use_remote {
        backends.extend(remote);
    }
    backends.sort_unstable();
    backends
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
