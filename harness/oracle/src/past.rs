//! What was ever right, and where every backend lives: for the names of differences, never for decisions.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use mesh_types::{BackendAddress, ClusterName, FrontendAddress};

use crate::{merge::ServiceView, truth};

/// The past as the nodes of one cluster could have seen it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Past {
    right: BTreeMap<FrontendAddress, BTreeSet<BackendAddress>>,
    homes: BTreeMap<Ipv4Addr, ClusterName>,
}

impl Past {
    /// Notes what is right for nodes of `cluster` in this view of a service.
    pub(crate) fn note(&mut self, view: &ServiceView, cluster: &ClusterName) {
        for (address, selection) in truth::frontends(view, cluster) {
            let all = selection.active.iter().chain(&selection.inactive).chain(&selection.tolerated);
            self.right.entry(address).or_default().extend(all.map(|backend| backend.address));
        }
        for (home, view) in view {
            let endpoints = view.slices.values().flat_map(|slice| &slice.endpoints);
            for ip in endpoints.flat_map(|endpoint| &endpoint.addresses) {
                if self.homes.get(ip) != Some(home) {
                    self.homes.insert(*ip, home.clone());
                }
            }
        }
    }

    /// Whether the backend was right behind the frontend at some time.
    pub(crate) fn was_right(&self, frontend: &FrontendAddress, backend: &BackendAddress) -> bool {
        self.right.get(frontend).is_some_and(|backends| backends.contains(backend))
    }

    /// The cluster that lists the address, or did so last.
    pub(crate) fn home(&self, ip: Ipv4Addr) -> Option<&ClusterName> {
        self.homes.get(&ip)
    }
}
