//! Link down: the link of a node, or of a whole cluster to the WAN, goes down.
//!
//! Effect: no packet passes in either direction, and everybody inside goes on. Witness: the kernel says that the link is
//! down. Heal: it comes up again, with the routes that it had.

use std::{fmt, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use meshbed_oracle::{Cut, Place};
use meshbed_scenario::{ClusterName, NodeRef, record};

use super::{Fault, FaultError, Injected, Injection, cuts, words::Words};
use crate::{
    place::{self, Errand},
    world::Strike,
};

record! {
    /// The link of a node, or of a whole cluster to the WAN, goes down.
    pub struct LinkDown {
        /// A cluster: its link to the WAN.
        pub cluster: Option<ClusterName>,
        /// A node: its link to its cluster's segment.
        pub node: Option<NodeRef>,
    }
    check |record, at, context| {
        if record.cluster.is_some() == record.node.is_some() {
            context.report(at, "expected either `cluster` or `node`", None);
        }
    }
}

impl fmt::Display for LinkDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "take the link of {} down", self.whose())
    }
}

impl Fault for LinkDown {
    fn kind(&self) -> &'static str {
        "link-down"
    }

    fn inject<'a>(&'a self, injection: &'a Injection) -> BoxFuture<'a, Result<Vec<Injected>, FaultError>> {
        async move {
            let id = injection.strike(self.strike(injection));
            let (control, this) = (injection.control.clone(), self.clone());
            let witness = this.set(&control, false).await?;
            injection.witnessed(id, witness);
            let healing = async move {
                let witness = this.set(&control, true).await?;
                // A carrier is not enough: bridges and neighbours take their time, and until then packets are lost.
                let took = this.reached(&control).await?;
                Ok(format!("{witness}; packets arrived after {took:.1?}"))
            };
            Ok(vec![Injected { id, healing: healing.boxed() }])
        }
        .boxed()
    }
}

impl LinkDown {
    fn whose(&self) -> String {
        match (&self.cluster, &self.node) {
            (Some(cluster), _) => format!("cluster {cluster}"),
            (None, Some(node)) => format!("node {node}"),
            (None, None) => "nobody".to_owned(),
        }
    }

    fn strike(&self, injection: &Injection) -> Strike {
        let mut strike = Strike::at(format!("link of {}", self.whose()));
        let clusters = injection.topology.clusters();
        if let Some(cluster) = &self.cluster {
            for other in clusters.iter().filter(|other| other.name() != cluster) {
                strike = cuts::apart(strike, cluster, other.name());
            }
        }
        if let Some(node) = &self.node {
            strike =
                cuts::node_blind(injection, strike, &node.cluster, &node.node).loses_node(&node.cluster, &node.node);
            let place = Place::Node(node.cluster.clone(), node.node.clone());
            for other in clusters {
                let other = Place::Cluster(other.name().clone());
                strike = strike
                    .cuts(Cut::Path { from: other.clone(), to: place.clone() })
                    .cuts(Cut::Path { from: place.clone(), to: other });
            }
        }
        strike
    }

    /// Waits until packets get through again: to the cluster from every other one, to the node from its control plane.
    async fn reached(&self, control: &meshbed_driver::Control) -> Result<Duration, FaultError> {
        let state = control.state();
        let mut ways = Vec::new();
        if let Some(whole) = self.cluster.as_ref().and_then(|cluster| state.cluster(cluster.as_str())) {
            let others = state.clusters.iter().filter(|other| other.name != whole.name);
            // To nodes: the bridge itself hears packets through a port that forwards none yet.
            ways.extend(others.flat_map(|other| whole.nodes.iter().map(|node| (other.clone(), node.ip))));
        }
        if let Some((cluster, node)) = self.node.as_ref().and_then(|node| state.find_node(&node.node)) {
            ways.push((cluster.clone(), node.ip));
        }
        let mut longest = Duration::ZERO;
        for (from, to) in ways {
            let errand = Errand::Reach(from.netns, to);
            longest = longest.max(place::run(control, from.name.as_str(), errand).await?);
        }
        Ok(longest)
    }

    async fn set(&self, control: &meshbed_driver::Control, up: bool) -> Result<String, FaultError> {
        let failed =
            FaultError::failed(format!("take the link of {} {}", self.whose(), if up { "up" } else { "down" }));
        let link = if up { meshbed_driver::Link::Up } else { meshbed_driver::Link::Down };
        match (&self.cluster, &self.node) {
            (Some(cluster), _) => control.cluster_link(cluster.as_str(), link).await,
            (None, Some(node)) => control.node_link(&node.node, link).await,
            (None, None) => return Err(FaultError::NoTarget { what: "no link is named".to_owned() }),
        }
        .map(|seen| seen.words())
        .map_err(failed)
    }
}
