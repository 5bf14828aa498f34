//! Names of Kubernetes objects.

use std::fmt;

use mesh_types::ServiceKey;

use crate::{Context, Cursor, Json, Term, schema};

/// Namespace and name of a deployment, written `name` (namespace `default`) or `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeploymentKey {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for DeploymentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Term for DeploymentKey {
    fn schema() -> Json {
        schema::object_key()
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        let (namespace, name) = namespaced(at, context)?;
        Some(Self { namespace, name })
    }
}

/// Written `name` (namespace `default`) or `namespace/name`.
impl Term for ServiceKey {
    fn schema() -> Json {
        schema::object_key()
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        let (namespace, name) = namespaced(at, context)?;
        Some(Self { namespace, name })
    }
}

fn namespaced(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<(String, String)> {
    let text = at.text(context.findings())?;
    let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
    if !is_label(namespace) || !is_label(name) {
        let hint = "write `name` or `namespace/name`, of lower-case letters, digits and `-`".to_owned();
        context.report(at, format!("`{text}` is no name of a Kubernetes object"), Some(hint));
        return None;
    }
    Some((namespace.to_owned(), name.to_owned()))
}

/// Whether this is a DNS label, apart from its length.
pub(super) fn is_label(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !part.is_empty() && part.chars().all(allowed) && !part.starts_with('-') && !part.ends_with('-')
}
