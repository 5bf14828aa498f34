//! Status as text: the lines of `cilium-dbg status`.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use mesh_kvstore::RemoteStatus;

use super::AgentStatus;

/// Spaces after `ClusterMesh:` in the short form; Cilium aligns with lines that we do not have.
const BRIEF_GAP: &str = "             ";
/// The same in the long form.
const VERBOSE_GAP: &str = "   ";

/// One line, and four for each remote cluster that is not ready.
pub(crate) fn brief(status: &AgentStatus, now: Timestamp) -> String {
    lines(status, BRIEF_GAP, now, |cluster| !cluster.ready)
}

/// One line, and four for each remote cluster.
pub(crate) fn verbose(status: &AgentStatus, now: Timestamp) -> String {
    lines(status, VERBOSE_GAP, now, |_| true)
}

fn lines(status: &AgentStatus, gap: &str, now: Timestamp, shown: impl Fn(&RemoteStatus) -> bool) -> String {
    let mut text = summary(status, gap);
    for cluster in status.cluster_mesh.clusters.iter().filter(|cluster| shown(cluster)) {
        remote(&mut text, cluster, now).expect("writing to a `String` cannot fail");
    }
    text
}

fn summary(status: &AgentStatus, gap: &str) -> String {
    let clusters = &status.cluster_mesh.clusters;
    let ready = clusters.iter().filter(|cluster| cluster.ready).count();
    let mut text = format!("ClusterMesh:{gap}{ready}/{} remote clusters ready\n", clusters.len());
    if !status.cilium.msg.is_empty() {
        text.insert_str(0, &format!("Agent:      {gap}{}   {}\n", status.cilium.state, status.cilium.msg));
    }
    text
}

fn remote(text: &mut String, cluster: &RemoteStatus, now: Timestamp) -> std::fmt::Result {
    let ready = if cluster.ready { "ready" } else { "not-ready" };
    let last = cluster.last_failure.map_or_else(|| "never".to_owned(), |last| ago(last, now));
    writeln!(
        text,
        "   {}: {ready}, {} nodes, {} endpoints, {} identities, {} services, {} MCS-API service exports, \
         {} reconnections (last: {last})",
        cluster.name,
        cluster.num_nodes,
        cluster.num_endpoints,
        cluster.num_identities,
        cluster.num_shared_services,
        cluster.num_service_exports,
        cluster.num_failures,
    )?;
    writeln!(text, "   └  {}", cluster.status)?;
    write!(text, "   └  remote configuration: ")?;
    match &cluster.config {
        None => write!(text, "expected=unknown, retrieved=unknown")?,
        Some(config) => {
            write!(text, "expected={}, retrieved={}", config.required, config.retrieved)?;
            if config.retrieved {
                let exports = match config.service_exports_enabled {
                    None => "unsupported",
                    Some(false) => "disabled",
                    Some(true) => "enabled",
                };
                write!(
                    text,
                    ", cluster-id={}, kvstoremesh={}, sync-canaries={}, service-exports={exports}",
                    config.cluster_id, config.kvstoremesh, config.sync_canaries
                )?;
            }
        }
    }
    writeln!(text)?;
    let synced = &cluster.synced;
    write!(text, "   └  synchronization status: ")?;
    for (name, value) in [("nodes", synced.nodes), ("endpoints", synced.endpoints), ("identities", synced.identities)] {
        // What the agent does not read has no status.
        if let Some(value) = value {
            write!(text, "{name}={value}, ")?;
        }
    }
    write!(text, "services={}", synced.services)?;
    for (name, value) in [("endpoint-slices", synced.endpoint_slices), ("service-exports", synced.service_exports)] {
        if let Some(value) = value {
            write!(text, ", {name}={value}")?;
        }
    }
    writeln!(text)
}

/// How long ago something was, in the largest two units: `2m5s ago`.
fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).max(SignedDuration::ZERO).as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s ago"),
        (0, _) => format!("{minutes}m{seconds}s ago"),
        _ => format!("{hours}h{minutes}m ago"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;

    fn status() -> AgentStatus {
        serde_json::from_value(json!({
            "cilium": {"state": "Ok"},
            "cluster-mesh": {"num-global-services": 1, "clusters": [
                {
                    "name": "beta", "connected": true, "ready": true, "num-shared-services": 1,
                    "status": "etcd: 1/1 connected, leases=0, lock leases=0, has-quorum=true: endpoint status \
                        checks are disabled, ID: 70f9cf875eabdc0b",
                    "config": {"required": true, "retrieved": true, "cluster-id": 2, "sync-canaries": true},
                    "synced": {"services": true},
                },
                {
                    "name": "gamma", "status": "Err: unable to connect", "num-failures": 3,
                    "last-failure": "2026-01-01T00:00:00Z",
                },
            ]},
        }))
        .expect("a status")
    }

    #[test]
    fn brief_names_who_is_not_ready() {
        let now = "2026-01-01T00:02:05Z".parse().expect("a time");
        insta::assert_snapshot!(brief(&status(), now), @r"
        ClusterMesh:             1/2 remote clusters ready
           gamma: not-ready, 0 nodes, 0 endpoints, 0 identities, 0 services, 0 MCS-API service exports, 3 reconnections (last: 2m5s ago)
           └  Err: unable to connect
           └  remote configuration: expected=unknown, retrieved=unknown
           └  synchronization status: services=false
        ");
        let mut all_ready = status();
        all_ready.cluster_mesh.clusters.truncate(1);
        assert_eq!(brief(&all_ready, now), "ClusterMesh:             1/1 remote clusters ready\n");
    }

    /// What `cilium-dbg` printed for the mesh of one remote cluster (`fixtures/vectors/cli/status*.txt`).
    #[test]
    fn the_recorded_status_has_the_same_lines() {
        let recorded = |file: &str| {
            let text = std::fs::read_to_string(format!("../../fixtures/vectors/cli/{file}")).expect("readable");
            let mesh = text.lines().skip_while(|line| !line.starts_with("ClusterMesh:"));
            let mut lines: Vec<String> = mesh.take_while(|line| !line.starts_with("IPv4")).map(str::to_owned).collect();
            lines.push(String::new());
            lines.join("\n")
        };
        let status: AgentStatus = serde_json::from_value(json!({
            "cilium": {"state": "Ok"},
            "cluster-mesh": {"num-global-services": 2, "clusters": [{
                "name": "beta", "connected": true, "ready": true,
                "num-nodes": 1, "num-endpoints": 1, "num-identities": 1, "num-shared-services": 1,
                "status": "etcd: 1/1 connected, leases=0, lock leases=0, has-quorum=true: endpoint status checks are \
                    disabled, ID: 70f9cf875eabdc0b",
                "config": {"required": true, "retrieved": true, "cluster-id": 2, "sync-canaries": true},
                "synced": {"nodes": true, "endpoints": true, "identities": true, "services": true},
            }]},
        }))
        .expect("a status");
        assert_eq!(verbose(&status, Timestamp::UNIX_EPOCH), recorded("status-verbose.txt"));
        assert_eq!(brief(&status, Timestamp::UNIX_EPOCH), recorded("status.txt"));
        // As Cilium's API would say it: what is zero is left out.
        let text = serde_json::to_string(&status).expect("JSON");
        assert!(!text.contains("num-failures") && !text.contains("last-failure"), "{text}");
    }

    #[test]
    fn verbose_names_every_cluster() {
        let now = "2026-01-01T00:02:05Z".parse().expect("a time");
        insta::assert_snapshot!(verbose(&status(), now), @r"
        ClusterMesh:   1/2 remote clusters ready
           beta: ready, 0 nodes, 0 endpoints, 0 identities, 1 services, 0 MCS-API service exports, 0 reconnections (last: never)
           └  etcd: 1/1 connected, leases=0, lock leases=0, has-quorum=true: endpoint status checks are disabled, ID: 70f9cf875eabdc0b
           └  remote configuration: expected=true, retrieved=true, cluster-id=2, kvstoremesh=false, sync-canaries=true, service-exports=unsupported
           └  synchronization status: services=true
           gamma: not-ready, 0 nodes, 0 endpoints, 0 identities, 0 services, 0 MCS-API service exports, 3 reconnections (last: 2m5s ago)
           └  Err: unable to connect
           └  remote configuration: expected=unknown, retrieved=unknown
           └  synchronization status: services=false
        ");
    }

    #[test_case(0 => "0s ago")]
    #[test_case(125 => "2m5s ago")]
    #[test_case(3 * 3600 + 62 => "3h1m ago")]
    fn times(seconds: i64) -> String {
        ago(Timestamp::UNIX_EPOCH, Timestamp::from_second(seconds).expect("a time"))
    }
}
