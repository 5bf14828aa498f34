//! Nodes of the topology, and pods.

use std::{fmt, ops::Deref, slice};

use mesh_types::ClusterName;

use crate::{Context, Cursor, Json, Term, Topology, schema, suggest};

/// The word that stands for every node of the topology.
const ALL: &str = "all";

/// A node of the topology, written `alpha/alpha-1` or, as names of nodes are unique in a mesh, `alpha-1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeRef {
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its name.
    pub node: String,
}

impl fmt::Display for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.cluster, self.node))
    }
}

impl Term for NodeRef {
    fn schema() -> Json {
        schema::text()
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        let text = at.text(context.findings())?;
        let Some(topology) = context.topology() else {
            // Which cluster a bare name belongs to is not known; nothing is wrong with it.
            let (cluster, node) = text.split_once('/')?;
            return Some(Self { cluster: ClusterName::new(cluster).ok()?, node: node.to_owned() });
        };
        let known = every(topology);
        let found = known.iter().find(|known| known.node == text || known.to_string() == text);
        if found.is_none() {
            let names: Vec<String> = match text.split_once('/') {
                Some(_) => known.iter().map(Self::to_string).collect(),
                None => known.iter().map(|known| known.node.clone()).collect(),
            };
            let hint = suggest::hint(text, names.iter().map(String::as_str), "nodes");
            context.report(at, format!("unknown node `{text}`"), Some(hint));
        }
        found.cloned()
    }
}

fn every(topology: &Topology) -> Vec<NodeRef> {
    let of = |cluster: &crate::Cluster| {
        let name = cluster.name().clone();
        cluster
            .nodes()
            .iter()
            .map(move |node| NodeRef { cluster: name.clone(), node: node.name().to_owned() })
            .collect()
    };
    topology.clusters().iter().flat_map(|cluster| -> Vec<NodeRef> { of(cluster) }).collect()
}

/// Nodes of the topology in the order of the file, each once: a list, one node, or the word `all`. A cluster's name stands
/// for its nodes. One that was read has at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodes(Vec<NodeRef>);

impl Term for Nodes {
    fn schema() -> Json {
        schema::any_of([schema::list(schema::text(), 1), schema::text()])
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        if at.is_word(ALL) {
            return Some(Self(context.topology().map(every).unwrap_or_default()));
        }
        let items = if at.is_scalar() { vec![at.clone()] } else { at.items(context.findings())? };
        if items.is_empty() {
            context.report(at, "there is no node, at least one is needed", None);
        }
        let mut nodes = Vec::new();
        for item in &items {
            for node in one_or_cluster(item, context).unwrap_or_default() {
                if nodes.contains(&node) {
                    context.report(item, format!("node `{node}` is here twice"), None);
                } else {
                    nodes.push(node);
                }
            }
        }
        Some(Self(nodes))
    }
}

/// A node, or all nodes of a cluster.
fn one_or_cluster(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Vec<NodeRef>> {
    let nodes = context.topology().map(every).unwrap_or_default();
    let of_cluster: Vec<NodeRef> = nodes.into_iter().filter(|node| at.is_word(node.cluster.as_str())).collect();
    if of_cluster.is_empty() { NodeRef::read(at, context).map(|node| vec![node]) } else { Some(of_cluster) }
}

impl Deref for Nodes {
    type Target = [NodeRef];

    fn deref(&self) -> &[NodeRef] {
        &self.0
    }
}

impl FromIterator<NodeRef> for Nodes {
    fn from_iter<I: IntoIterator<Item = NodeRef>>(nodes: I) -> Self {
        Self(nodes.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Nodes {
    type Item = &'a NodeRef;
    type IntoIter = slice::Iter<'a, NodeRef>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Nodes with commas between them.
impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.iter().map(NodeRef::to_string).collect::<Vec<_>>().join(", "))
    }
}

/// Pods of a cluster, written `alpha/x-wing`: those whose names are this, or begin with it and a `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodRef {
    /// Their cluster.
    pub cluster: ClusterName,
    /// Name of a pod, or the start of it, such as that of its deployment.
    pub pod: String,
}

impl PodRef {
    /// Whether a pod of the cluster with this name is meant.
    pub fn is(&self, pod: &str) -> bool {
        pod.strip_prefix(self.pod.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.cluster, self.pod))
    }
}

impl Term for PodRef {
    fn schema() -> Json {
        schema::text()
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        let text = at.text(context.findings())?;
        let Some((cluster, pod)) = text.split_once('/').filter(|(_, pod)| crate::term::object_key::is_label(pod))
        else {
            let hint = Some("pods are like `alpha/x-wing`: cluster, then the name or the start of it".to_owned());
            context.report(at, format!("`{text}` is no pod"), hint);
            return None;
        };
        let known: Vec<ClusterName> = match context.topology() {
            Some(topology) => topology.clusters().iter().map(|cluster| cluster.name().clone()).collect(),
            None => ClusterName::new(cluster).into_iter().collect(),
        };
        let Some(cluster) = known.iter().find(|name| name.as_str() == cluster) else {
            let hint = suggest::hint(cluster, known.iter().map(ClusterName::as_str), "clusters");
            context.report(at, format!("unknown cluster `{cluster}`"), Some(hint));
            return None;
        };
        Some(Self { cluster: cluster.clone(), pod: pod.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::PodRef;

    #[test_case("x-wing" => true ; "the very name")]
    #[test_case("x-wing-7d4f-abcde" => true ; "of its deployment")]
    #[test_case("x-wings-1" => false ; "another deployment")]
    #[test_case("x" => false ; "shorter")]
    fn pods(name: &str) -> bool {
        PodRef { cluster: "alpha".parse().expect("a name"), pod: "x-wing".to_owned() }.is(name)
    }
}
