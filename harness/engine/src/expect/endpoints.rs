//! `endpoints`: what a cluster's own Kubernetes API lists.

use std::{collections::BTreeSet, fmt, net::Ipv4Addr};

use futures::{FutureExt, future::BoxFuture};
use mesh_types::ClusterName;
use meshbed_scenario::{ClusterSet, Element, ServiceKey, Topology, element, record};

use super::{About, AnyExpect, Expect, Look};
use crate::stage::StepError;

/// In the language.
pub(super) const ELEMENT: Element<AnyExpect> = element!("endpoints", Endpoints);

record! {
    /// The ready endpoints of a service that the Kubernetes API of a cluster shows are in exactly these clusters.
    pub struct Endpoints {
        /// Whose API.
        pub in_: ClusterName,
        /// Which service.
        pub service: ServiceKey,
        /// Where the endpoints' addresses belong; empty: there are none.
        pub from: ClusterSet,
    }
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "endpoints: {{in: {}, service: {}, from: [{}]}}", self.in_, self.service, self.from)
    }
}

impl Expect for Endpoints {
    fn words(&self) -> String {
        let from = if self.from.is_empty() { "no cluster".to_owned() } else { self.from.to_string() };
        format!("the API of {} shows endpoints of {} in exactly {from}", self.in_, self.service)
    }

    fn about(&self) -> About {
        About::State
    }

    fn judge<'a>(&'a self, look: &'a Look<'a>) -> BoxFuture<'a, Result<Vec<String>, StepError>> {
        async move {
            let listed = look.stage.clusters[&self.in_].endpoints(&self.service).await?;
            Ok(self.findings(&listed, look.stage.scenario.topology()))
        }
        .boxed()
    }
}

impl Endpoints {
    /// The clusters that the listed addresses belong to against those expected.
    fn findings(&self, listed: &[String], topology: &Topology) -> Vec<String> {
        let mut findings = Vec::new();
        let mut found = BTreeSet::new();
        for address in listed {
            let owner = address
                .parse::<Ipv4Addr>()
                .ok()
                .and_then(|address| topology.clusters().iter().find(|cluster| cluster.pod_cidr().contains(&address)));
            match owner.map(|cluster| cluster.name()) {
                Some(cluster) if self.from.iter().any(|one| one == cluster) => {
                    found.insert(cluster.clone());
                }
                Some(cluster) => findings.push(format!("endpoint {address} belongs to {cluster}")),
                None => findings.push(format!("endpoint {address} belongs to no pod CIDR of the mesh")),
            }
        }
        let missing = self.from.iter().filter(|cluster| !found.contains(*cluster));
        findings.extend(missing.map(|cluster| format!("no endpoint of {cluster} is listed")));
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::testing::two_clusters;

    #[test]
    fn endpoints_of_another_cluster_are_found() {
        let expect = Endpoints {
            in_: "alpha".parse().expect("valid"),
            service: ServiceKey::new("default", "web"),
            from: ClusterSet::from_iter(["alpha".parse::<ClusterName>().expect("valid")]),
        };
        let topology = two_clusters();
        assert_eq!(expect.findings(&["10.1.1.2".into()], &topology), Vec::<String>::new());
        assert_eq!(expect.findings(&[], &topology), ["no endpoint of alpha is listed"]);
        assert_eq!(
            expect.findings(&["10.1.1.2".into(), "10.2.1.2".into(), "192.0.2.1".into()], &topology),
            ["endpoint 10.2.1.2 belongs to beta", "endpoint 192.0.2.1 belongs to no pod CIDR of the mesh"]
        );
    }
}
