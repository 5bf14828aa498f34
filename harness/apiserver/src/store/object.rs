//! One stored object and what identifies it.

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::Value;

use crate::json;
use crate::kinds::Kind;

/// Namespace (empty for cluster-wide kinds) and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name {
    /// Namespace, `""` for kinds without one.
    pub(crate) namespace: String,
    /// Name within it.
    pub(crate) name: String,
}

impl Name {
    /// Puts the two together.
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// What identifies an object in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Its namespace and name.
    pub(crate) name: Name,
}

impl Key {
    /// Puts kind, namespace and name together.
    pub(crate) fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, name: Name::new(namespace, name) }
    }
}

/// An object as it was at one revision. Its JSON text is made at most once, however many clients get it.
#[derive(Debug)]
pub(crate) struct Object {
    value: Value,
    text: OnceLock<Bytes>,
}

impl Object {
    /// Wraps a complete value.
    pub(crate) fn new(value: Value) -> Self {
        Self { value, text: OnceLock::new() }
    }

    /// The object.
    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    /// The object as JSON text.
    pub(crate) fn json(&self) -> Bytes {
        self.text
            .get_or_init(|| Bytes::from(serde_json::to_vec(&self.value).expect("a JSON value always serialises")))
            .clone()
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        json::text(&self.value, "/metadata/name")
    }

    /// Its namespace, or `""`.
    pub(crate) fn namespace(&self) -> &str {
        json::text(&self.value, "/metadata/namespace")
    }

    /// Its unique ID.
    pub(crate) fn uid(&self) -> &str {
        json::text(&self.value, "/metadata/uid")
    }

    /// Whether somebody asked for its deletion.
    pub(crate) fn is_terminating(&self) -> bool {
        json::get(&self.value, "/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
    }

    /// The owner that controls it: kind, name and UID.
    pub(crate) fn controller(&self) -> Option<(&str, &str, &str)> {
        json::list(&self.value, "/metadata/ownerReferences")
            .iter()
            .find(|owner| json::flag(owner, "/controller"))
            .map(|owner| (json::text(owner, "/kind"), json::text(owner, "/name"), json::text(owner, "/uid")))
    }
}
