//! What the maps of a node must hold.

use std::collections::{BTreeMap, BTreeSet};

use mesh_types::{BackendAddress, ClusterName, FrontendAddress, ServiceKey};
use meshbed_events::MapState;

use crate::{AllowedBackend, merge::Selection};

/// What the load-balancing maps of every node of a cluster must hold: all cluster-IP frontends (`kubernetes` among
/// them), without wildcard entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapTruth {
    /// By frontend. A service without backends has a frontend with empty sets.
    pub frontends: BTreeMap<FrontendAddress, FrontendTruth>,
}

/// What must be behind one frontend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendTruth {
    /// The service.
    pub service: ServiceKey,
    /// In slots `1..=count`.
    pub active: BTreeSet<BackendAddress>,
    /// In slots beyond `count`.
    pub inactive: BTreeSet<BackendAddress>,
    /// May be in slots beyond `count`, or in none: terminating and no longer serving. Cilium keeps them until they are
    /// deleted, so that established connections find them; no new connection ever goes there.
    pub tolerated: BTreeSet<BackendAddress>,
    /// The cluster of each of them, for messages.
    pub clusters: BTreeMap<BackendAddress, ClusterName>,
}

impl FrontendTruth {
    pub(crate) fn new(service: ServiceKey, selection: &Selection) -> Self {
        let addresses = |side: &BTreeSet<AllowedBackend>| side.iter().map(|backend| backend.address).collect();
        let all = selection.active.iter().chain(&selection.inactive).chain(&selection.tolerated);
        Self {
            service,
            active: addresses(&selection.active),
            inactive: addresses(&selection.inactive),
            tolerated: addresses(&selection.tolerated),
            clusters: all.map(|backend| (backend.address, backend.cluster.clone())).collect(),
        }
    }

    fn name(&self, backend: &str) -> String {
        let known = self.clusters.iter().find(|(address, _)| address.to_string() == backend);
        match known {
            Some((address, cluster)) => format!("{address} of {cluster}"),
            None => backend.to_owned(),
        }
    }
}

impl MapTruth {
    /// What is different in `found`, one sentence each, naming service, frontend and backend. Empty when it is right.
    pub fn differences(&self, found: &MapState) -> Vec<String> {
        let mut sentences = Vec::new();
        for (address, truth) in &self.frontends {
            let place = format!("service {} ({address})", truth.service);
            match found.frontends.get(&address.to_string()) {
                None => sentences.push(format!("{place}: frontend is missing")),
                Some(found) => {
                    sentences.extend(compare(&place, truth, Side::Active, &found.active));
                    sentences.extend(compare(&place, truth, Side::Inactive, &found.inactive));
                }
            }
        }
        let known: BTreeSet<String> = self.frontends.keys().map(ToString::to_string).collect();
        let stray = found.frontends.keys().filter(|address| !known.contains(*address));
        sentences.extend(stray.map(|address| format!("frontend {address} belongs to no service")));
        sentences
    }
}

#[derive(Clone, Copy)]
enum Side {
    Active,
    Inactive,
}

fn compare(place: &str, truth: &FrontendTruth, side: Side, found: &[String]) -> Vec<String> {
    let texts = |set: &BTreeSet<BackendAddress>| set.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let (word, expected, tolerated) = match side {
        Side::Active => ("active", texts(&truth.active), BTreeSet::new()),
        Side::Inactive => ("inactive", texts(&truth.inactive), texts(&truth.tolerated)),
    };
    let distinct: BTreeSet<String> = found.iter().cloned().collect();
    let mut sentences = Vec::new();
    for backend in expected.difference(&distinct) {
        sentences.push(format!("{place}: {word} backend {} is missing", truth.name(backend)));
    }
    for backend in distinct.difference(&expected).filter(|backend| !tolerated.contains(*backend)) {
        sentences.push(format!("{place}: {word} backend {} should not be there", truth.name(backend)));
    }
    if distinct.len() != found.len() {
        sentences.push(format!("{place}: an {word} backend is there more than once"));
    }
    sentences
}
