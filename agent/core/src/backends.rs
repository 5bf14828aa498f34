//! Candidates: every address that could answer for a service, before a frontend chooses among them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use mesh_planted::{Defect, planted};
use mesh_types::{Backend, BackendAddress, BackendState, ClusterId, Protocol};
use mesh_wire::ClusterService;

use crate::{Conditions, LocalSlice, RemoteSlice, SlicePort, remote::RemoteBackends};

/// The backends of one service from one side of the mesh.
#[derive(Debug, Default)]
pub(crate) struct Candidates(BTreeMap<BackendAddress, Candidate>);

/// What is known of a backend beside its address.
#[derive(Debug)]
pub(crate) struct Candidate {
    cluster: Option<ClusterId>,
    endpoint: Endpoint,
    /// Names of the ports that share this address and number; unnamed ones add nothing.
    port_names: BTreeSet<String>,
}

/// What a backend has from its endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) state: BackendState,
    /// Empty for a remote one.
    pub(crate) node: String,
    /// The zones that should use it. Hints of an endpoint that is in no zone do not count, as in Cilium.
    pub(crate) hints: Vec<String>,
}

impl Candidates {
    /// Those of the local cluster.
    pub(crate) fn local<'a>(slices: impl Iterator<Item = &'a LocalSlice>) -> Self {
        let mut candidates = Self::default();
        for slice in slices {
            for endpoint in &slice.endpoints {
                let Some(state) = endpoint_state(endpoint.conditions()) else { continue };
                let node = endpoint.node_name.clone().unwrap_or_default();
                let hints = hints(endpoint.zone.as_deref(), &endpoint.hints);
                let known = Endpoint { state, node, hints };
                candidates.add_endpoint(&endpoint.addresses, &slice.ports, None, &known, &Self::default());
            }
        }
        candidates
    }

    /// Those of remote clusters, without the addresses that `local` has.
    ///
    /// When clusters claim the same address, the first one of `backends` has it.
    pub(crate) fn remote(backends: &[(ClusterId, RemoteBackends<'_>)], local: &Self) -> Self {
        let mut candidates = Self::default();
        for (cluster, backends) in backends {
            match backends {
                RemoteBackends::Service(service) => candidates.add_service(*cluster, service, local),
                RemoteBackends::Slice(slice) => candidates.add_slice(*cluster, slice, local),
            }
        }
        candidates
    }

    /// Those of a remote service v1. They are always active: the format does not tell more.
    fn add_service(&mut self, cluster: ClusterId, service: &ClusterService, local: &Self) {
        for (ip, ports) in &service.backends {
            // Most services tell none, and a text for each address would be made in vain.
            let zone = (!service.zones.is_empty()).then(|| service.zones.get(&ip.to_string())).flatten();
            let hints = zone.map(|zone| hints(Some(&zone.zone), &zone.for_zones)).unwrap_or_default();
            // Frontends are IPv4 only; a dual-stack peer lists its IPv6 backends too.
            let IpAddr::V4(ip) = *ip else { continue };
            let known = Endpoint { state: BackendState::Active, node: String::new(), hints };
            for (name, l4) in ports {
                let address = BackendAddress { ip, port: l4.port, protocol: l4.protocol };
                if !local.0.contains_key(&address) {
                    self.add(address, Some(cluster), &known, name);
                }
            }
        }
    }

    /// Those of a remote endpoint slice, which tells the conditions of each.
    fn add_slice(&mut self, cluster: ClusterId, slice: &RemoteSlice, local: &Self) {
        for endpoint in &slice.endpoints {
            let Some(state) = endpoint_state(endpoint.conditions) else { continue };
            let hints = hints(endpoint.zone.as_deref(), &endpoint.hints);
            let known = Endpoint { state, node: String::new(), hints };
            self.add_endpoint(&endpoint.addresses, &slice.ports, Some(cluster), &known, local);
        }
    }

    /// Adds each port at each address, but for those in `others`.
    fn add_endpoint(
        &mut self,
        addresses: &[Ipv4Addr],
        ports: &[SlicePort],
        cluster: Option<ClusterId>,
        endpoint: &Endpoint,
        others: &Self,
    ) {
        for ip in addresses {
            for port in ports {
                let address = BackendAddress { ip: *ip, port: port.port, protocol: port.protocol };
                if !others.0.contains_key(&address) {
                    self.add(address, cluster, endpoint, &port.name);
                }
            }
        }
    }

    /// Two entries of one cluster for one address (a slice that is being split, two names of one port) become one
    /// with all names, and the rest from the entry with the best state.
    fn add(&mut self, address: BackendAddress, cluster: Option<ClusterId>, endpoint: &Endpoint, port_name: &str) {
        let candidate = self.0.entry(address).or_insert_with(|| Candidate {
            cluster,
            endpoint: endpoint.clone(),
            port_names: BTreeSet::new(),
        });
        if candidate.cluster != cluster {
            return;
        }
        if endpoint.state < candidate.endpoint.state {
            candidate.endpoint = endpoint.clone();
        }
        if !port_name.is_empty() && !candidate.port_names.contains(port_name) {
            candidate.port_names.insert(port_name.to_owned());
        }
    }

    /// Those that fit a frontend's port. Port numbers are never compared: what `80` is here may be `9090` there.
    ///
    /// A name must match only if both sides have one (Cilium: `PortName`, `PortNames`).
    pub(crate) fn of_port(&self, port_name: &str, protocol: Protocol) -> Vec<(Backend, &Endpoint)> {
        let fits = |address: &BackendAddress, candidate: &Candidate| {
            let names = &candidate.port_names;
            let any_name = port_name.is_empty() || names.is_empty() || planted(Defect::PortNamesIgnored);
            address.protocol == protocol && (any_name || names.contains(port_name))
        };
        let fitting = self.0.iter().filter(|(address, candidate)| fits(address, candidate));
        fitting.map(|(address, candidate)| (candidate.backend(*address), &candidate.endpoint)).collect()
    }
}

impl Candidate {
    fn backend(&self, address: BackendAddress) -> Backend {
        Backend { state: self.endpoint.state, address, cluster: self.cluster }
    }
}

fn hints(zone: Option<&str>, hints: &[String]) -> Vec<String> {
    if zone.unwrap_or_default().is_empty() { Vec::new() } else { hints.to_vec() }
}

/// The state of an endpoint's backends; `None` if there is no use in having it in the maps.
fn endpoint_state(conditions: Conditions) -> Option<BackendState> {
    if conditions.is_ready() {
        // Even while terminating: that is `publishNotReadyAddresses`, and kube-proxy does the same.
        Some(BackendState::Active)
    } else if conditions.is_terminating() && conditions.is_serving() {
        Some(BackendState::Terminating)
    } else if conditions.is_terminating() {
        // Its connections go on until it is gone.
        Some(BackendState::TerminatingNotServing)
    } else if planted(Defect::AffinityIgnoresReadiness) {
        // Gets no slot, but is there when the side is chosen.
        Some(BackendState::Maintenance)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    const YES: Option<bool> = Some(true);
    const NO: Option<bool> = Some(false);

    #[test_case(YES, YES, NO => Some(BackendState::Active) ; "ready")]
    #[test_case(None, None, None => Some(BackendState::Active) ; "absent means ready")]
    #[test_case(YES, NO, YES => Some(BackendState::Active) ; "ready wins over terminating")]
    #[test_case(NO, YES, YES => Some(BackendState::Terminating) ; "terminating but serving")]
    #[test_case(NO, NO, YES => Some(BackendState::TerminatingNotServing) ; "terminating, not serving")]
    #[test_case(NO, YES, NO => None ; "not ready, not terminating")]
    #[test_case(NO, NO, NO => None ; "not ready")]
    #[test_case(NO, None, YES => Some(BackendState::TerminatingNotServing) ; "absent serving is as ready")]
    #[test_case(NO, YES, None => None ; "absent terminating is no")]
    fn endpoint_states(ready: Option<bool>, serving: Option<bool>, terminating: Option<bool>) -> Option<BackendState> {
        endpoint_state(Conditions { ready, serving, terminating })
    }
}
