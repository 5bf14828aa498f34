//! Every key and value that Cilium's own programs wrote is read, understood and written back to the same bytes.
//!
//! Two kinds of values are not written back: times (canaries, heartbeat), which this crate leaves to its callers, and service
//! exports of the MCS API, of which it knows the keys only.

use std::{collections::BTreeMap, fs, path::Path};

use mesh_types::{ClusterId, ClusterName, MaxConnectedClusters};
use mesh_wire::{
    ClusterConfig, ClusterService, EndpointSlice, Expected, ExpectedEndpointSlice, ExpectedIdentity, ExpectedIp,
    ExpectedNode, IdentityLabels, IpEntry, Key, Node,
};
use serde::Deserialize;
use test_case::test_case;

const N255: MaxConnectedClusters = MaxConnectedClusters::N255;

#[derive(Deserialize)]
struct Record {
    key: String,
    value: String,
}

/// What was seen in one file.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    heartbeats: usize,
    configs: usize,
    nodes: usize,
    services: usize,
    endpoint_slices: usize,
    ips: usize,
    identities: usize,
    exports: usize,
    canaries: usize,
}

/// The clusters of a file with the IDs that their configurations say.
struct Clusters(BTreeMap<ClusterName, ClusterId>);

impl Clusters {
    fn of(records: &[Record]) -> Self {
        let config = |record: &Record| match record.key.parse() {
            Ok(Key::ClusterConfig(name)) => Some((name, ClusterConfig::decode(record.value.as_bytes()).unwrap().id)),
            _ => None,
        };
        Self(records.iter().filter_map(config).collect())
    }

    fn id(&self, name: &ClusterName) -> ClusterId {
        self.0[name]
    }

    /// The cluster of a key; in the state layout, where some keys do not say, a file has one cluster's only.
    fn named(&self, name: Option<&ClusterName>) -> (&ClusterName, ClusterId) {
        let found = match name {
            Some(name) => self.0.get_key_value(name),
            None => self.0.iter().next().filter(|_| self.0.len() == 1),
        };
        let (name, &id) = found.expect("each cluster has a configuration");
        (name, id)
    }
}

fn records(file: &str) -> Vec<Record> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vectors/kvstore").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Reads a value as a reader of a remote cluster does, counts it, and writes it back, if it can be written.
fn written_back(key: &Key, value: &[u8], clusters: &Clusters, counts: &mut Counts) -> Option<Vec<u8>> {
    match key {
        Key::Heartbeat => counts.heartbeats += 1,
        Key::Synced { .. } => counts.canaries += 1,
        Key::ServiceExport { .. } => counts.exports += 1,
        Key::ClusterConfig(_) => {
            counts.configs += 1;
            return Some(ClusterConfig::decode(value).unwrap().encode());
        }
        Key::Node { cluster, name, .. } => {
            counts.nodes += 1;
            let expected = ExpectedNode { cluster, cluster_id: clusters.id(cluster), name };
            return Some(Node::decode_expected(value, expected).unwrap().encode());
        }
        Key::Service { cluster, key, .. } => {
            counts.services += 1;
            let expected = Expected { cluster, cluster_id: clusters.id(cluster), key };
            return Some(ClusterService::decode_expected(value, expected).unwrap().encode());
        }
        Key::EndpointSlice { cluster, key, .. } => {
            counts.endpoint_slices += 1;
            let expected = ExpectedEndpointSlice { cluster, cluster_id: clusters.id(cluster), key };
            return Some(EndpointSlice::decode_expected(value, expected).unwrap().encode());
        }
        Key::Ip { cluster, prefix } => {
            counts.ips += 1;
            let (_, cluster_id) = clusters.named(cluster.as_ref());
            let expected = ExpectedIp { prefix: *prefix, cluster_id, limit: N255 };
            return Some(IpEntry::decode_expected(value, expected).unwrap().encode());
        }
        Key::Identity { cluster, identity } => {
            counts.identities += 1;
            let (cluster, cluster_id) = clusters.named(cluster.as_ref());
            let expected = ExpectedIdentity { identity: *identity, cluster, cluster_id, limit: N255 };
            return Some(IdentityLabels::decode_expected(value, expected).unwrap().encode());
        }
    }
    None
}

// None of them holds endpoint slices; those that protoc and zstd made are in the unit tests.
#[test_case("alpha-clustermesh-apiserver-1.20-dev.jsonl" => Counts { configs: 1, nodes: 1, services: 3, ips: 2, identities: 1, exports: 1, canaries: 5, ..Counts::default() } ; "clustermesh apiserver")]
#[test_case("beta-hand-written.jsonl" => Counts { heartbeats: 1, configs: 1, nodes: 1, services: 1, ips: 1, identities: 1, canaries: 6, ..Counts::default() } ; "peer of the recorded agent")]
#[test_case("three-clusters-cached-1.20.0.jsonl" => Counts { configs: 3, nodes: 15, services: 12, ips: 30, identities: 15, canaries: 12, ..Counts::default() } ; "cached layout")]
fn same_bytes(file: &str) -> Counts {
    let records = records(file);
    let clusters = Clusters::of(&records);
    let mut counts = Counts::default();
    for Record { key: text, value } in &records {
        let key: Key = text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert_eq!(key.to_string(), *text);
        if let Some(written) = written_back(&key, value.as_bytes(), &clusters, &mut counts) {
            assert_eq!(String::from_utf8(written).unwrap(), *value, "{text}");
        }
    }
    counts
}

#[test]
fn exporter_config_is_what_the_recorded_agent_accepted() {
    let beta = ClusterId::new(2, N255).unwrap();
    let record =
        records("beta-hand-written.jsonl").into_iter().find(|record| record.key == "cilium/cluster-config/beta");
    let ours = ClusterConfig::exported(beta, N255).encode();
    assert_eq!(String::from_utf8(ours).unwrap(), record.unwrap().value);
}
