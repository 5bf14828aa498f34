//! `maps`: what the nodes' load-balancing maps hold for a service.

use std::{collections::BTreeSet, fmt};

use futures::{FutureExt, future::BoxFuture};
use mesh_types::ClusterName;
use meshbed_events::MapState;
use meshbed_scenario::{ClusterSet, Element, NodeRef, ServiceKey, Topology, element, record};

use super::{About, AnyExpect, Expect, Look};
use crate::{probe::lock, stage::StepError};

/// In the language.
pub(super) const ELEMENT: Element<AnyExpect> = element!("maps", Maps);

record! {
    /// The maps of every node of a cluster (or of one node) hold selectable backends of a service in exactly these clusters.
    pub struct Maps {
        /// Whose nodes.
        pub in_: ClusterName,
        /// Only this node.
        pub node: Option<NodeRef>,
        /// The service.
        pub service: ServiceKey,
        /// Where its selectable backends are; empty: there are none.
        pub from: ClusterSet,
        /// How many selectable backends there are.
        pub count: Option<u64>,
    }
}

impl fmt::Display for Maps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "maps: {{in: {}, service: {}, from: [{}]}}", self.in_, self.service, self.from)
    }
}

impl Expect for Maps {
    fn words(&self) -> String {
        let place = match &self.node {
            Some(node) => format!("node {node}"),
            None => format!("every node of {}", self.in_),
        };
        let count = self.count.map(|count| format!("{count} ")).unwrap_or_default();
        let from = if self.from.is_empty() { "no cluster".to_owned() } else { self.from.to_string() };
        format!("the maps of {place} hold {count}backends of {} in exactly {from}", self.service)
    }

    fn about(&self) -> About {
        About::State
    }

    fn judge<'a>(&'a self, look: &'a Look<'a>) -> BoxFuture<'a, Result<Vec<String>, StepError>> {
        async move {
            let ip = look.stage.clusters[&self.in_].cluster_ip(&self.service).await?.to_string();
            let world = lock(&look.stage.world);
            let mut findings = Vec::new();
            for belief in world.beliefs().iter().filter(|belief| belief.cluster == self.in_) {
                if self.node.as_ref().is_some_and(|node| node.node != belief.node) {
                    continue;
                }
                let name = format!("node `{}`", belief.name());
                match &belief.maps {
                    None => findings.push(format!("{name}: its maps were not read yet")),
                    Some(maps) => {
                        let found = self.findings(maps, &ip, look.stage.scenario.topology());
                        findings.extend(found.into_iter().map(|finding| format!("{name}: {finding}")));
                    }
                }
            }
            Ok(findings)
        }
        .boxed()
    }
}

impl Maps {
    fn findings(&self, maps: &MapState, ip: &str, topology: &Topology) -> Vec<String> {
        let prefix = format!("{ip}:");
        let mut frontends = maps.frontends.iter().filter(|(frontend, _)| frontend.starts_with(&prefix)).peekable();
        if frontends.peek().is_none() {
            return vec![format!("service {} ({ip}) has no frontend", self.service)];
        }
        let mut findings = Vec::new();
        for (frontend, held) in frontends {
            let place = format!("service {} ({frontend})", self.service);
            let found: BTreeSet<ClusterName> =
                held.active.iter().filter_map(|backend| owner(backend, topology)).collect();
            let expected: BTreeSet<ClusterName> = self.from.iter().cloned().collect();
            findings.extend(expected.difference(&found).map(|cluster| format!("{place}: no backend of {cluster}")));
            findings.extend(found.difference(&expected).map(|cluster| format!("{place}: backends of {cluster}")));
            if let Some(count) = self.count.filter(|count| *count != held.active.len() as u64) {
                findings.push(format!("{place}: {} backends, expected {count}: {:?}", held.active.len(), held.active));
            }
        }
        findings
    }
}

/// The cluster whose pod CIDR has the address of a backend such as `10.1.1.2:80/TCP`.
fn owner(backend: &str, topology: &Topology) -> Option<ClusterName> {
    let ip: std::net::Ipv4Addr = backend.split(':').next()?.parse().ok()?;
    let cluster = topology.clusters().iter().find(|cluster| cluster.pod_cidr().contains(&ip))?;
    Some(cluster.name().clone())
}

#[cfg(test)]
mod tests {
    use meshbed_events::MapFrontend;

    use super::*;
    use crate::expect::testing::two_clusters;

    #[test]
    fn backends_are_told_by_the_cluster_of_their_address() {
        let expect = Maps {
            in_: "alpha".parse().expect("valid"),
            node: None,
            service: ServiceKey::new("default", "web"),
            from: ClusterSet::from_iter(["beta".parse::<ClusterName>().expect("valid")]),
            count: Some(2),
        };
        let mut maps = MapState::default();
        assert_eq!(
            expect.findings(&maps, "10.101.0.10", &two_clusters()),
            ["service default/web (10.101.0.10) has no frontend"]
        );
        let active = vec!["10.1.1.2:80/TCP".to_owned()];
        maps.frontends.insert("10.101.0.10:80/TCP".into(), MapFrontend { active, ..MapFrontend::default() });
        let place = "service default/web (10.101.0.10:80/TCP)";
        assert_eq!(
            expect.findings(&maps, "10.101.0.10", &two_clusters()),
            [
                format!("{place}: no backend of beta"),
                format!("{place}: backends of alpha"),
                format!("{place}: 1 backends, expected 2: [\"10.1.1.2:80/TCP\"]")
            ]
        );
    }
}
