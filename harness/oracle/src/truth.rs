//! What the maps of a node must hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mesh_types::{BackendAddress, ClusterName, FrontendAddress, Scope, ServiceKey};
use meshbed_events::{MapDifference, MapState};

use crate::{
    AllowedBackend, difference,
    merge::{self, Selection, ServiceView},
    past::Past,
    worlds::Worlds,
};

/// What the load-balancing maps of one node must hold: all cluster-IP frontends (`kubernetes` among them), without
/// wildcard entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapTruth {
    /// By frontend. A service without backends has a frontend with empty sets.
    pub frontends: BTreeMap<FrontendAddress, Arc<FrontendChoice>>,
    /// Nothing can be said about the maps of this node: whatever they hold is right.
    pub unknown: bool,
    /// Tells a stale backend from one that never was right.
    pub(crate) past: Arc<Past>,
}

/// What may be behind one frontend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendChoice {
    /// What is acceptable.
    pub acceptable: Acceptable,
    /// The frontend may also be missing.
    pub may_be_absent: bool,
}

/// What is acceptable behind one frontend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptable {
    /// Exactly one of these; the newest first. There is one when nothing hides the news from the node.
    OneOf(Vec<FrontendTruth>),
    /// Coarser, when there are more than [`crate::COMBINATIONS_MAX`] possibilities.
    Within(FrontendBounds),
}

/// The bounds of what may be behind one frontend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendBounds {
    /// On each side everything that may be there.
    pub widest: FrontendTruth,
    /// What must be there, on one side or the other.
    pub required: BTreeSet<BackendAddress>,
    /// No backend at all may be selectable.
    pub may_be_empty: bool,
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
    /// Time-out of session affinity in seconds: clients stay with their backend that long. `None`: they do not.
    pub affinity_s: Option<u32>,
    /// The cluster of each of them, for messages.
    pub clusters: BTreeMap<BackendAddress, ClusterName>,
    /// The active ones with their clusters, and the node of each when that is known.
    pub(crate) allowed: BTreeMap<AllowedBackend, Option<String>>,
}

impl FrontendTruth {
    fn new(service: ServiceKey, selection: &Selection, affinity_s: Option<u32>) -> Self {
        let addresses = |side: &BTreeSet<AllowedBackend>| side.iter().map(|backend| backend.address).collect();
        let all = selection.active.iter().chain(&selection.inactive).chain(&selection.tolerated);
        let allowed = selection.active.iter().map(|backend| (backend.clone(), selection.nodes.get(backend).cloned()));
        Self {
            service,
            affinity_s,
            active: addresses(&selection.active),
            inactive: addresses(&selection.inactive),
            tolerated: addresses(&selection.tolerated),
            clusters: all.map(|backend| (backend.address, backend.cluster.clone())).collect(),
            allowed: allowed.collect(),
        }
    }

    fn extend(&mut self, other: &Self) {
        self.active.extend(&other.active);
        self.inactive.extend(&other.inactive);
        self.tolerated.extend(&other.tolerated);
        self.clusters.extend(other.clusters.clone());
        self.allowed.extend(other.allowed.clone());
    }
}

impl FrontendBounds {
    /// The bounds of `worlds`, of which there is at least one.
    fn of(mut worlds: impl Iterator<Item = FrontendTruth>) -> Option<Self> {
        let present = |world: &FrontendTruth| -> BTreeSet<_> { world.active.union(&world.inactive).copied().collect() };
        let first = worlds.next()?;
        let mut bounds = Self { required: present(&first), may_be_empty: first.active.is_empty(), widest: first };
        for world in worlds {
            let present = present(&world);
            bounds.required.retain(|backend| present.contains(backend));
            bounds.may_be_empty |= world.active.is_empty();
            bounds.widest.extend(&world);
        }
        Some(bounds)
    }
}

impl Acceptable {
    /// All backends that may be selectable, and the node of each when that is known.
    pub(crate) fn allowed(&self) -> BTreeMap<AllowedBackend, Option<String>> {
        match self {
            Self::OneOf(truths) => truths.iter().flat_map(|truth| truth.allowed.clone()).collect(),
            Self::Within(bounds) => bounds.widest.allowed.clone(),
        }
    }

    /// Whether no backend at all may be selectable.
    pub(crate) fn may_be_empty(&self) -> bool {
        match self {
            Self::OneOf(truths) => truths.iter().any(|truth| truth.allowed.is_empty()),
            Self::Within(bounds) => bounds.may_be_empty,
        }
    }

    /// Either of the two: an address that two services have had.
    fn or(self, other: Self) -> Self {
        let bounds = |acceptable| match acceptable {
            Self::OneOf(truths) => FrontendBounds::of(truths.into_iter()),
            Self::Within(bounds) => Some(bounds),
        };
        match (self, other) {
            (Self::OneOf(mut truths), Self::OneOf(others)) => {
                truths.extend(others);
                Self::OneOf(truths)
            }
            (one, other) => match (bounds(one), bounds(other)) {
                (Some(mut one), Some(other)) => {
                    one.required.retain(|backend| other.required.contains(backend));
                    one.may_be_empty |= other.may_be_empty;
                    one.widest.extend(&other.widest);
                    Self::Within(one)
                }
                (one, other) => one.or(other).map_or(Self::OneOf(Vec::new()), Self::Within),
            },
        }
    }
}

impl MapTruth {
    /// What is different in `found`, each with a sentence that names service, frontend and backend. Empty when it is
    /// right. Where there is a choice, the nearest possibility counts, the newest of equally near ones.
    pub fn differences(&self, found: &MapState) -> Vec<MapDifference> {
        if self.unknown { Vec::new() } else { difference::differences(&self.frontends, &self.past, found) }
    }

    /// Adds what is right for one service.
    pub(crate) fn add(&mut self, frontends: &BTreeMap<FrontendAddress, Arc<FrontendChoice>>) {
        for (address, choice) in frontends {
            let both = match self.frontends.remove(address) {
                None => Arc::clone(choice),
                Some(other) => Arc::new(FrontendChoice {
                    acceptable: choice.acceptable.clone().or(other.acceptable.clone()),
                    may_be_absent: choice.may_be_absent && other.may_be_absent,
                }),
            };
            self.frontends.insert(*address, both);
        }
    }
}

/// The frontends of a service for clients of `cluster` in one world, and what is behind them.
pub(crate) fn frontends(view: &ServiceView, cluster: &ClusterName) -> Vec<(FrontendAddress, Selection)> {
    let Some(service) = view.get(cluster).and_then(|view| view.service.as_ref()) else { return Vec::new() };
    let Some(ip) = service.cluster_ip else { return Vec::new() };
    let behind = |port| {
        let selection = merge::select(view, cluster, port)?;
        Some((FrontendAddress { ip, port: port.number, protocol: port.protocol, scope: Scope::External }, selection))
    };
    service.ports.iter().filter_map(behind).collect()
}

/// What is right for one service at a node of `cluster` that may see any of `worlds`.
pub(crate) fn choices(
    key: &ServiceKey,
    cluster: &ClusterName,
    worlds: &Worlds,
) -> BTreeMap<FrontendAddress, Arc<FrontendChoice>> {
    let (Worlds::All(views) | Worlds::Sampled(views)) = worlds;
    let mut found: BTreeMap<FrontendAddress, (usize, Vec<FrontendTruth>)> = BTreeMap::new();
    for view in views {
        let affinity_s = view.get(cluster).and_then(|view| view.service.as_ref()?.session_affinity);
        for (address, selection) in frontends(view, cluster) {
            let (count, truths) = found.entry(address).or_default();
            *count += 1;
            let truth = FrontendTruth::new(key.clone(), &selection, affinity_s);
            if !truths.contains(&truth) {
                truths.push(truth);
            }
        }
    }
    let choice = |(address, (count, truths)): (FrontendAddress, (usize, Vec<FrontendTruth>))| {
        let acceptable = match worlds {
            Worlds::All(_) => Acceptable::OneOf(truths),
            Worlds::Sampled(_) => Acceptable::Within(FrontendBounds::of(truths.into_iter())?),
        };
        Some((address, Arc::new(FrontendChoice { acceptable, may_be_absent: count < views.len() })))
    };
    found.into_iter().filter_map(choice).collect()
}
