//! Discovery: which groups, versions and resources there are.

use serde_json::{Value, json};

use crate::kinds::{Kind, Resource};

/// What clients may do with every resource.
pub(super) const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// A subresource as discovery tells of it.
pub(super) struct Part {
    /// Its name behind the object's.
    pub(super) name: &'static str,
    /// Group, version and kind of what is read and written there, where it is not the object itself.
    pub(super) other: Option<(&'static str, &'static str, &'static str)>,
    /// What clients may do with it.
    pub(super) verbs: &'static [&'static str],
}

/// The subresources of a kind.
pub(super) fn parts(kind: Kind) -> Vec<Part> {
    const CHANGE: &[&str] = &["get", "patch", "update"];
    let resource = kind.resource();
    let mut parts = Vec::new();
    if resource.has_status {
        parts.push(Part { name: "status", other: None, verbs: CHANGE });
    }
    if resource.has_scale {
        parts.push(Part { name: "scale", other: Some(("autoscaling", "v1", "Scale")), verbs: CHANGE });
    }
    match kind {
        Kind::Pod => {
            parts.push(Part { name: "binding", other: Some(("", "v1", "Binding")), verbs: &["create"] });
            parts.push(Part { name: "eviction", other: Some(("policy", "v1", "Eviction")), verbs: &["create"] });
        }
        Kind::Namespace => parts.push(Part { name: "finalize", other: None, verbs: &["update"] }),
        _ => {}
    }
    parts
}

/// The groups beside the core, with their version, in the order of discovery.
pub(super) fn groups(all: &[Kind]) -> Vec<(&'static str, &'static str)> {
    let mut groups: Vec<(&str, &str)> = Vec::new();
    for kind in all {
        let pair = (kind.resource().group, kind.resource().version);
        if !pair.0.is_empty() && !groups.contains(&pair) {
            groups.push(pair);
        }
    }
    groups
}

/// The kinds of a group and version.
pub(super) fn kinds(all: &[Kind], group: &str, version: &str) -> Vec<Kind> {
    let belongs = |resource: &Resource| resource.group == group && resource.version == version;
    all.iter().copied().filter(|kind| belongs(kind.resource())).collect()
}

/// The discovery document at a path.
pub(super) fn document(path: &str, all: impl Fn() -> Vec<Kind>) -> Option<Value> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        ["apis"] => {
            let groups: Vec<Value> = groups(&all()).into_iter().map(group).collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["api", version] => resources(&all(), "", version),
        ["apis", name] => {
            let mut found = groups(&all()).into_iter().find(|(group, _)| group == name).map(group)?;
            found["kind"] = json!("APIGroup");
            found["apiVersion"] = json!("v1");
            Some(found)
        }
        ["apis", group, version] => resources(&all(), group, version),
        _ => None,
    }
}

fn group((name, version): (&str, &str)) -> Value {
    let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn resources(all: &[Kind], group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for kind in kinds(all, group, version) {
        let resource = kind.resource();
        let mut entry = json!({
            "name": resource.plural, "singularName": resource.kind.to_lowercase(), "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": VERBS,
        });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = json!(resource.short_names);
        }
        if resource.in_all {
            entry["categories"] = json!(["all"]);
        }
        resources.push(entry);
        for part in parts(kind) {
            let (group, version, kind) = part.other.unwrap_or(("", "", resource.kind));
            let mut entry = json!({
                "name": format!("{}/{}", resource.plural, part.name), "singularName": "",
                "namespaced": resource.namespaced, "kind": kind, "verbs": part.verbs,
            });
            if part.other.is_some() {
                entry["group"] = json!(group);
                entry["version"] = json!(version);
            }
            resources.push(entry);
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (!resources.is_empty()).then(|| {
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources})
    })
}
