//! The merge itself, written down rule by rule as in Cilium's documentation and code of 1.19 (first service format).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use mesh_types::{Affinity, BackendAddress, ClusterName};

use crate::facts::{EndpointFacts, PortFacts, ServiceFacts, SliceFacts};

/// A backend that may answer, and the cluster that it lives in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllowedBackend {
    /// Where it lives.
    pub cluster: ClusterName,
    /// Where it listens.
    pub address: BackendAddress,
}

impl fmt::Display for AllowedBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.address, self.cluster)
    }
}

/// One service as one cluster's API has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClusterView {
    pub(crate) service: Option<Arc<ServiceFacts>>,
    /// By name of the slice.
    pub(crate) slices: BTreeMap<String, Arc<SliceFacts>>,
}

/// One service as the APIs of all clusters have it.
pub(crate) type ServiceView = BTreeMap<ClusterName, ClusterView>;

/// The backends of one frontend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Those that new connections may go to.
    pub(crate) active: BTreeSet<AllowedBackend>,
    /// Those that stay in the maps without being selected.
    pub(crate) inactive: BTreeSet<AllowedBackend>,
    /// Those that may stay in the maps without being selected: they neither serve nor will again.
    pub(crate) tolerated: BTreeSet<AllowedBackend>,
    /// Where each of them runs, when its slice says.
    pub(crate) nodes: BTreeMap<AllowedBackend, String>,
}

/// What a backend can do. Better ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fitness {
    Active,
    /// Shutting down, still serving.
    Terminating,
    /// Shutting down, no longer serving: keeps a slot, is never selected.
    TerminatingNotServing,
}

#[derive(Clone, Debug)]
struct Candidate {
    backend: AllowedBackend,
    fitness: Fitness,
    /// Names of the ports behind its address; empty when all are unnamed.
    port_names: BTreeSet<String>,
    node: Option<String>,
}

/// The backends of the frontend `port` of the service for clients of `cluster`. `None` when that cluster has no such
/// service of its own: remote data alone makes no frontend.
pub(crate) fn select(view: &ServiceView, cluster: &ClusterName, port: &PortFacts) -> Option<Selection> {
    let here = view.get(cluster)?;
    let service = here.service.as_deref()?;

    let local = candidates(cluster, here, local_fitness);
    let remote = if service.global { exported_to(view, cluster) } else { Vec::new() };
    let matching = |candidates: Vec<Candidate>| -> Vec<Candidate> {
        candidates.into_iter().filter(|candidate| port_matches(port, candidate)).collect()
    };
    Some(split(prefer(service.affinity, matching(local), matching(remote))))
}

/// Everything that other clusters export of this service: they call it global, and shared.
fn exported_to(view: &ServiceView, cluster: &ClusterName) -> Vec<Candidate> {
    let mut found = Vec::new();
    for (name, there) in view {
        let exported = there.service.as_ref().is_some_and(|service| service.global && service.shared);
        if name != cluster && exported {
            found.extend(candidates(name, there, exported_fitness));
        }
    }
    found
}

/// What a cluster's own agents make of an endpoint. What is ready is active even while it terminates, as in kube-proxy;
/// what serves without being ready or terminating is in maintenance and gets no slot (Cilium's
/// `pkg/loadbalancer/reflectors/k8s.go`).
fn local_fitness(endpoint: &EndpointFacts) -> Option<Fitness> {
    match (endpoint.ready, endpoint.serving, endpoint.terminating) {
        (true, _, _) => Some(Fitness::Active),
        (false, true, true) => Some(Fitness::Terminating),
        (false, false, true) => Some(Fitness::TerminatingNotServing),
        (false, _, false) => None,
    }
}

/// What other clusters see of an endpoint: the first service format carries no conditions.
fn exported_fitness(endpoint: &EndpointFacts) -> Option<Fitness> {
    (endpoint.ready || endpoint.serving).then_some(Fitness::Active)
}

/// One candidate an address, whatever number of port names and slices list it.
fn candidates(
    cluster: &ClusterName,
    view: &ClusterView,
    fitness: fn(&EndpointFacts) -> Option<Fitness>,
) -> Vec<Candidate> {
    let mut found: BTreeMap<BackendAddress, Candidate> = BTreeMap::new();
    for slice in view.slices.values() {
        for endpoint in &slice.endpoints {
            let Some(fitness) = fitness(endpoint) else { continue };
            for &ip in &endpoint.addresses {
                for port in &slice.ports {
                    let address = BackendAddress { ip, port: port.number, protocol: port.protocol };
                    let candidate = found.entry(address).or_insert_with(|| Candidate {
                        backend: AllowedBackend { cluster: cluster.clone(), address },
                        fitness,
                        port_names: BTreeSet::new(),
                        node: endpoint.node.clone(),
                    });
                    candidate.fitness = candidate.fitness.min(fitness);
                    if !port.name.is_empty() {
                        candidate.port_names.insert(port.name.clone());
                    }
                }
            }
        }
    }
    found.into_values().collect()
}

/// Protocols must be equal. Names must match when both sides have some. Numbers are never compared.
fn port_matches(frontend: &PortFacts, candidate: &Candidate) -> bool {
    let named = !frontend.name.is_empty() && !candidate.port_names.is_empty();
    candidate.backend.address.protocol == frontend.protocol && (!named || candidate.port_names.contains(&frontend.name))
}

/// Which side the service's affinity takes. All or nothing for each side.
fn prefer(affinity: Affinity, local: Vec<Candidate>, remote: Vec<Candidate>) -> Vec<Candidate> {
    let active = |side: &[Candidate]| side.iter().any(|candidate| candidate.fitness == Fitness::Active);
    let healthy = |side: &[Candidate]| side.iter().any(|one| one.fitness <= Fitness::Terminating);
    let (use_local, use_remote) = match affinity {
        Affinity::None => (true, true),
        // A terminating local backend does not hold traffic at home.
        Affinity::Local => (true, !active(&local) && healthy(&remote)),
        Affinity::Remote => (!healthy(&remote) && healthy(&local), true),
    };
    let mut chosen = Vec::new();
    if use_local {
        chosen.extend(local);
    }
    if use_remote {
        chosen.extend(remote);
    }
    chosen
}

/// Terminating backends that still serve take connections only when nothing is active.
fn split(chosen: Vec<Candidate>) -> Selection {
    let best = if chosen.iter().any(|candidate| candidate.fitness == Fitness::Active) {
        Fitness::Active
    } else {
        Fitness::Terminating
    };
    let mut selection = Selection::default();
    for candidate in chosen {
        if let Some(node) = candidate.node {
            selection.nodes.insert(candidate.backend.clone(), node);
        }
        let side = match candidate.fitness {
            fitness if fitness == best => &mut selection.active,
            Fitness::TerminatingNotServing => &mut selection.tolerated,
            _ => &mut selection.inactive,
        };
        side.insert(candidate.backend);
    }
    selection
}
