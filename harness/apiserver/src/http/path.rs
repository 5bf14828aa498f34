//! From a URL path to what it names.

use crate::error::ApiError;
use crate::kinds::Kind;

/// Part of an object that has a path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subresource {
    /// The status.
    Status,
    /// The count of a workload.
    Scale,
    /// The node of a pod (`POST` only).
    Binding,
    /// Deletion that asks first (`POST` only).
    Eviction,
    /// Finalizers of a namespace (`PUT` only).
    Finalize,
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The kind.
    pub(super) kind: Kind,
    /// The namespace, if the path names one.
    pub(super) namespace: Option<String>,
    /// The object, if the path names one.
    pub(super) name: Option<String>,
    /// A part of it.
    pub(super) subresource: Option<Subresource>,
}

/// How much of a resource a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// It names none.
    Nothing,
    /// All objects.
    All,
    /// One object, or a part of it.
    One,
}

/// The plural that a path names and how much of it, whether the server has such a resource or not.
pub(super) fn resource(path: &str) -> (&str, Named) {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let skipped = match segments.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return ("", Named::Nothing),
    };
    let mut rest = segments.skip(skipped);
    let named = |name: Option<&str>| if name.is_some() { Named::One } else { Named::All };
    match (rest.next(), rest.next(), rest.next()) {
        (Some("namespaces"), Some(_), Some(plural)) if !matches!(plural, "status" | "finalize") => {
            (plural, named(rest.next()))
        }
        (Some(plural), name, _) => (plural, named(name)),
        (None, ..) => ("", Named::Nothing),
    }
}

/// Reads `/api/v1/…` and `/apis/<group>/<version>/…`; `kind_at` tells the kind of a group, version and plural.
pub(super) fn parse(path: &str, kind_at: impl Fn(&str, &str, &str) -> Option<Kind>) -> Result<Target, ApiError> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Err(ApiError::no_such_path()),
    };
    let find = |plural: &str| kind_at(group, version, plural).ok_or_else(ApiError::no_such_path);
    let (kind, namespace, name, subresource) = match rest {
        ["namespaces", name, part @ ("status" | "finalize")] => (Kind::Namespace, None, Some(*name), Some(*part)),
        ["namespaces", namespace, plural, rest @ ..] => {
            let kind = find(plural)?;
            if !kind.resource().namespaced {
                return Err(ApiError::no_such_path());
            }
            match rest {
                [] => (kind, Some(*namespace), None, None),
                [name] => (kind, Some(*namespace), Some(*name), None),
                [name, part] => (kind, Some(*namespace), Some(*name), Some(*part)),
                _ => return Err(ApiError::no_such_path()),
            }
        }
        [plural] => (find(plural)?, None, None, None),
        [plural, name, part @ ..] => {
            let kind = find(plural)?;
            if kind.resource().namespaced || part.len() > 1 {
                return Err(ApiError::no_such_path());
            }
            (kind, None, Some(*name), part.first().copied())
        }
        [] => return Err(ApiError::no_such_path()),
    };
    let subresource = subresource.map(|part| subresource_of(kind, part)).transpose()?;
    Ok(Target { kind, namespace: namespace.map(str::to_owned), name: name.map(str::to_owned), subresource })
}

fn subresource_of(kind: Kind, name: &str) -> Result<Subresource, ApiError> {
    let resource = kind.resource();
    match name {
        "status" if resource.has_status => Ok(Subresource::Status),
        "scale" if resource.has_scale => Ok(Subresource::Scale),
        "binding" if kind == Kind::Pod => Ok(Subresource::Binding),
        "eviction" if kind == Kind::Pod => Ok(Subresource::Eviction),
        "finalize" if kind == Kind::Namespace => Ok(Subresource::Finalize),
        _ => Err(ApiError::no_such_path()),
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    fn kind_at(group: &str, version: &str, plural: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.is_at(group, version, plural))
    }

    fn target(kind: Kind, namespace: Option<&str>, name: Option<&str>, subresource: Option<Subresource>) -> Target {
        Target { kind, namespace: namespace.map(str::to_owned), name: name.map(str::to_owned), subresource }
    }

    #[test_case("/api/v1/pods" => target(Kind::Pod, None, None, None))]
    #[test_case("/api/v1/namespaces" => target(Kind::Namespace, None, None, None))]
    #[test_case("/api/v1/namespaces/a" => target(Kind::Namespace, None, Some("a"), None))]
    #[test_case("/api/v1/namespaces/a/status" => target(Kind::Namespace, None, Some("a"), Some(Subresource::Status)))]
    #[test_case("/api/v1/namespaces/a/pods/b/status" => target(Kind::Pod, Some("a"), Some("b"), Some(Subresource::Status)))]
    #[test_case("/api/v1/nodes/n/status" => target(Kind::Node, None, Some("n"), Some(Subresource::Status)))]
    #[test_case("/apis/apps/v1/namespaces/a/deployments/b/scale" => target(Kind::Deployment, Some("a"), Some("b"), Some(Subresource::Scale)))]
    #[test_case("/apis/discovery.k8s.io/v1/endpointslices" => target(Kind::EndpointSlice, None, None, None))]
    fn names(path: &str) -> Target {
        parse(path, kind_at).unwrap()
    }

    #[test_case("/version" => ("", Named::Nothing))]
    #[test_case("/apis/apps/v1" => ("", Named::Nothing))]
    #[test_case("/api/v1/namespaces" => ("namespaces", Named::All))]
    #[test_case("/api/v1/namespaces/a" => ("namespaces", Named::One))]
    #[test_case("/api/v1/namespaces/a/finalize" => ("namespaces", Named::One))]
    #[test_case("/api/v1/namespaces/a/pods" => ("pods", Named::All))]
    #[test_case("/api/v1/namespaces/a/pods/b/status" => ("pods", Named::One))]
    #[test_case("/apis/cilium.io/v2/ciliumnodes/n" => ("ciliumnodes", Named::One))]
    fn names_for_rules(path: &str) -> (&str, Named) {
        resource(path)
    }

    #[test_case("/api/v1")]
    #[test_case("/api/v2/pods")]
    #[test_case("/api/v1/pods/a"; "a pod without its namespace")]
    #[test_case("/api/v1/namespaces/a/nodes/b")]
    #[test_case("/api/v1/namespaces/a/configmaps/b/status")]
    #[test_case("/apis/apps/v1/namespaces/a/deployments/b/scale/c")]
    fn names_nothing(path: &str) {
        assert!(parse(path, kind_at).is_err());
    }
}
