//! All the ways in which an observer may see a service.
//!
//! An observer without news of a cluster knows some version of each of that cluster's objects: its watches of services
//! and of endpoint slices end independently, so any mixture is possible. A *world* is one mixture.

use std::sync::Arc;

use mesh_types::ClusterName;
use meshbed_events::Micros;

use crate::{
    facts::{EndpointFacts, ServiceFacts, SliceFacts},
    knowledge::Knowledge,
    merge::ServiceView,
    service_history::{ClusterHistory, ServiceHistory},
};

/// Worlds of one service that are looked at one by one. When there are more, a coarser rule takes their place:
/// [`crate::Acceptable::Within`].
/// A fault of a minute during which one service changes every second stays below.
pub const COMBINATIONS_MAX: usize = 256;

/// What an observer may see.
#[derive(Debug)]
pub(crate) enum Worlds {
    /// Every possible world, the newest first.
    All(Vec<ServiceView>),
    /// Too many to look at. These stand for them: a backend that is right in some possible world is right in one of
    /// these, and one that is right in all of these is right in all possible worlds. So "may be there" is never denied
    /// and "must be there" never demanded wrongly; the opposite mistakes are possible.
    Sampled(Vec<ServiceView>),
}

/// One object, in all the versions that it may be known in, newest first.
struct Part {
    cluster: ClusterName,
    versions: Versions,
}

enum Versions {
    Service(Vec<Option<Arc<ServiceFacts>>>),
    Slice(String, Vec<Option<Arc<SliceFacts>>>),
}

impl Part {
    fn count(&self) -> usize {
        match &self.versions {
            Versions::Service(versions) => versions.len(),
            Versions::Slice(_, versions) => versions.len(),
        }
    }

    /// Puts one version into the world.
    fn put(&self, world: &mut ServiceView, index: usize) {
        let view = world.entry(self.cluster.clone()).or_default();
        match &self.versions {
            Versions::Service(versions) => view.service.clone_from(&versions[index]),
            Versions::Slice(name, versions) => {
                if let Some(facts) = &versions[index] {
                    view.slices.insert(name.clone(), Arc::clone(facts));
                }
            }
        }
    }
}

/// The worlds of `history` at `at` for somebody in the cluster `observer` who knows of each cluster what `knowledge`
/// says.
pub(crate) fn worlds(
    history: &ServiceHistory,
    observer: &ClusterName,
    at: Micros,
    knowledge: impl Fn(&ClusterName) -> Knowledge,
) -> Worlds {
    let clusters = history.clusters.iter();
    combine(
        &clusters.flat_map(|(name, cluster)| parts(name, cluster, at, knowledge(name))).collect::<Vec<_>>(),
        observer,
    )
}

/// The worlds in which there is only the one cluster.
pub(crate) fn worlds_of(cluster: &ClusterName, history: &ClusterHistory, at: Micros, knowledge: Knowledge) -> Worlds {
    combine(&parts(cluster, history, at, knowledge), cluster)
}

fn combine(parts: &[Part], observer: &ClusterName) -> Worlds {
    let combinations = parts.iter().try_fold(1_usize, |product, part| product.checked_mul(part.count()));
    match combinations {
        Some(combinations) if combinations <= COMBINATIONS_MAX => Worlds::All(all(parts)),
        _ => Worlds::Sampled(sampled(parts, observer)),
    }
}

/// All objects of the service in one cluster.
fn parts(cluster: &ClusterName, history: &ClusterHistory, at: Micros, knowledge: Knowledge) -> Vec<Part> {
    let since = match knowledge {
        Knowledge::Newest | Knowledge::Gone => at,
        Knowledge::Since { since, .. } => since,
    };
    let mut services: Vec<_> = history.service.versions(since, at).into_iter().cloned().collect();
    match knowledge {
        Knowledge::Gone => services = vec![None],
        // A cluster whose service is not known has no say in it.
        Knowledge::Since { maybe_gone: true, .. } if !services.contains(&None) => services.push(None),
        Knowledge::Newest | Knowledge::Since { .. } => {}
    }
    let mut parts = vec![Part { cluster: cluster.clone(), versions: Versions::Service(services) }];
    for (name, slice) in &history.slices {
        let versions = slice.versions(since, at).into_iter().cloned().collect();
        parts.push(Part { cluster: cluster.clone(), versions: Versions::Slice(name.clone(), versions) });
    }
    parts
}

/// Counts through all combinations, the first part fastest.
fn all(parts: &[Part]) -> Vec<ServiceView> {
    let mut worlds = Vec::new();
    let mut indices = vec![0; parts.len()];
    loop {
        let mut world = ServiceView::new();
        for (part, index) in parts.iter().zip(&indices) {
            part.put(&mut world, *index);
        }
        worlds.push(world);
        let Some(next) = (0..parts.len()).find(|&place| indices[place] + 1 < parts[place].count()) else { break };
        indices[next] += 1;
        indices[..next].fill(0);
    }
    worlds
}

/// How much the other objects of a side hold in a sampled world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plenty {
    /// Everything of all versions.
    Rich,
    /// Only what is the same in all versions.
    Poor,
}

/// Every version of every object, while the rest of its own side is rich or poor, and the other side is.
///
/// That is enough because the merge asks three things: what the own service says (every version is tried), what each
/// side lists, and whether a side has something healthy, or active. More on one side can only add to what is listed and
/// turn "nothing" into "something", so the extremes decide.
fn sampled(parts: &[Part], observer: &ClusterName) -> Vec<ServiceView> {
    let is_own_service = |part: &&Part| part.cluster == *observer && matches!(part.versions, Versions::Service(_));
    let own_versions = parts.iter().find(is_own_service).map_or(1, Part::count);
    let open: Vec<usize> = (0..parts.len()).filter(|&index| parts[index].count() > 1).collect();
    let mut worlds = Vec::new();
    for own in 0..own_versions {
        for (fixed, version) in
            open.iter().flat_map(|&fixed| (0..parts[fixed].count()).map(move |version| (fixed, version)))
        {
            for local in [Plenty::Rich, Plenty::Poor] {
                for remote in [Plenty::Rich, Plenty::Poor] {
                    let mut world = ServiceView::new();
                    for (index, part) in parts.iter().enumerate() {
                        let plenty = if part.cluster == *observer { local } else { remote };
                        if is_own_service(&part) {
                            part.put(&mut world, own);
                        } else if index == fixed {
                            part.put(&mut world, version);
                        } else {
                            put_extreme(part, plenty, &mut world);
                        }
                    }
                    worlds.push(world);
                }
            }
        }
    }
    worlds
}

fn put_extreme(part: &Part, plenty: Plenty, world: &mut ServiceView) {
    let view = world.entry(part.cluster.clone()).or_default();
    match (&part.versions, plenty) {
        (Versions::Service(versions), _) => {
            let exports = |service: &&Option<Arc<ServiceFacts>>| {
                service.as_ref().is_some_and(|service| service.global && service.shared) == (plenty == Plenty::Rich)
            };
            view.service.clone_from(versions.iter().find(exports).unwrap_or(&versions[0]));
        }
        (Versions::Slice(name, versions), Plenty::Rich) => {
            for (index, facts) in versions.iter().enumerate() {
                // A `/` is in no slice's name.
                view.slices.extend(facts.iter().map(|facts| (format!("{name}/{index}"), Arc::clone(facts))));
            }
        }
        (Versions::Slice(name, versions), Plenty::Poor) => {
            view.slices.extend(common(versions).map(|facts| (name.clone(), Arc::new(facts))));
        }
    }
}

/// What all versions of a slice say.
fn common(versions: &[Option<Arc<SliceFacts>>]) -> Option<SliceFacts> {
    let first = versions.first()?.as_ref()?;
    let in_all = |endpoint: &&EndpointFacts| {
        versions.iter().all(|version| {
            version.as_ref().is_some_and(|facts| facts.ports == first.ports && facts.endpoints.contains(endpoint))
        })
    };
    Some(SliceFacts { endpoints: first.endpoints.iter().filter(in_all).cloned().collect(), ports: first.ports.clone() })
}
