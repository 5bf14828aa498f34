//! What one node's maps hold, what is wrong with it, and since when.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mesh_types::ClusterName;
use meshbed_events::{DifferenceKind, Event, MapDifference, MapState, Micros};
use meshbed_oracle::MapTruth;
use meshbed_scenario::MapLimits;

/// Differences told for one node at a time; the rest is counted.
const DIFFERENCES_MAX: usize = 8;

/// One node's maps as read, against the truth.
#[derive(Debug)]
pub(crate) struct Belief {
    pub(crate) cluster: ClusterName,
    pub(crate) node: String,
    pub(crate) maps: Option<MapState>,
    /// What is wrong now, and since when the node could know better.
    wrong: BTreeMap<MapDifference, Micros>,
    /// Those whose age was complained about already.
    too_old: BTreeSet<MapDifference>,
    told: Vec<MapDifference>,
    last_right: Option<Micros>,
}

/// An entry that was wrong for longer than it may be.
#[derive(Debug)]
pub(crate) struct TooOld {
    /// A sentence that names node, service and backend.
    pub(crate) message: String,
}

impl Belief {
    pub(crate) fn new(cluster: ClusterName, node: String) -> Self {
        Self {
            cluster,
            node,
            maps: None,
            wrong: BTreeMap::new(),
            too_old: BTreeSet::new(),
            told: Vec::new(),
            last_right: None,
        }
    }

    /// `cluster/node`.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.cluster, self.node)
    }

    /// When the maps became right last, if they are right now.
    pub(crate) fn last_right(&self) -> Option<Micros> {
        self.last_right.filter(|_| self.wrong.is_empty())
    }

    /// Whether the maps were read and nothing is wrong with them.
    pub(crate) fn is_right(&self) -> bool {
        self.maps.is_some() && self.wrong.is_empty()
    }

    /// What is wrong now, and since when the node could know better.
    pub(crate) fn wrong(&self) -> &BTreeMap<MapDifference, Micros> {
        &self.wrong
    }

    /// Compares at `at` and says what is new: entries that are right again, and the state of the whole.
    pub(crate) fn compare(&mut self, at: Micros, truth: &MapTruth) -> Vec<Event> {
        let Some(maps) = &self.maps else { return Vec::new() };
        let was_right = self.last_right.is_some() && self.wrong.is_empty();
        let structure = maps.defects.iter().map(|defect| structure(defect));
        let found: BTreeSet<MapDifference> = truth.differences(maps).into_iter().chain(structure).collect();
        let mut events = Vec::new();
        let resolved: Vec<_> = self.wrong.keys().filter(|known| !found.contains(*known)).cloned().collect();
        for difference in resolved {
            let since = self.wrong.remove(&difference).unwrap_or(at);
            self.too_old.remove(&difference);
            events.push(self.aged(difference, since, false));
        }
        for difference in &found {
            self.wrong.entry(difference.clone()).or_insert(at);
        }
        if found.is_empty() {
            self.told.clear();
            if !was_right {
                self.last_right = Some(at);
                events.push(Event::MapRight { cluster: self.cluster.to_string(), node: self.node.clone() });
            }
        } else {
            let differences: Vec<_> = found.into_iter().take(DIFFERENCES_MAX).collect();
            if differences != self.told {
                self.told.clone_from(&differences);
                let (cluster, node) = (self.cluster.to_string(), self.node.clone());
                events.push(Event::MapWrong { cluster, node, differences });
            }
        }
        events
    }

    /// Entries that are wrong for longer than `limits` allow and were not complained about yet. Those that are wrong since
    /// after `heard` may be right: the agent can know what we have not heard of.
    pub(crate) fn too_old(&mut self, now: Micros, heard: Micros, limits: &MapLimits) -> Vec<TooOld> {
        let name = self.name();
        let mut complaints = Vec::new();
        for (difference, since) in self.wrong.iter().filter(|(_, since)| **since <= heard) {
            let age = now.since(*since);
            let Some(limit) = limit_of(difference, limits).filter(|limit| age > *limit) else { continue };
            if self.too_old.insert(difference.clone()) {
                let message = format!("node `{name}`: {difference}, for more than {limit:?}");
                complaints.push(TooOld { message });
            }
        }
        complaints
    }

    /// The run ends: what is still wrong.
    pub(crate) fn at_the_end(&self) -> Vec<Event> {
        self.wrong.iter().map(|(difference, since)| self.aged(difference.clone(), *since, true)).collect()
    }

    /// What is wrong, one sentence each.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let name = self.name();
        if self.maps.is_none() {
            return vec![format!("node `{name}`: its maps were not read yet")];
        }
        let mut found: Vec<String> =
            self.wrong.keys().take(DIFFERENCES_MAX).map(|difference| format!("node `{name}`: {difference}")).collect();
        if self.wrong.len() > DIFFERENCES_MAX {
            found.push(format!("node `{name}`: and {} more", self.wrong.len() - DIFFERENCES_MAX));
        }
        found
    }

    fn aged(&self, difference: MapDifference, since: Micros, to_the_end: bool) -> Event {
        let (cluster, node) = (self.cluster.to_string(), self.node.clone());
        Event::MapEntryAged { cluster, node, difference, since, to_the_end }
    }
}

/// What is wrong with the maps whatever the services are.
fn structure(defect: &str) -> MapDifference {
    MapDifference {
        kind: DifferenceKind::Structure,
        service: None,
        frontend: String::new(),
        backend: None,
        cluster: None,
        message: defect.to_owned(),
    }
}

/// How old a difference may become: what is there and should not be is stale, what is not there is missing.
fn limit_of(difference: &MapDifference, limits: &MapLimits) -> Option<Duration> {
    if difference.kind.is_missing() { limits.missing_max } else { limits.stale_max }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use meshbed_events::MapFrontend;

    use super::*;

    const FRONTEND: &str = "10.101.0.10:80/TCP";

    fn holding(frontend: Option<&[&str]>) -> MapState {
        let frontends = frontend.map(|active| {
            let active = active.iter().map(|&backend| backend.to_owned()).collect();
            (FRONTEND.to_owned(), MapFrontend { active, ..MapFrontend::default() })
        });
        MapState { frontends: frontends.into_iter().collect::<BTreeMap<_, _>>(), ..MapState::default() }
    }

    fn belief(maps: MapState) -> Belief {
        let mut belief = Belief::new("alpha".parse().expect("valid"), "alpha-1".to_owned());
        belief.maps = Some(maps);
        belief
    }

    #[test]
    fn a_stray_frontend_ages_until_it_is_gone() {
        let truth = MapTruth::default();
        let mut belief = belief(holding(Some(&[])));
        let first = belief.compare(Micros(10), &truth);
        assert!(matches!(first.as_slice(), [Event::MapWrong { .. }]), "{first:?}");
        assert!(!belief.is_right());
        let limits = MapLimits { stale_max: Some(Duration::from_micros(50)), missing_max: None };
        assert!(belief.too_old(Micros(60), Micros(60), &limits).is_empty(), "not older than allowed");
        assert!(belief.too_old(Micros(61), Micros(9), &limits).is_empty(), "we may be late ourselves");
        let complaints = belief.too_old(Micros(61), Micros(10), &limits);
        assert!(complaints[0].message.starts_with("node `alpha/alpha-1`: frontend"), "{complaints:?}");
        assert!(belief.too_old(Micros(99), Micros(99), &limits).is_empty(), "told once");
        belief.maps = Some(holding(None));
        let last = belief.compare(Micros(70), &truth);
        assert!(
            matches!(
                last.as_slice(),
                [Event::MapEntryAged { since: Micros(10), to_the_end: false, .. }, Event::MapRight { .. }]
            ),
            "{last:?}"
        );
    }

    #[test]
    fn what_is_wrong_at_the_end_is_said() {
        let mut belief = belief(holding(Some(&[])));
        belief.compare(Micros(10), &MapTruth::default());
        assert!(matches!(belief.at_the_end().as_slice(), [Event::MapEntryAged { to_the_end: true, .. }]));
    }
}
