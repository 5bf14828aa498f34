//! Text with placeholders, such as `--node-name={node}`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that the environment fills in when it starts a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Placeholder {
    /// `{cluster}`: name of the cluster.
    Cluster,
    /// `{clusterId}`: its cluster ID.
    ClusterId,
    /// `{node}`: name of the node.
    Node,
    /// `{nodeIp}`: address of the node on its cluster's segment.
    NodeIp,
    /// `{kubeconfig}`: kubeconfig file of the cluster, for programs inside the mesh.
    Kubeconfig,
    /// `{clustermesh}`: folder with one etcd client configuration a remote cluster, in Cilium's format.
    Clustermesh,
    /// `{bpf}`: mount point of the node's bpffs, as the program sees it.
    Bpf,
    /// `{cgroup}`: the node's cgroup v2 folder, as the program sees it; its programs serve all processes of the node.
    Cgroup,
    /// `{state}`: a folder of the program's own, which survives its restarts.
    State,
    /// `{etcdConfig}`: etcd client configuration of the cluster's own etcd with full rights, in Cilium's format.
    EtcdConfig,
    /// `{podCidr}`: addresses of the node's pods; beside a control plane, of the cluster's.
    PodCidr,
    /// `{serviceCidr}`: what cluster IPs are allocated from.
    ServiceCidr,
    /// `{maxConnectedClusters}`: size of the mesh in Cilium's sense, 255 or 511.
    MaxConnectedClusters,
    /// `{cacheTTL}`: how long a remote cluster may not be ready before its services are dropped, such as `30s`; `0s` for ever.
    CacheTtl,
    /// `{runDir}`: folder of the run; everything below it is removed with the run.
    RunDir,
    /// `{binDir}`: folder of the agent's programs (`--agent-bin-dir`, or the one that `meshbed` is in).
    BinDir,
}

impl Placeholder {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 16] = [
        Self::Cluster,
        Self::ClusterId,
        Self::Node,
        Self::NodeIp,
        Self::Kubeconfig,
        Self::Clustermesh,
        Self::Bpf,
        Self::Cgroup,
        Self::State,
        Self::EtcdConfig,
        Self::PodCidr,
        Self::ServiceCidr,
        Self::MaxConnectedClusters,
        Self::CacheTtl,
        Self::RunDir,
        Self::BinDir,
    ];

    /// Its name between the braces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::ClusterId => "clusterId",
            Self::Node => "node",
            Self::NodeIp => "nodeIp",
            Self::Kubeconfig => "kubeconfig",
            Self::Clustermesh => "clustermesh",
            Self::Bpf => "bpf",
            Self::Cgroup => "cgroup",
            Self::State => "state",
            Self::EtcdConfig => "etcdConfig",
            Self::PodCidr => "podCidr",
            Self::ServiceCidr => "serviceCidr",
            Self::MaxConnectedClusters => "maxConnectedClusters",
            Self::CacheTtl => "cacheTTL",
            Self::RunDir => "runDir",
            Self::BinDir => "binDir",
        }
    }

    /// Whether only a node has it.
    pub fn is_of_node(self) -> bool {
        matches!(self, Self::Node | Self::NodeIp | Self::Clustermesh | Self::Bpf | Self::Cgroup)
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|placeholder| placeholder.name() == name)
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.name())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Part {
    Text(String),
    Placeholder(Placeholder),
}

/// Text with placeholders. `{{` and `}}` stand for braces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    parts: Vec<Part>,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TemplateError {
    /// No placeholder is called so.
    Unknown(String),
    /// A `{` without `}`.
    Unclosed,
    /// A `}` without `{`.
    Unopened,
}

impl Template {
    /// A template without placeholders.
    pub fn literal(text: impl Into<String>) -> Self {
        Self { parts: vec![Part::Text(text.into())] }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err(TemplateError::Unopened);
            }
            let (name, after) = rest.split_once('}').ok_or(TemplateError::Unclosed)?;
            let placeholder = Placeholder::parse(name).ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Placeholder(placeholder));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }

    /// The placeholders in it, in their order.
    pub fn placeholders(&self) -> impl Iterator<Item = Placeholder> {
        self.parts.iter().filter_map(|part| match part {
            Part::Placeholder(placeholder) => Some(*placeholder),
            Part::Text(_) => None,
        })
    }

    /// The text with `value` in place of each placeholder.
    pub fn render(&self, value: impl Fn(Placeholder) -> String) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Placeholder(placeholder) => text.push_str(&value(*placeholder)),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::{Placeholder, Template, TemplateError};

    #[test_case("" => "" ; "empty")]
    #[test_case("--node-name={node}" => "--node-name=<node>" ; "in the middle")]
    #[test_case("{cluster}{clusterId}" => "<cluster><clusterId>" ; "side by side")]
    #[test_case("{{\"a\": {{}}}} {node}" => "{\"a\": {}} <node>" ; "braces")]
    fn renders(text: &str) -> String {
        let template = Template::parse(text).expect("a template");
        template.render(|placeholder| format!("<{}>", placeholder.name()))
    }

    #[test_case("{nodes}", TemplateError::Unknown("nodes".to_owned()))]
    #[test_case("{", TemplateError::Unclosed)]
    #[test_case("a } b", TemplateError::Unopened)]
    #[test_case("{{node}", TemplateError::Unopened ; "escaped start")]
    fn refused(text: &str, expected: TemplateError) {
        assert_eq!(Template::parse(text), Err(expected));
    }

    #[test]
    fn names_are_unique_and_found() {
        for placeholder in Placeholder::ALL {
            assert_eq!(Placeholder::parse(placeholder.name()), Some(placeholder));
        }
    }
}
