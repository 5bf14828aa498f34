//! What agents and KVStoreMesh tell of remote clusters.

use mesh_kvstore::RemoteStatus;
use mesh_types::ClusterName;

use super::Gauges;

/// Who tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subsystem<'a> {
    /// The agent of this node, which knows so many global services of its own cluster.
    Agent { node: &'a str, global_services: usize },
    /// KVStoreMesh.
    Kvstoremesh,
}

/// A gauge with a value for each remote cluster: name, help, and how it is found.
type OfRemote = (&'static str, &'static str, fn(&RemoteStatus) -> f64);

/// What both tell of each remote cluster.
const OF_ALL: [OfRemote; 3] = [
    ("remote_cluster_failures", "The total number of failures related to the remote cluster", |remote| {
        number(remote.num_failures)
    }),
    ("remote_cluster_last_failure_ts", "The timestamp of the last failure of the remote cluster", |remote| {
        remote.last_failure.map_or(0.0, |at| at.as_duration().as_secs_f64())
    }),
    ("remote_cluster_readiness_status", "The readiness status of the remote cluster", |remote| {
        f64::from(u8::from(remote.ready))
    }),
];

/// What only agents tell of each remote cluster.
const OF_AGENTS: [OfRemote; 5] = [
    ("remote_cluster_nodes", "The total number of nodes in the remote cluster", |remote| number(remote.num_nodes)),
    ("remote_cluster_services", "The total number of services in the remote cluster", |remote| {
        number(remote.num_shared_services)
    }),
    ("remote_cluster_endpoints", "The total number of endpoints in the remote cluster", |remote| {
        number(remote.num_endpoints)
    }),
    ("remote_cluster_service_exports", "The total number of service exports in the remote cluster", |remote| {
        number(remote.num_service_exports)
    }),
    (
        "remote_cluster_cache_revocations",
        "The total number of cache revocations related to the remote cluster",
        |remote| number(remote.num_cache_revocations),
    ),
];

/// Counts stay far below the limit up to which floating point numbers are exact.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn number(count: u64) -> f64 {
    count as f64
}

/// The text of the metrics.
pub(crate) fn remote_clusters(
    subsystem: Subsystem<'_>,
    cluster: &ClusterName,
    remotes: &[RemoteStatus],
) -> anyhow::Result<String> {
    let mut common = vec![("source_cluster", cluster.to_string())];
    let prefix = match subsystem {
        Subsystem::Agent { node, .. } => {
            common.push(("source_node_name", node.to_owned()));
            "cilium_clustermesh"
        }
        Subsystem::Kvstoremesh => "cilium_kvstoremesh",
    };
    let gauges = Gauges::new(common);
    let own: &[OfRemote] = match subsystem {
        Subsystem::Agent { global_services, .. } => {
            let help = "The total number of global services in the cluster mesh";
            let count = number(u64::try_from(global_services).unwrap_or(u64::MAX));
            gauges.add(&format!("{prefix}_global_services"), help, &[], [(vec![], count)])?;
            &OF_AGENTS
        }
        Subsystem::Kvstoremesh => &[],
    };
    let help = "The total number of remote clusters meshed with the local cluster";
    let count = number(u64::try_from(remotes.len()).unwrap_or(u64::MAX));
    gauges.add(&format!("{prefix}_remote_clusters"), help, &[], [(vec![], count)])?;
    for (name, help, of) in OF_ALL.iter().chain(own) {
        let values = remotes.iter().map(|remote| (vec![remote.name.as_str()], of(remote)));
        gauges.add(&format!("{prefix}_{name}"), help, &["target_cluster"], values)?;
    }
    gauges.text()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn remote() -> RemoteStatus {
        let status = json!({
            "name": "beta", "ready": true, "status": "", "num-nodes": 2, "num-endpoints": 5, "num-shared-services": 1,
            "num-failures": 3, "last-failure": "1970-01-01T00:00:01.5Z",
        });
        serde_json::from_value(status).expect("a status")
    }

    #[test]
    fn an_agent_tells_under_ciliums_names() {
        let agent = Subsystem::Agent { node: "alpha-1", global_services: 4 };
        let text = remote_clusters(agent, &"alpha".parse().expect("a name"), &[remote()]).expect("a text");
        let labels = r#"source_cluster="alpha",source_node_name="alpha-1""#;
        for line in [
            "# TYPE cilium_clustermesh_global_services gauge".to_owned(),
            format!("cilium_clustermesh_global_services{{{labels}}} 4"),
            format!("cilium_clustermesh_remote_clusters{{{labels}}} 1"),
            format!("cilium_clustermesh_remote_cluster_nodes{{{labels},target_cluster=\"beta\"}} 2"),
            format!("cilium_clustermesh_remote_cluster_failures{{{labels},target_cluster=\"beta\"}} 3"),
            format!("cilium_clustermesh_remote_cluster_last_failure_ts{{{labels},target_cluster=\"beta\"}} 1.5"),
            format!("cilium_clustermesh_remote_cluster_readiness_status{{{labels},target_cluster=\"beta\"}} 1"),
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in:\n{text}");
        }
    }

    #[test]
    fn kvstoremesh_tells_less() {
        let text =
            remote_clusters(Subsystem::Kvstoremesh, &"alpha".parse().expect("a name"), &[remote()]).expect("a text");
        assert!(
            text.contains(
                "cilium_kvstoremesh_remote_cluster_readiness_status{source_cluster=\"alpha\",target_cluster=\"beta\"} 1"
            ),
            "{text}"
        );
        assert!(!text.contains("_nodes"), "{text}");
    }
}
