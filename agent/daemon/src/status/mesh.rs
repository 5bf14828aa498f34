//! The mesh as several nodes see it: `cilium clustermesh status`, of the agents that were asked.

use std::{collections::BTreeMap, fmt::Write as _};

use mesh_kvstore::RemoteStatus;
use mesh_types::ClusterName;
use serde::Serialize;

use super::AgentStatus;

/// What all of them say. Field names are those of `cilium clustermesh status -o json`; zero values are left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct MeshStatus {
    /// Agents and remote clusters.
    pub(crate) connectivity: Connectivity,
}

/// How many agents are connected to whom.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Connectivity {
    enabled: bool,
    status: ConnectivityStatus,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct ConnectivityStatus {
    connected: Connected,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    clusters: BTreeMap<ClusterName, ClusterStatus>,
    /// Agents asked.
    #[serde(skip_serializing_if = "is_zero")]
    total: usize,
    /// Agents that are not connected to all clusters, or did not answer.
    #[serde(skip_serializing_if = "is_zero")]
    not_ready: usize,
    /// By node and by cluster, why not. An agent that did not answer has its error under an empty name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    errors: BTreeMap<String, BTreeMap<String, String>>,
}

/// Clusters that an agent is connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Connected {
    #[serde(skip_serializing_if = "is_zero")]
    min: usize,
    avg: f64,
    #[serde(skip_serializing_if = "is_zero")]
    max: usize,
}

/// Agents that know of a cluster, and those that are connected to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct ClusterStatus {
    #[serde(skip_serializing_if = "is_zero")]
    configured: usize,
    #[serde(skip_serializing_if = "is_zero")]
    connected: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(value: &usize) -> bool {
    *value == 0
}

impl MeshStatus {
    /// Of what the agents of these nodes answered, or why one did not.
    pub(crate) fn new(agents: &BTreeMap<String, Result<AgentStatus, String>>) -> Self {
        let mut clusters: BTreeMap<ClusterName, ClusterStatus> = BTreeMap::new();
        let mut errors: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let mut counts = Vec::new();
        for (node, answer) in agents {
            let status = match answer {
                Ok(status) => status,
                Err(error) => {
                    errors.entry(node.clone()).or_default().insert(String::new(), error.clone());
                    counts.push(0);
                    continue;
                }
            };
            for remote in &status.cluster_mesh.clusters {
                let cluster = clusters.entry(remote.name.clone()).or_default();
                cluster.configured += 1;
                if remote.ready {
                    cluster.connected += 1;
                } else {
                    errors.entry(node.clone()).or_default().insert(remote.name.to_string(), why(remote));
                }
            }
            counts.push(status.cluster_mesh.clusters.iter().filter(|remote| remote.ready).count());
        }
        let status = ConnectivityStatus {
            connected: Connected::new(&counts),
            clusters,
            total: agents.len(),
            not_ready: errors.len(),
            errors,
        };
        Self { connectivity: Connectivity { enabled: true, status } }
    }

    /// Every agent is connected to all clusters that it knows of.
    pub(crate) fn is_ready(&self) -> bool {
        self.connectivity.status.not_ready == 0
    }

    /// The lines of `-o summary`. Those about the service, its addresses and the deployment are not ours to say: an agent
    /// does not know them.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::new();
        self.connectivity.status.write(&mut text).expect("writing to a `String` cannot fail");
        text
    }
}

impl Connected {
    #[expect(clippy::cast_precision_loss, reason = "a mesh has at most 511 clusters")]
    fn new(counts: &[usize]) -> Self {
        let sum: usize = counts.iter().sum();
        Self {
            min: counts.iter().copied().min().unwrap_or(0),
            avg: if counts.is_empty() { 0.0 } else { sum as f64 / counts.len() as f64 },
            max: counts.iter().copied().max().unwrap_or(0),
        }
    }
}

impl ConnectivityStatus {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        let Connected { min, avg, max } = self.connected;
        let range = format!("[min:{min} / avg:{avg:.1} / max:{max}]");
        match self.not_ready {
            0 => writeln!(text, "✅ All {} nodes are connected to all clusters {range}", self.total)?,
            some => writeln!(text, "⚠️  {some}/{} nodes are not connected to all clusters {range}", self.total)?,
        }
        writeln!(text)?;
        match self.clusters.is_empty() {
            true => writeln!(text, "🔌 No cluster connected")?,
            false => writeln!(text, "🔌 Cluster Connections:")?,
        }
        for (name, ClusterStatus { configured, connected }) in &self.clusters {
            writeln!(text, "  - {name}: {configured}/{} configured, {connected}/{} connected", self.total, self.total)?;
        }
        let count: usize = self.errors.values().map(BTreeMap::len).sum();
        if count > 0 {
            writeln!(text, "\n❌ {count} Errors:")?;
        }
        for (node, clusters) in &self.errors {
            for (cluster, error) in clusters {
                match cluster.is_empty() {
                    true => writeln!(text, "  ❌ {node}: {error}")?,
                    false => writeln!(text, "  ❌ {node} is not connected to cluster {cluster}: {error}")?,
                }
            }
        }
        Ok(())
    }
}

/// Why a remote cluster is not ready, in the words of Cilium's command line: the first thing that is missing.
fn why(remote: &RemoteStatus) -> String {
    if !remote.connected {
        return remote.status.clone();
    }
    let Some(config) = &remote.config else {
        return "remote cluster configuration retrieval status unknown".to_owned();
    };
    if config.required && !config.retrieved {
        return "remote cluster configuration required but not found".to_owned();
    }
    let synced = &remote.synced;
    let kinds = [
        ("endpoints", synced.endpoints),
        ("identities", synced.identities),
        ("nodes", synced.nodes),
        ("services", Some(synced.services)),
        ("endpoint-slices", synced.endpoint_slices),
        ("service-exports", synced.service_exports),
    ];
    let missing: Vec<&str> = kinds.iter().filter(|(_, synced)| *synced == Some(false)).map(|(name, _)| *name).collect();
    match missing.is_empty() {
        true => "not ready".to_owned(),
        false => format!("synchronization in progress for {}", missing.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn agent(clusters: &Value) -> Result<AgentStatus, String> {
        let status = json!({"cilium": {"state": "Ok"}, "cluster-mesh": {"clusters": clusters}});
        Ok(serde_json::from_value(status).expect("a status"))
    }

    fn ready(name: &str) -> Value {
        json!({"name": name, "connected": true, "ready": true, "status": ""})
    }

    fn mesh(agents: &[(&str, Result<AgentStatus, String>)]) -> MeshStatus {
        MeshStatus::new(&agents.iter().map(|(node, status)| ((*node).to_owned(), status.clone())).collect())
    }

    #[test]
    fn all_is_well() {
        let status = mesh(&[("alpha-1", agent(&json!([ready("beta")]))), ("alpha-2", agent(&json!([ready("beta")])))]);
        assert!(status.is_ready());
        insta::assert_snapshot!(status.summary(), @r"
        ✅ All 2 nodes are connected to all clusters [min:1 / avg:1.0 / max:1]

        🔌 Cluster Connections:
          - beta: 2/2 configured, 2/2 connected
        ");
        insta::assert_snapshot!(serde_json::to_string(&status).expect("JSON"), @r#"{"connectivity":{"enabled":true,"status":{"connected":{"min":1,"avg":1.0,"max":1},"clusters":{"beta":{"configured":2,"connected":2}},"total":2}}}"#);
    }

    #[test]
    fn nobody_to_connect_to() {
        let status = mesh(&[("alpha-1", agent(&json!([])))]);
        assert!(status.is_ready());
        insta::assert_snapshot!(status.summary(), @r"
        ✅ All 1 nodes are connected to all clusters [min:0 / avg:0.0 / max:0]

        🔌 No cluster connected
        ");
    }

    #[test]
    fn every_reason_is_told() {
        let config = json!({"required": true, "retrieved": true, "cluster-id": 2});
        let some = json!([
            {"name": "beta", "status": "Err: unable to connect"},
            {"name": "gamma", "connected": true, "status": ""},
            {"name": "delta", "connected": true, "status": "", "config": {"required": true, "retrieved": false}},
            {"name": "eps", "connected": true, "status": "", "config": config,
             "synced": {"nodes": false, "endpoints": false, "services": true}},
            {"name": "zeta", "connected": true, "status": "", "config": config, "synced": {"services": true}},
        ]);
        let status = mesh(&[
            ("a1", agent(&some)),
            ("a2", Err("it does not run".to_owned())),
            ("a3", agent(&json!([ready("beta")]))),
        ]);
        assert!(!status.is_ready());
        insta::assert_snapshot!(status.summary(), @r"
        ⚠️  2/3 nodes are not connected to all clusters [min:0 / avg:0.3 / max:1]

        🔌 Cluster Connections:
          - beta: 2/3 configured, 1/3 connected
          - delta: 1/3 configured, 0/3 connected
          - eps: 1/3 configured, 0/3 connected
          - gamma: 1/3 configured, 0/3 connected
          - zeta: 1/3 configured, 0/3 connected

        ❌ 6 Errors:
          ❌ a1 is not connected to cluster beta: Err: unable to connect
          ❌ a1 is not connected to cluster delta: remote cluster configuration required but not found
          ❌ a1 is not connected to cluster eps: synchronization in progress for endpoints, nodes
          ❌ a1 is not connected to cluster gamma: remote cluster configuration retrieval status unknown
          ❌ a1 is not connected to cluster zeta: not ready
          ❌ a2: it does not run
        ");
    }
}
