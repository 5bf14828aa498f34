//! Candidates: every address that could answer for a service, before a frontend chooses among them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use mesh_planted::{Defect, planted};
use mesh_types::{Backend, BackendAddress, BackendState, ClusterId, Protocol};
use mesh_wire::ClusterService;

use crate::{LocalEndpoint, LocalSlice};

/// The backends of one service from one side of the mesh.
#[derive(Debug, Default)]
pub(crate) struct Candidates(BTreeMap<BackendAddress, Candidate>);

#[derive(Debug)]
struct Candidate {
    state: BackendState,
    cluster: Option<ClusterId>,
    /// Names of the ports that share this address and number; unnamed ones add nothing.
    port_names: BTreeSet<String>,
}

impl Candidates {
    /// Those of the local cluster.
    pub(crate) fn local<'a>(slices: impl Iterator<Item = &'a LocalSlice>) -> Self {
        let mut candidates = Self::default();
        for slice in slices {
            for endpoint in &slice.endpoints {
                let Some(state) = endpoint_state(endpoint) else { continue };
                for ip in &endpoint.addresses {
                    for port in &slice.ports {
                        let address = BackendAddress { ip: *ip, port: port.port, protocol: port.protocol };
                        candidates.add(address, state, None, &port.name);
                    }
                }
            }
        }
        candidates
    }

    /// Those of remote clusters, without the addresses that `local` has. They are always active: format v1 does
    /// not tell more.
    ///
    /// When clusters claim the same address, the first one of `services` has it.
    pub(crate) fn remote<'a>(services: impl Iterator<Item = (ClusterId, &'a ClusterService)>, local: &Self) -> Self {
        let mut candidates = Self::default();
        for (cluster, service) in services {
            for (ip, ports) in &service.backends {
                // Frontends are IPv4 only; a dual-stack peer lists its IPv6 backends too.
                let IpAddr::V4(ip) = *ip else { continue };
                for (name, l4) in ports {
                    let address = BackendAddress { ip, port: l4.port, protocol: l4.protocol };
                    if !local.0.contains_key(&address) {
                        candidates.add(address, BackendState::Active, Some(cluster), name);
                    }
                }
            }
        }
        candidates
    }

    /// Two entries of one cluster for one address (a slice that is being split, two names of one port) become one
    /// with the best state and all names.
    fn add(&mut self, address: BackendAddress, state: BackendState, cluster: Option<ClusterId>, port_name: &str) {
        let candidate =
            self.0.entry(address).or_insert_with(|| Candidate { state, cluster, port_names: BTreeSet::new() });
        if candidate.cluster != cluster {
            return;
        }
        candidate.state = candidate.state.min(state);
        if !port_name.is_empty() && !candidate.port_names.contains(port_name) {
            candidate.port_names.insert(port_name.to_owned());
        }
    }

    /// Those that fit a frontend's port. Port numbers are never compared: what `80` is here may be `9090` there.
    ///
    /// A name must match only if both sides have one (Cilium: `PortName`, `PortNames`).
    pub(crate) fn of_port(&self, port_name: &str, protocol: Protocol) -> Vec<Backend> {
        let fits = |address: &BackendAddress, candidate: &Candidate| {
            let names = &candidate.port_names;
            let any_name = port_name.is_empty() || names.is_empty() || planted(Defect::PortNamesIgnored);
            address.protocol == protocol && (any_name || names.contains(port_name))
        };
        let fitting = self.0.iter().filter(|(address, candidate)| fits(address, candidate));
        fitting
            .map(|(address, candidate)| Backend {
                state: candidate.state,
                address: *address,
                cluster: candidate.cluster,
            })
            .collect()
    }
}

/// The state of a local endpoint's backends; `None` if it must not be used at all.
fn endpoint_state(endpoint: &LocalEndpoint) -> Option<BackendState> {
    if endpoint.is_ready() {
        // Even while terminating: that is `publishNotReadyAddresses`, and kube-proxy does the same.
        Some(BackendState::Active)
    } else if endpoint.is_serving() && endpoint.is_terminating() {
        Some(BackendState::Terminating)
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
    #[test_case(NO, NO, YES => None ; "terminating, not serving")]
    #[test_case(NO, YES, NO => None ; "not ready, not terminating")]
    #[test_case(NO, NO, NO => None ; "not ready")]
    #[test_case(NO, None, YES => None ; "absent serving is as ready")]
    #[test_case(NO, YES, None => None ; "absent terminating is no")]
    fn endpoint_states(ready: Option<bool>, serving: Option<bool>, terminating: Option<bool>) -> Option<BackendState> {
        endpoint_state(&LocalEndpoint { ready, serving, terminating, ..LocalEndpoint::default() })
    }
}
