//! Value of `cilium/state/identities/v1/id/<number>`: the labels that make up an identity.
//!
//! The one value that is neither JSON nor protobuf: `source:key=value;` for each label, in the order of the keys.

use std::{collections::BTreeMap, fmt::Write, str::Utf8Error};

use mesh_types::{ClusterId, ClusterName, MaxConnectedClusters, NumericIdentity};

/// Key of the label that says which cluster an identity is of. Its source is [`SOURCE_K8S`].
pub const LABEL_CLUSTER: &str = "io.cilium.k8s.policy.cluster";

/// Key of the label with the namespace of the pods.
pub const LABEL_NAMESPACE: &str = "io.kubernetes.pod.namespace";

/// Key of the label with the service account of the pods.
pub const LABEL_SERVICE_ACCOUNT: &str = "io.cilium.k8s.policy.serviceaccount";

/// What stands before each label of the namespace itself.
pub const LABEL_NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";

/// Source of labels that come from Kubernetes objects.
pub const SOURCE_K8S: &str = "k8s";

/// The labels of an identity. No two have the same key, whatever their sources, and each can be written so that it is
/// read as itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityLabels(BTreeMap<String, Label>);

/// A label without its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// Where it comes from: `k8s`, `reserved`, `cidr`, …
    pub source: String,
    /// Its value; may be empty.
    pub value: String,
}

/// What a reader expects an identity to be, from its key and from the peer's cluster configuration.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedIdentity<'a> {
    /// Number at the end of the key.
    pub identity: NumericIdentity,
    /// Peer that the key belongs to.
    pub cluster: &'a ClusterName,
    /// ID in the peer's cluster configuration.
    pub cluster_id: ClusterId,
    /// How the mesh splits identities.
    pub limit: MaxConnectedClusters,
}

impl IdentityLabels {
    /// No labels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a label. Its key must be new, and no part may contain what separates parts.
    pub fn insert(&mut self, source: &str, key: &str, value: &str) -> Result<(), IdentityLabelsError> {
        let text = || format!("{source}:{key}={value}");
        let separated = !source.contains([':', '=', ';']) && !key.contains(['=', ';']) && !value.contains(';');
        if source.is_empty() || key.is_empty() || !separated {
            return Err(IdentityLabelsError::Label { found: text() });
        }
        let label = Label { source: source.to_owned(), value: value.to_owned() };
        match self.0.insert(key.to_owned(), label) {
            None => Ok(()),
            Some(_) => Err(IdentityLabelsError::Twice { key: key.to_owned() }),
        }
    }

    /// The label with a key.
    pub fn get(&self, key: &str) -> Option<&Label> {
        self.0.get(key)
    }

    /// The value of a label of source `k8s`.
    pub fn k8s(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|label| label.source == SOURCE_K8S).map(|label| label.value.as_str())
    }

    /// All labels with their keys, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Label)> {
        self.0.iter().map(|(key, label)| (key.as_str(), label))
    }

    /// Reads a value.
    pub fn decode(value: &[u8]) -> Result<Self, IdentityLabelsError> {
        let text = str::from_utf8(value).map_err(IdentityLabelsError::Text)?;
        let mut labels = Self::new();
        // A semicolon ends each label, so there is nothing behind the last one.
        for label in text.split(';').filter(|label| !label.is_empty()) {
            let malformed = || IdentityLabelsError::Label { found: label.to_owned() };
            let (source, rest) = label.split_once(':').ok_or_else(malformed)?;
            let (key, value) = rest.split_once('=').ok_or_else(malformed)?;
            labels.insert(source, key, value)?;
        }
        Ok(labels)
    }

    /// Reads a value and checks that it is what the key and the peer's configuration promise. Deletions have no value
    /// and are never checked.
    pub fn decode_expected(value: &[u8], expected: ExpectedIdentity<'_>) -> Result<Self, IdentityLabelsError> {
        let labels = Self::decode(value)?;
        labels.validate(expected)?;
        Ok(labels)
    }

    /// Checks that the number is one of the peer's range, and that the labels name the peer.
    pub fn validate(&self, expected: ExpectedIdentity<'_>) -> Result<(), IdentityLabelsError> {
        let range = expected.cluster_id.identities(expected.limit);
        if !range.contains(&expected.identity) {
            let (found, cluster_id) = (expected.identity, expected.cluster_id);
            return Err(IdentityLabelsError::Range { found, cluster_id, first: *range.start(), last: *range.end() });
        }
        match self.k8s(LABEL_CLUSTER) {
            Some(found) if found == expected.cluster.as_str() => Ok(()),
            found => Err(IdentityLabelsError::UnexpectedCluster {
                found: found.unwrap_or_default().to_owned(),
                expected: expected.cluster.clone(),
            }),
        }
    }

    /// Writes the value.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = String::new();
        for (key, Label { source, value }) in &self.0 {
            write!(text, "{source}:{key}={value};").expect("a String takes all text");
        }
        text.into_bytes()
    }
}

/// Why the labels of an identity are refused. Readers count it and keep the value that they had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityLabelsError {
    /// Not text.
    #[error("identity is malformed")]
    Text(#[source] Utf8Error),
    /// A label that is not of the form, or whose parts contain a separator.
    #[error("`{found}` is no label, expected `<source>:<key>=<value>`")]
    Label {
        /// The text found.
        found: String,
    },
    /// Two labels with one key.
    #[error("label `{key}` is there twice")]
    Twice {
        /// The key.
        key: String,
    },
    /// A number that the peer cannot have allocated.
    #[error("identity {found} is not of cluster {cluster_id}, whose range is {first} to {last}")]
    Range {
        /// In the key.
        found: NumericIdentity,
        /// The peer.
        cluster_id: ClusterId,
        /// First of its range.
        first: NumericIdentity,
        /// Last of its range.
        last: NumericIdentity,
    },
    /// The label that names the cluster is missing (empty here), or names another.
    #[error("unexpected label `{}:{}`: got `{found}`, expected `{expected}`", SOURCE_K8S, LABEL_CLUSTER)]
    UnexpectedCluster {
        /// In the value.
        found: String,
        /// The peer.
        expected: ClusterName,
    },
}

#[cfg(test)]
mod tests;
