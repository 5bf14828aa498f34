//! How each change of a service finds its way: API, exporter, etcd, agents, maps.
//!
//! What the harness sees itself (its watches of the APIs and etcds, its readings of the maps) and what the agents under
//! test write to their traces, if their description names any, is collected while the run goes on and joined at its end:
//! traces arrive late and in blocks. Without traces the legs between are missing, the ends are there all the same.

mod etcd;
mod join;
mod trace;

use std::collections::BTreeMap;

use meshbed_driver::RunState;
use meshbed_events::{Hop, MapState, Micros};
use serde_json::Value;

pub(crate) use etcd::follow;
use join::{Place, Sight, Sighting};
pub(crate) use trace::{Line as TraceLine, parse as parse_trace};

use crate::{RunClock, watch::Kind};

/// Sightings kept of one run; what comes later is not followed. A change takes about ten of them.
const SIGHTINGS_MAX: usize = 1 << 20;
/// Label of a slice that names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Traces of agents on other machines, by the names of the processes; times are those of this machine.
pub(crate) type Traces = BTreeMap<String, Vec<TraceLine>>;

/// Everything seen on the way of changes.
#[derive(Debug, Default)]
pub(crate) struct Propagation {
    sightings: Vec<Sighting>,
    /// Service (`namespace/name`) of each cluster IP that was ever seen, by cluster.
    by_address: BTreeMap<(String, String), String>,
}

impl Propagation {
    fn push(&mut self, at: Micros, sight: Sight) {
        if self.sightings.len() < SIGHTINGS_MAX {
            self.sightings.push(Sighting { at, sight });
        }
    }

    /// The watch of an API saw an object in this version.
    pub(crate) fn object(&mut self, at: Micros, cluster: &str, kind: Kind, name: &str, version: u64, object: &Value) {
        let service = match kind {
            Kind::Service => {
                if let Some(address) = object.pointer("/spec/clusterIP").and_then(Value::as_str) {
                    self.by_address.insert((cluster.to_owned(), address.to_owned()), name.to_owned());
                }
                name.to_owned()
            }
            Kind::EndpointSlice => {
                let labels = &object["metadata"]["labels"];
                let Some(service) = labels[SERVICE_NAME].as_str() else { return };
                let namespace = name.split_once('/').map_or("", |(namespace, _)| namespace);
                format!("{namespace}/{service}")
            }
            Kind::Pod | Kind::Deployment | Kind::Node => return,
        };
        self.push(at, Sight::Api { cluster: cluster.to_owned(), service, version });
    }

    /// The watch of an etcd saw a change of a service.
    pub(crate) fn etcd(&mut self, at: Micros, cluster: &str, service: String, revision: i64) {
        self.push(at, Sight::Etcd { cluster: cluster.to_owned(), service, revision });
    }

    /// A node's maps were read and differ from the reading before.
    pub(crate) fn maps(&mut self, at: Micros, cluster: &str, node: &str, before: Option<&MapState>, after: &MapState) {
        let empty = MapState::default();
        let before = before.unwrap_or(&empty);
        let mut services: Vec<String> = before
            .frontends
            .keys()
            .chain(after.frontends.keys())
            .filter(|frontend| before.frontends.get(*frontend) != after.frontends.get(*frontend))
            .filter_map(|frontend| {
                let address = frontend.rsplit_once(':')?.0;
                self.by_address.get(&(cluster.to_owned(), address.to_owned())).cloned()
            })
            .collect();
        services.sort();
        services.dedup();
        for service in services {
            let place = Place { cluster: cluster.to_owned(), node: Some(node.to_owned()) };
            self.push(at, Sight::Map { place, service });
        }
    }

    /// Joins everything with the traces of the run's agents, in the order of time.
    pub(crate) fn hops(&self, state: &RunState, fetched: &Traces, clock: RunClock) -> Vec<(Micros, Hop)> {
        let mut sightings = self.sightings.clone();
        let mut traced = Vec::new();
        for process in &state.processes {
            let Some(path) = &process.launch.trace else { continue };
            let Some(cluster) = &process.cluster else { continue };
            let place = Place { cluster: cluster.to_string(), node: process.node.clone() };
            let lines = fetched.get(&process.name).cloned().unwrap_or_else(|| trace::read(path));
            let lines = lines.into_iter().filter(|line| line.is_of_run(clock));
            sightings.extend(lines.map(|line| line.sighting(&place, clock)));
            traced.push(place);
        }
        sightings.sort_by_key(|sighting| sighting.at);
        join::join(&sightings, &traced)
    }
}
