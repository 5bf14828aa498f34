//! Every key and value of ours that Cilium's own programs wrote is read, understood and written back to the
//! same bytes.

use std::{fs, path::Path};

use mesh_types::{ClusterId, MaxConnectedClusters};
use mesh_wire::{ClusterConfig, ClusterService, Expected, Key};
use serde::Deserialize;
use test_case::test_case;

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
    services: usize,
    canaries: usize,
    others: usize,
}

fn records(file: &str) -> Vec<Record> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vectors/kvstore").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn check(file: &str) -> Counts {
    let mut counts = Counts::default();
    let records = records(file);
    let ids: Vec<(Key, ClusterId)> = records
        .iter()
        .filter(|record| record.key.starts_with(mesh_wire::CLUSTER_CONFIG_PREFIX))
        .map(|record| (record.key.parse().unwrap(), ClusterConfig::decode(record.value.as_bytes()).unwrap().id))
        .collect();
    for Record { key: text, value } in records {
        let Ok(key) = text.parse::<Key>() else {
            counts.others += 1;
            let ours = ["cilium/.", "cilium/cluster-config/", "cilium/synced/"];
            assert!(!ours.iter().any(|prefix| text.starts_with(prefix)) && !text.contains("/services/"), "{text}");
            continue;
        };
        assert_eq!(key.to_string(), text);
        match &key {
            Key::Heartbeat => counts.heartbeats += 1,
            Key::Synced { .. } => counts.canaries += 1,
            Key::ClusterConfig(_) => {
                counts.configs += 1;
                let config = ClusterConfig::decode(value.as_bytes()).unwrap();
                assert_eq!(String::from_utf8(config.encode()).unwrap(), value, "{text}");
            }
            Key::Service { cluster, key: service_key, .. } => {
                counts.services += 1;
                let config = Key::ClusterConfig(cluster.clone());
                let (_, id) = ids.iter().find(|(key, _)| *key == config).expect("each cluster has a configuration");
                let expected = Expected { cluster, cluster_id: *id, key: service_key };
                let service = ClusterService::decode_expected(value.as_bytes(), expected).unwrap();
                assert_eq!(String::from_utf8(service.encode()).unwrap(), value, "{text}");
            }
        }
    }
    counts
}

#[test_case("alpha-clustermesh-apiserver-1.20-dev.jsonl" => Counts { heartbeats: 0, configs: 1, services: 3, canaries: 5, others: 5 } ; "clustermesh apiserver")]
#[test_case("beta-hand-written.jsonl" => Counts { heartbeats: 1, configs: 1, services: 1, canaries: 6, others: 3 } ; "peer of the recorded agent")]
#[test_case("three-clusters-cached-1.20.0.jsonl" => Counts { heartbeats: 0, configs: 3, services: 12, canaries: 12, others: 60 } ; "cached layout")]
fn same_bytes(file: &str) -> Counts {
    check(file)
}

#[test]
fn exporter_config_is_what_the_recorded_agent_accepted() {
    let beta = ClusterId::new(2, MaxConnectedClusters::N255).unwrap();
    let record =
        records("beta-hand-written.jsonl").into_iter().find(|record| record.key == "cilium/cluster-config/beta");
    let ours = ClusterConfig::exported(beta, MaxConnectedClusters::N255).encode();
    assert_eq!(String::from_utf8(ours).unwrap(), record.unwrap().value);
}
