//! `agents:` of a topology: how the agents of a mesh are set up, whoever made them.

use std::{collections::BTreeMap, time::Duration};

use mesh_types::MaxConnectedClusters;

use crate::walk::{Cursor, Fields, Findings};

/// How the agents of a mesh are set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSettings {
    /// Size of the mesh in Cilium's sense.
    pub max_connected_clusters: MaxConnectedClusters,
    /// How long a remote cluster may not be ready before its services are dropped; for ever if none.
    pub cache_ttl: Option<Duration>,
    /// Agents read remote clusters from copies in their own cluster's etcd.
    pub kvstoremesh: bool,
    /// More environment for all programs of the agents.
    pub env: BTreeMap<String, String>,
}

impl Default for AgentSettings {
    /// As Cilium is when nobody sets anything, but without KVStoreMesh.
    fn default() -> Self {
        Self {
            max_connected_clusters: MaxConnectedClusters::N255,
            cache_ttl: None,
            kvstoremesh: false,
            env: BTreeMap::new(),
        }
    }
}

/// Keys of `agents:`.
const KEYS: [&str; 4] = ["maxConnectedClusters", "cacheTTL", "kvstoremesh", "env"];
/// Shortest time after which services are dropped: agents count in seconds.
const CACHE_TTL_MIN: Duration = Duration::from_secs(1);

/// Reads `agents:` of a topology; what is not given is as in [`AgentSettings::default`].
pub(crate) fn read(findings: &mut Findings, fields: &Fields<'_>) -> AgentSettings {
    let mut settings = AgentSettings::default();
    let Some(fields) = fields.optional("agents").and_then(|at| at.fields(findings, &KEYS)) else { return settings };
    if let Some(at) = fields.optional("maxConnectedClusters") {
        settings.max_connected_clusters = read_size(findings, &at).unwrap_or(settings.max_connected_clusters);
    }
    if let Some(at) = fields.optional("cacheTTL") {
        settings.cache_ttl = at.duration(findings, CACHE_TTL_MIN);
    }
    if let Some(at) = fields.optional("kvstoremesh") {
        settings.kvstoremesh = at.boolean(findings).unwrap_or_default();
    }
    settings.env = read_env(findings, &fields);
    settings
}

/// Reads `env:`, variables and their values.
pub(crate) fn read_env(findings: &mut Findings, fields: &Fields<'_>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (name, (position, value)) in fields.optional("env").and_then(|at| at.entries(findings)).unwrap_or_default() {
        if name.is_empty() || name.contains(['=', '\0']) {
            findings.report_at(&value, position, format!("`{name}` is no name of a variable"), None);
        } else if let Some(text) = value.text(findings) {
            env.insert(name, text.to_owned());
        }
    }
    env
}

fn read_size(findings: &mut Findings, at: &Cursor<'_>) -> Option<MaxConnectedClusters> {
    match at.number(findings, 0, u16::MAX.into())? {
        255 => Some(MaxConnectedClusters::N255),
        511 => Some(MaxConnectedClusters::N511),
        other => {
            findings.report(at, format!("`{other}` is no size of a mesh"), Some("it is 255 or 511".to_owned()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;
    use crate::Topology;

    const TOPOLOGY: &str = "\
apiVersion: meshbed.dev/v1alpha1
kind: Topology
name: t
clusters:
- {name: alpha, id: 1, nodeCIDR: 172.18.1.0/24, podCIDR: 10.1.0.0/16, serviceCIDR: 10.101.0.0/16, nodes: [{name: a}]}
";

    fn parse(text: &str) -> Result<AgentSettings, String> {
        let topology = Topology::parse(&format!("{TOPOLOGY}{text}\n"), "t.yaml");
        let topology = topology.map_err(|diagnostics| {
            let finding = &diagnostics.findings[0];
            format!("{}: {}", finding.path, finding.message)
        })?;
        Ok(topology.agents().clone())
    }

    #[test]
    fn what_is_not_given_is_the_default() {
        assert_eq!(parse(""), Ok(AgentSettings::default()));
        assert_eq!(parse("agents: {}"), Ok(AgentSettings::default()));
    }

    #[test]
    fn everything_can_be_given() {
        let read = parse("agents: {maxConnectedClusters: 511, cacheTTL: 3s, kvstoremesh: true, env: {A: b}}");
        let expected = AgentSettings {
            max_connected_clusters: MaxConnectedClusters::N511,
            cache_ttl: Some(Duration::from_secs(3)),
            kvstoremesh: true,
            env: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
        };
        assert_eq!(read, Ok(expected));
    }

    #[test_case("agents: {maxConnectedClusters: 300}" => "agents.maxConnectedClusters: `300` is no size of a mesh" ; "size")]
    #[test_case("agents: {cachettl: 3s}" => "agents.cachettl: unknown key `cachettl`" ; "unknown key")]
    #[test_case("agents: {env: {A=: b}}" => "agents.env.A=: `A=` is no name of a variable" ; "variable")]
    fn findings(text: &str) -> String {
        parse(text).expect_err("findings")
    }
}
