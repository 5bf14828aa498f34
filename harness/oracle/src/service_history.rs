//! Everything that was ever true of one service.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use mesh_types::ClusterName;
use meshbed_events::Micros;

use crate::{
    facts::{EndpointFacts, ServiceFacts, SliceFacts},
    history::Timeline,
    merge::{ClusterView, ServiceView},
};

/// One service in all clusters, at all times.
#[derive(Debug, Default)]
pub(crate) struct ServiceHistory {
    pub(crate) clusters: BTreeMap<ClusterName, ClusterHistory>,
}

/// One service in one cluster, at all times. Each object has a timeline of its own.
#[derive(Debug, Default)]
pub(crate) struct ClusterHistory {
    pub(crate) service: Timeline<Option<Arc<ServiceFacts>>>,
    /// By name of the slice.
    pub(crate) slices: BTreeMap<String, Timeline<Option<Arc<SliceFacts>>>>,
}

impl ServiceHistory {
    /// As the APIs of all clusters had it at `at`.
    pub(crate) fn view(&self, at: Micros) -> ServiceView {
        self.clusters.iter().map(|(cluster, history)| (cluster.clone(), history.view(at))).collect()
    }

    /// How many changes there were up to `at`. Equal numbers mean equal views, as no change is ever taken back.
    pub(crate) fn changes_until(&self, at: Micros) -> usize {
        self.clusters.values().map(|cluster| cluster.changes_until(at)).sum()
    }

    /// Times of the changes after `start` and up to `end` (included).
    pub(crate) fn times(&self, start: Micros, end: Micros) -> BTreeSet<Micros> {
        self.clusters.values().flat_map(|cluster| cluster.times(start, end)).collect()
    }
}

impl ClusterHistory {
    fn view(&self, at: Micros) -> ClusterView {
        let slices = self.slices.iter().filter_map(|(name, slice)| Some((name.clone(), slice.at(at).clone()?)));
        ClusterView { service: self.service.at(at).clone(), slices: slices.collect() }
    }

    /// Whether the cluster lists the address as an endpoint at `at`, in whatever condition.
    pub(crate) fn lists(&self, ip: Ipv4Addr, at: Micros) -> bool {
        self.endpoints(ip, at).next().is_some()
    }

    /// Whether the cluster says at `at` that the endpoint with this address terminates: its process may end at any moment.
    pub(crate) fn terminates(&self, ip: Ipv4Addr, at: Micros) -> bool {
        self.endpoints(ip, at).any(|endpoint| endpoint.terminating)
    }

    fn endpoints(&self, ip: Ipv4Addr, at: Micros) -> impl Iterator<Item = &EndpointFacts> {
        let slices = self.slices.values().filter_map(move |slice| slice.at(at).as_deref());
        slices.flat_map(|slice| &slice.endpoints).filter(move |endpoint| endpoint.addresses.contains(&ip))
    }

    fn changes_until(&self, at: Micros) -> usize {
        self.service.changes_until(at) + self.slices.values().map(|slice| slice.changes_until(at)).sum::<usize>()
    }

    fn times(&self, start: Micros, end: Micros) -> impl Iterator<Item = Micros> {
        let slices = self.slices.values().flat_map(move |slice| slice.times(start, end));
        self.service.times(start, end).chain(slices)
    }
}
