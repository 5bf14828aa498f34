//! Which knowledge and which packets are cut off by what.

use mesh_types::ClusterName;
use meshbed_events::Micros;
use meshbed_oracle::{Cut, Fate, Observers, Place};
use meshbed_scenario::NodeRef;

use super::Injection;
use crate::{probe::lock, world::Strike};

/// Nobody in other clusters learns what happens in `about` any more, because nobody writes it to the cluster's etcd or
/// nobody can read it there; what they know stays
/// as long as the mesh lets its agents remember.
pub(super) fn others_blind(injection: &Injection, strike: Strike, about: &ClusterName) -> Strike {
    let cut = |observers, fate| Cut::Knowledge { observers, about: about.clone(), fate };
    strike.cuts(cut(Observers::OtherClusters, remembered(injection))).cuts(cut(Observers::Kvstore, Fate::Kept))
}

/// The etcd of `cluster` answers nobody: others hear nothing of it, and where its own agents read remote clusters from copies
/// in it, they hear nothing of any of these either.
pub(super) fn etcd_silent(injection: &Injection, strike: Strike, cluster: &ClusterName) -> Strike {
    let strike = others_blind(injection, strike, cluster);
    if injection.topology.agents().kvstoremesh { copies_stale(injection, strike, cluster) } else { strike }
}

/// The agents of `cluster` hear nothing of any remote cluster any more.
pub(super) fn copies_stale(injection: &Injection, mut strike: Strike, cluster: &ClusterName) -> Strike {
    for about in injection.topology.clusters().iter().map(meshbed_scenario::Cluster::name) {
        if about != cluster {
            let (observers, about) = (Observers::ClusterNodes(cluster.clone()), about.clone());
            strike = strike.cuts(Cut::Knowledge { observers, about, fate: remembered(injection) });
        }
    }
    strike
}

/// What becomes of what agents know of a cluster that they lose now: it stays, but services only for so long as the mesh
/// says, if it does.
fn remembered(injection: &Injection) -> Fate {
    match injection.topology.agents().cache_ttl {
        None => Fate::Kept,
        Some(ttl) => {
            let ttl = u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX);
            let now = lock(&injection.world).clock.now();
            Fate::MayVanish { from: Micros(now.0.saturating_add(ttl)) }
        }
    }
}

/// Nobody at all learns what happens in `about` any more.
pub(super) fn all_blind(strike: Strike, about: &ClusterName) -> Strike {
    strike.cuts(Cut::Knowledge { observers: Observers::All, about: about.clone(), fate: Fate::Kept })
}

/// Other clusters may forget what they know of `about` from now on, for a moment: its keys vanish and come again.
pub(super) fn others_may_forget(injection: &Injection, strike: Strike, about: &ClusterName) -> Strike {
    let fate = Fate::MayVanish { from: lock(&injection.world).clock.now() };
    strike.cuts(Cut::Knowledge { observers: Observers::OtherClusters, about: about.clone(), fate })
}

/// The agent of one node learns nothing more of `remote`: something happens to its configuration.
pub(super) fn configuration(node: &NodeRef, remote: &ClusterName, fate: Fate) -> Strike {
    let observers = Observers::Node(node.cluster.clone(), node.node.clone());
    let cut = Cut::Knowledge { observers, about: remote.clone(), fate };
    Strike::at(format!("configuration of {remote} on {node}")).cuts(cut).hits(&node.cluster)
}

/// The agent of one node learns nothing any more.
pub(super) fn node_blind(injection: &Injection, mut strike: Strike, cluster: &ClusterName, node: &str) -> Strike {
    for about in injection.topology.clusters() {
        let observers = Observers::Node(cluster.clone(), node.to_owned());
        strike = strike.cuts(Cut::Knowledge { observers, about: about.name().clone(), fate: Fate::Kept });
    }
    strike.hits(cluster)
}

/// No packet, and so no news, passes between two clusters, in either direction: TCP needs both.
pub(super) fn apart(strike: Strike, a: &ClusterName, b: &ClusterName) -> Strike {
    let blind = |observers: &ClusterName, about: &ClusterName| Cut::Knowledge {
        observers: Observers::ClusterNodes(observers.clone()),
        about: about.clone(),
        fate: Fate::Kept,
    };
    let path = |from: &ClusterName, to: &ClusterName| Cut::Path {
        from: Place::Cluster(from.clone()),
        to: Place::Cluster(to.clone()),
    };
    strike.cuts(blind(a, b)).cuts(blind(b, a)).cuts(path(a, b)).cuts(path(b, a)).hits(a).hits(b)
}

/// Packets between two clusters may come late or not at all.
pub(super) fn slow(strike: Strike, a: &ClusterName, b: &ClusterName) -> Strike {
    let slow = |from: &ClusterName, to: &ClusterName| Cut::Slow {
        from: Place::Cluster(from.clone()),
        to: Place::Cluster(to.clone()),
    };
    strike.cuts(slow(a, b)).cuts(slow(b, a)).hits(a).hits(b)
}
