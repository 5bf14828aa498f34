//! From sightings to the hops of each change. Pure.

use std::collections::{BTreeMap, BTreeSet};

use meshbed_events::{Hop, HopStage, Micros};

/// Something that was seen on the way of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sighting {
    pub(super) at: Micros,
    pub(super) sight: Sight,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Our watch of an API saw a version of a service or of one of its slices.
    Api { cluster: String, service: String, version: u64 },
    /// Our watch of an etcd saw a revision of a service.
    Etcd { cluster: String, service: String, revision: i64 },
    /// Our reading of a node's maps differs from the one before in frontends of a service.
    Map { place: Place, service: String },
    /// An agent says that it took a step.
    Trace { place: Place, step: Step, cluster: String, service: String, version: Option<u64> },
}

/// Where: a node, or the control plane of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) cluster: String,
    pub(super) node: Option<String>,
}

/// A step that an agent tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It took in a version from its cluster's API.
    Kubernetes,
    /// Its cluster's etcd has answered its put.
    EtcdPut,
    /// It took in a revision from a remote cluster's etcd.
    EtcdWatch,
    /// It has written the maps.
    Map,
}

/// A change that is being followed.
struct Change {
    origin: String,
    service: String,
}

/// Number of a change, and index of it.
type Number = usize;

#[derive(Default)]
struct Join {
    changes: Vec<Change>,
    by_version: BTreeMap<(String, String, u64), Number>,
    by_revision: BTreeMap<(String, String, i64), Number>,
    /// Newest change of a service in a cluster.
    newest: BTreeMap<(String, String), Number>,
    /// Newest change of a service anywhere.
    newest_anywhere: BTreeMap<String, Number>,
    /// What the exporter of a cluster took in last of a service.
    exporting: BTreeMap<(String, String), Number>,
    /// Changes that made an agent write its maps, as it says: most others change nothing there.
    written: BTreeSet<(Place, Number)>,
    /// Changes that an agent has and that our readings have not shown yet, by node and service.
    waiting: BTreeMap<(Place, String), BTreeSet<Number>>,
    arrived: BTreeSet<(Number, HopStage, Place)>,
    hops: Vec<(Micros, Hop)>,
}

/// The hops of all changes. `sightings` are in the order of time; `traced` are the places that write traces: of them we know
/// which event is behind a map, of others it is taken to be the newest.
pub(super) fn join(sightings: &[Sighting], traced: &[Place]) -> Vec<(Micros, Hop)> {
    let mut join = Join::default();
    join.changes(sightings);
    join.revisions(sightings, traced);
    join.writes(sightings);
    for Sighting { at, sight } in sightings {
        join.arrivals(*at, sight, traced);
    }
    join.hops.sort_by_key(|(at, hop)| (*at, hop.change, hop.stage));
    join.hops
}

impl Join {
    /// Every version that our watches saw is a change. Others may have heard of it before us, so all are numbered first.
    fn changes(&mut self, sightings: &[Sighting]) {
        for Sighting { sight, .. } in sightings {
            let Sight::Api { cluster, service, version } = sight else { continue };
            let key = (cluster.clone(), service.clone(), *version);
            if !self.by_version.contains_key(&key) {
                self.by_version.insert(key, self.changes.len());
                self.changes.push(Change { origin: cluster.clone(), service: service.clone() });
            }
        }
    }

    /// Which revision belongs to which change: by what the exporter took in last before its put, or, when the exporter
    /// writes no trace, by what the API said last.
    fn revisions(&mut self, sightings: &[Sighting], traced: &[Place]) {
        for Sighting { sight, .. } in sightings {
            match sight {
                Sight::Api { cluster, service, version } => {
                    let number = self.by_version[&(cluster.clone(), service.clone(), *version)];
                    self.newest.insert((cluster.clone(), service.clone()), number);
                }
                Sight::Trace { place: Place { node: None, .. }, step: Step::Kubernetes, cluster, service, version } => {
                    let known =
                        version.and_then(|version| self.by_version.get(&(cluster.clone(), service.clone(), version)));
                    if let Some(number) = known.copied() {
                        self.exporting.insert((cluster.clone(), service.clone()), number);
                    }
                }
                Sight::Trace { place: Place { node: None, .. }, step: Step::EtcdPut, cluster, service, version } => {
                    let exported = self.exporting.get(&(cluster.clone(), service.clone())).copied();
                    if let (Some(number), Some(Ok(revision))) = (exported, version.map(i64::try_from)) {
                        self.by_revision.insert((cluster.clone(), service.clone(), revision), number);
                    }
                }
                Sight::Etcd { cluster, service, revision } if !is_traced(traced, cluster, None) => {
                    if let Some(number) = self.newest.get(&(cluster.clone(), service.clone())).copied() {
                        self.by_revision.insert((cluster.clone(), service.clone(), *revision), number);
                    }
                }
                _ => {}
            }
        }
    }

    fn writes(&mut self, sightings: &[Sighting]) {
        for Sighting { sight, .. } in sightings {
            let Sight::Trace { place, step: Step::Map, cluster, service, version: Some(version) } = sight else {
                continue;
            };
            if let Some(number) = self.of_event(place, cluster, service, *version) {
                self.written.insert((place.clone(), number));
            }
        }
    }

    fn arrivals(&mut self, at: Micros, sight: &Sight, traced: &[Place]) {
        match sight {
            Sight::Api { cluster, service, version } => {
                let number = self.by_version[&(cluster.clone(), service.clone(), *version)];
                self.newest_anywhere.insert(service.clone(), number);
                self.arrive(at, number, HopStage::Api, &Place { cluster: cluster.clone(), node: None });
            }
            Sight::Etcd { cluster, service, revision } => {
                if let Some(number) = self.of_revision(cluster, service, *revision) {
                    self.arrive(at, number, HopStage::Etcd, &Place { cluster: cluster.clone(), node: None });
                }
            }
            Sight::Trace { place, step, cluster, service, version } => {
                let Some(version) = *version else { return };
                self.step(at, place, *step, cluster, service, version);
            }
            Sight::Map { place, service } => {
                if is_traced(traced, &place.cluster, place.node.as_deref()) {
                    let shown = self.waiting.remove(&(place.clone(), service.clone()));
                    for number in shown.unwrap_or_default() {
                        self.arrive(at, number, HopStage::Map, place);
                    }
                } else if let Some(number) = self.newest_anywhere.get(service).copied() {
                    self.arrive(at, number, HopStage::Map, place);
                }
            }
        }
    }

    fn step(&mut self, at: Micros, place: &Place, step: Step, cluster: &str, service: &str, version: u64) {
        // That it has written the maps is its word; what counts is that we read it there.
        let (Step::Kubernetes | Step::EtcdWatch) = step else { return };
        let Some(number) = self.of_event(place, cluster, service, version) else { return };
        if place.node.is_none() {
            self.arrive(at, number, HopStage::Exporter, place);
            return;
        }
        self.arrive(at, number, HopStage::Agent, place);
        if self.written.contains(&(place.clone(), number)) {
            self.waiting.entry((place.clone(), service.to_owned())).or_default().insert(number);
        }
    }

    /// The change behind an event that something at `place` took in: its own cluster's come from the API, others from etcd.
    fn of_event(&self, place: &Place, cluster: &str, service: &str, version: u64) -> Option<Number> {
        if place.cluster == cluster {
            self.by_version.get(&(cluster.to_owned(), service.to_owned(), version)).copied()
        } else {
            self.of_revision(cluster, service, i64::try_from(version).ok()?)
        }
    }

    fn of_revision(&self, cluster: &str, service: &str, revision: i64) -> Option<Number> {
        self.by_revision.get(&(cluster.to_owned(), service.to_owned(), revision)).copied()
    }

    /// Only the first arrival of a change at a place counts.
    fn arrive(&mut self, at: Micros, number: Number, stage: HopStage, place: &Place) {
        if !self.arrived.insert((number, stage, place.clone())) {
            return;
        }
        let change = &self.changes[number];
        let hop = Hop {
            origin: change.origin.clone(),
            service: change.service.clone(),
            change: u64::try_from(number).unwrap_or(u64::MAX),
            stage,
            cluster: place.cluster.clone(),
            node: place.node.clone(),
        };
        self.hops.push((at, hop));
    }
}

fn is_traced(traced: &[Place], cluster: &str, node: Option<&str>) -> bool {
    traced.iter().any(|place| place.cluster == cluster && place.node.as_deref() == node)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "default/web";

    fn place(cluster: &str, node: Option<&str>) -> Place {
        Place { cluster: cluster.to_owned(), node: node.map(str::to_owned) }
    }

    fn api(at: u64, version: u64) -> Sighting {
        let (cluster, service) = ("beta".to_owned(), SERVICE.to_owned());
        Sighting { at: Micros(at), sight: Sight::Api { cluster, service, version } }
    }

    fn etcd(at: u64, revision: i64) -> Sighting {
        let (cluster, service) = ("beta".to_owned(), SERVICE.to_owned());
        Sighting { at: Micros(at), sight: Sight::Etcd { cluster, service, revision } }
    }

    fn map(at: u64) -> Sighting {
        let (place, service) = (place("alpha", Some("alpha-1")), SERVICE.to_owned());
        Sighting { at: Micros(at), sight: Sight::Map { place, service } }
    }

    fn trace(at: u64, place: Place, step: Step, version: u64) -> Sighting {
        let (cluster, service, version) = ("beta".to_owned(), SERVICE.to_owned(), Some(version));
        Sighting { at: Micros(at), sight: Sight::Trace { place, step, cluster, service, version } }
    }

    fn told(hops: &[(Micros, Hop)]) -> Vec<(u64, u64, &'static str)> {
        hops.iter().map(|(at, hop)| (at.0, hop.change, hop.stage.as_str())).collect()
    }

    #[test]
    fn a_change_is_followed_from_the_api_to_a_remote_map() {
        let (exporter, agent) = (place("beta", None), place("alpha", Some("alpha-1")));
        let sightings = [
            api(10, 5),
            trace(12, exporter.clone(), Step::Kubernetes, 5),
            etcd(14, 77),
            trace(15, exporter.clone(), Step::EtcdPut, 77),
            trace(16, agent.clone(), Step::EtcdWatch, 77),
            trace(18, agent.clone(), Step::Map, 77),
            map(19),
        ];
        let hops = join(&sightings, &[exporter, agent]);
        let expected = [(10, 0, "api"), (12, 0, "exporter"), (14, 0, "etcd"), (16, 0, "agent"), (19, 0, "map")];
        assert_eq!(told(&hops), expected);
        assert_eq!(hops[4].1.node.as_deref(), Some("alpha-1"));
    }

    #[test]
    fn a_change_that_writes_no_map_is_not_given_the_next_ones() {
        let (exporter, agent) = (place("beta", None), place("alpha", Some("alpha-1")));
        let sightings = [
            api(10, 5),
            trace(11, exporter.clone(), Step::Kubernetes, 5),
            trace(12, exporter.clone(), Step::EtcdPut, 77),
            trace(13, agent.clone(), Step::EtcdWatch, 77),
            api(20, 6),
            trace(21, exporter.clone(), Step::Kubernetes, 6),
            trace(22, exporter.clone(), Step::EtcdPut, 78),
            trace(23, agent.clone(), Step::EtcdWatch, 78),
            trace(24, agent.clone(), Step::Map, 78),
            map(25),
        ];
        let hops = join(&sightings, &[exporter, agent]);
        let maps: Vec<_> = told(&hops).into_iter().filter(|(_, _, stage)| *stage == "map").collect();
        assert_eq!(maps, [(25, 1, "map")]);
    }

    #[test]
    fn without_traces_the_ends_are_there() {
        let hops = join(&[api(10, 5), etcd(14, 77), map(19), map(30)], &[]);
        assert_eq!(told(&hops), [(10, 0, "api"), (14, 0, "etcd"), (19, 0, "map")]);
    }

    #[test]
    fn an_agent_may_hear_of_it_before_we_do() {
        let exporter = place("beta", None);
        let sightings = [trace(9, exporter.clone(), Step::Kubernetes, 5), api(10, 5)];
        assert_eq!(told(&join(&sightings, &[exporter])), [(9, 0, "exporter"), (10, 0, "api")]);
    }
}
