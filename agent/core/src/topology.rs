//! Which backends a client should use by where they are: traffic policy `Local` and topology hints.

use mesh_types::{Backend, TrafficPolicy};

use crate::{backends::Endpoint, node::Node};

/// A backend with what its endpoint says.
pub(crate) type Located<'a> = (Backend, &'a Endpoint);

/// Drops what a traffic policy forbids: under `Local`, backends of other nodes. Remote backends have no node and pass,
/// as in Cilium.
pub(crate) fn by_policy(backends: &mut Vec<Located<'_>>, policy: TrafficPolicy, node: &Node) {
    if policy == TrafficPolicy::Local {
        backends.retain(|(_, endpoint)| endpoint.node.is_empty() || endpoint.node == node.name);
    }
}

/// Drops the backends of both sides that are not meant for the node's zone, but only if every one of them has hints and
/// at least one is for that zone.
///
/// Remote backends count, also those that the service's affinity leaves aside afterwards: one without hints, as from a
/// peer that knows none, makes the zone of no importance.
pub(crate) fn by_zone<'a>(local: &mut Vec<Located<'a>>, remote: &mut Vec<Located<'a>>, node: &Node) {
    let Some(zone) = &node.zone else { return };
    let all = || local.iter().chain(remote.iter()).map(|(_, endpoint)| &endpoint.hints);
    if all().any(Vec::is_empty) || !all().any(|hints| hints.contains(zone)) {
        return;
    }
    for side in [local, remote] {
        side.retain(|(_, endpoint)| endpoint.hints.contains(zone));
    }
}

#[cfg(test)]
mod tests {
    use mesh_types::{BackendAddress, BackendState, Protocol};
    use test_case::test_case;

    use super::*;

    fn node() -> Node {
        Node { name: "alpha-1".to_owned(), zone: Some("a".to_owned()), ..Node::default() }
    }

    fn endpoints(described: &[(&str, &[&str])]) -> Vec<Endpoint> {
        let endpoint = |(node, hints): &(&str, &[&str])| Endpoint {
            state: BackendState::Active,
            node: (*node).to_owned(),
            hints: hints.iter().map(|&zone| zone.to_owned()).collect(),
        };
        described.iter().map(endpoint).collect()
    }

    fn located(endpoints: &[Endpoint]) -> Vec<Located<'_>> {
        let address = |last| BackendAddress { ip: [10, 0, 0, last].into(), port: 80, protocol: Protocol::Tcp };
        let backend = |last| Backend { state: BackendState::Active, address: address(last), cluster: None };
        (0..).map(backend).zip(endpoints).collect()
    }

    fn kept(backends: &[Located<'_>]) -> Vec<u8> {
        backends.iter().map(|(backend, _)| backend.address.ip.octets()[3]).collect()
    }

    /// Rule 4.5, first point.
    #[test_case(TrafficPolicy::Cluster => vec![0, 1, 2] ; "cluster: all")]
    #[test_case(TrafficPolicy::Local => vec![0, 2] ; "local: this node's and those without a node")]
    fn policies(policy: TrafficPolicy) -> Vec<u8> {
        let endpoints = endpoints(&[("alpha-1", &[]), ("alpha-2", &[]), ("", &[])]);
        let mut backends = located(&endpoints);
        by_policy(&mut backends, policy, &node());
        kept(&backends)
    }

    /// Rule 4.5, second point: which local and which remote backends stay.
    #[test_case(&[&["a"], &["b"]], &[&["a", "b"], &["c"]] => (vec![0], vec![0]) ; "all have hints")]
    #[test_case(&[&["a"], &[]], &[&["a"]] => (vec![0, 1], vec![0]) ; "a local one has none")]
    #[test_case(&[&["a"], &["b"]], &[&[]] => (vec![0, 1], vec![0]) ; "a remote one has none")]
    #[test_case(&[&["b"], &["c"]], &[&["c"]] => (vec![0, 1], vec![0]) ; "none is for this zone")]
    #[test_case(&[&["b"]], &[&["a"]] => (vec![], vec![0]) ; "only a remote one is for this zone")]
    #[test_case(&[], &[] => (vec![], vec![]) ; "no backends")]
    fn zones(local: &[&[&str]], remote: &[&[&str]]) -> (Vec<u8>, Vec<u8>) {
        let described =
            |side: &[&[&str]]| endpoints(&side.iter().map(|hints| ("", *hints)).collect::<Vec<(&str, &[&str])>>());
        let (local, remote) = (described(local), described(remote));
        let (mut local, mut remote) = (located(&local), located(&remote));
        by_zone(&mut local, &mut remote, &node());
        (kept(&local), kept(&remote))
    }

    #[test]
    fn a_node_in_no_zone_takes_all() {
        let endpoints = endpoints(&[("", &["a"]), ("", &["b"])]);
        let mut backends = located(&endpoints);
        by_zone(&mut backends, &mut Vec::new(), &Node { zone: None, ..node() });
        assert_eq!(kept(&backends), [0, 1]);
    }
}
