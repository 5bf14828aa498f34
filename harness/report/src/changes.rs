//! The way of each change of a service: API, exporter, etcd, agents, maps, and how long each leg took.

use std::collections::BTreeMap;

use meshbed_events::{Hop, HopStage, Micros};

use crate::{Distribution, Node};

/// All changes of a run, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    by_number: BTreeMap<u64, Change>,
}

/// One change of a service and where it arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The cluster whose API had it.
    pub origin: String,
    /// The service, as `namespace/name`.
    pub service: String,
    /// When the origin's API had committed it.
    pub api: Option<Micros>,
    /// When the origin's exporter had it.
    pub exporter: Option<Micros>,
    /// When the origin's etcd had committed it.
    pub etcd: Option<Micros>,
    /// When each node's agent and maps had it.
    pub nodes: BTreeMap<Node, Reached>,
}

/// When a change was at one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// When the agent had it.
    pub agent: Option<Micros>,
    /// When the maps showed it.
    pub map: Option<Micros>,
}

/// A part of the way, or the whole of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leg {
    /// From the API's commit to the exporter.
    ApiToExporter,
    /// From the exporter to the etcd's commit.
    ExporterToEtcd,
    /// From the etcd's commit to the agent of a node of another cluster.
    EtcdToAgent,
    /// From the agent of a node of another cluster to that node's maps.
    AgentToMap,
    /// From the API's commit to the maps of a node of another cluster: all of the above.
    ApiToRemoteMap,
    /// From the API's commit to the agent of a node of the same cluster.
    ApiToLocalAgent,
    /// From the agent of a node of the same cluster to that node's maps.
    LocalAgentToMap,
    /// From the API's commit to the maps of a node of the same cluster.
    ApiToLocalMap,
}

impl Leg {
    /// All legs, in the order of reports.
    pub const ALL: [Self; 8] = [
        Self::ApiToExporter,
        Self::ExporterToEtcd,
        Self::EtcdToAgent,
        Self::AgentToMap,
        Self::ApiToRemoteMap,
        Self::ApiToLocalAgent,
        Self::LocalAgentToMap,
        Self::ApiToLocalMap,
    ];

    /// The words used in tables and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiToExporter => "api to exporter",
            Self::ExporterToEtcd => "exporter to etcd",
            Self::EtcdToAgent => "etcd to remote agent",
            Self::AgentToMap => "remote agent to map",
            Self::ApiToRemoteMap => "api to remote map",
            Self::ApiToLocalAgent => "api to local agent",
            Self::LocalAgentToMap => "local agent to map",
            Self::ApiToLocalMap => "api to local map",
        }
    }
}

impl Change {
    fn at(&mut self, hop: &Hop) -> &mut Reached {
        let name = hop.node.clone().unwrap_or_default();
        self.nodes.entry(Node { cluster: hop.cluster.clone(), name }).or_default()
    }
}

impl Changes {
    /// A change reached a place; only its first arrival there counts.
    pub(crate) fn hop(&mut self, at: Micros, hop: &Hop) {
        let change = self.by_number.entry(hop.change).or_insert_with(|| Change {
            origin: hop.origin.clone(),
            service: hop.service.clone(),
            ..Change::default()
        });
        let place = match hop.stage {
            HopStage::Agent => &mut change.at(hop).agent,
            HopStage::Map => &mut change.at(hop).map,
            HopStage::Api => &mut change.api,
            HopStage::Exporter => &mut change.exporter,
            HopStage::Etcd => &mut change.etcd,
        };
        place.get_or_insert(at);
    }

    /// The changes, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Change)> {
        self.by_number.iter().map(|(number, change)| (*number, change))
    }

    /// How many changes there were.
    pub fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Whether no change was followed.
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// How long each leg took; legs that nothing was seen on are left out.
    pub fn legs(&self) -> BTreeMap<Leg, Distribution> {
        let mut legs = BTreeMap::new();
        self.add_to(&mut legs);
        legs
    }

    /// Adds the times of all changes to `legs`, which may hold those of other runs.
    pub(crate) fn add_to(&self, legs: &mut BTreeMap<Leg, Distribution>) {
        let mut add = |leg: Leg, from: Option<Micros>, to: Option<Micros>| {
            if let (Some(from), Some(to)) = (from, to) {
                legs.entry(leg).or_default().add_between(from, to);
            }
        };
        for change in self.by_number.values() {
            add(Leg::ApiToExporter, change.api, change.exporter);
            add(Leg::ExporterToEtcd, change.exporter, change.etcd);
            for (node, reached) in &change.nodes {
                if node.cluster == change.origin {
                    add(Leg::ApiToLocalAgent, change.api, reached.agent);
                    add(Leg::LocalAgentToMap, reached.agent, reached.map);
                    add(Leg::ApiToLocalMap, change.api, reached.map);
                } else {
                    add(Leg::EtcdToAgent, change.etcd, reached.agent);
                    add(Leg::AgentToMap, reached.agent, reached.map);
                    add(Leg::ApiToRemoteMap, change.api, reached.map);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legs_are_told_apart_by_where_the_node_is() {
        let hop = |stage: HopStage, cluster: &str, node: Option<&str>| Hop {
            origin: "alpha".into(),
            service: "default/rebel-base".into(),
            change: 3,
            stage,
            cluster: cluster.into(),
            node: node.map(str::to_owned),
        };
        let mut changes = Changes::default();
        changes.hop(Micros(100), &hop(HopStage::Api, "alpha", None));
        changes.hop(Micros(160), &hop(HopStage::Etcd, "alpha", None));
        changes.hop(Micros(110), &hop(HopStage::Exporter, "alpha", None));
        changes.hop(Micros(200), &hop(HopStage::Agent, "beta", Some("beta-1")));
        changes.hop(Micros(240), &hop(HopStage::Map, "beta", Some("beta-1")));
        changes.hop(Micros(900), &hop(HopStage::Map, "beta", Some("beta-1")));
        changes.hop(Micros(130), &hop(HopStage::Map, "alpha", Some("alpha-1")));
        let told: Vec<_> = changes.legs().into_iter().map(|(leg, times)| (leg, times.max().expect("a time"))).collect();
        assert_eq!(
            told,
            [
                (Leg::ApiToExporter, 10),
                (Leg::ExporterToEtcd, 50),
                (Leg::EtcdToAgent, 40),
                (Leg::AgentToMap, 40),
                (Leg::ApiToRemoteMap, 140),
                (Leg::ApiToLocalMap, 30),
            ]
        );
    }
}
