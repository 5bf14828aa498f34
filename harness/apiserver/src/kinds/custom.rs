//! Kinds that clients define. Their objects are kept as they come: no schema is looked at.

use std::sync::{PoisonError, RwLock};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age::age;
use super::{Column, NameRule, Resource};
use crate::json;
use crate::patch::schema;

/// Different definitions that one process takes in its life, over all of its clusters. What is known of a kind is kept
/// for ever, so that it can be referred to like that of the kinds that are always there.
const DEFINITIONS_MAX: usize = 1024;

/// A kind that a client defined: a place among [`DEFINITIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CustomKind(usize);

static DEFINITIONS: RwLock<Vec<&'static Resource>> = RwLock::new(Vec::new());

impl CustomKind {
    /// The kind that a definition describes, in the version that it stores; none when that is not served, or when there
    /// are too many.
    pub(crate) fn of(definition: &Value) -> Option<Self> {
        let versions = json::list(definition, "/spec/versions");
        let version =
            versions.iter().find(|version| json::flag(version, "/storage") && json::flag(version, "/served"))?;
        let wanted = Description::read(definition, version);
        let mut known = DEFINITIONS.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = known.iter().position(|resource| wanted.describes(resource)) {
            return Some(Self(place));
        }
        if known.len() >= DEFINITIONS_MAX {
            tracing::warn!(kind = wanted.kind, "too many custom resource definitions; this one is not served");
            return None;
        }
        known.push(Box::leak(Box::new(wanted.into_resource())));
        Some(Self(known.len() - 1))
    }

    /// What the server knows about the kind.
    pub(super) fn resource(self) -> &'static Resource {
        DEFINITIONS.read().unwrap_or_else(PoisonError::into_inner)[self.0]
    }
}

/// What of a definition matters here.
struct Description<'d> {
    group: &'d str,
    version: &'d str,
    kind: &'d str,
    plural: &'d str,
    short_names: Vec<&'d str>,
    namespaced: bool,
    has_status: bool,
}

impl<'d> Description<'d> {
    fn read(definition: &'d Value, version: &'d Value) -> Self {
        let text = |pointer| json::text(definition, pointer);
        Self {
            group: text("/spec/group"),
            version: json::text(version, "/name"),
            kind: text("/spec/names/kind"),
            plural: text("/spec/names/plural"),
            short_names: json::list(definition, "/spec/names/shortNames").iter().filter_map(Value::as_str).collect(),
            namespaced: text("/spec/scope") == "Namespaced",
            has_status: json::get(version, "/subresources/status").is_some_and(|status| !status.is_null()),
        }
    }

    fn describes(&self, resource: &Resource) -> bool {
        (self.group, self.version, self.kind, self.plural)
            == (resource.group, resource.version, resource.kind, resource.plural)
            && self.short_names == resource.short_names
            && (self.namespaced, self.has_status) == (resource.namespaced, resource.has_status)
    }

    fn into_resource(self) -> Resource {
        let keep = |text: &str| -> &'static str { Box::leak(text.into()) };
        let short_names: Vec<&'static str> = self.short_names.into_iter().map(keep).collect();
        Resource {
            group: keep(self.group),
            version: keep(self.version),
            kind: keep(self.kind),
            plural: keep(self.plural),
            short_names: short_names.leak(),
            namespaced: self.namespaced,
            in_all: false,
            has_status: self.has_status,
            has_generation: true,
            has_scale: false,
            name_rule: NameRule::Subdomain,
            field_labels: &[],
            columns: &[Column::NAME, Column::AGE],
            row,
            schema: &schema::PLAIN,
            decode: |value| Ok(value.clone()),
            default: |_| {},
            validate: |_, _, _| {},
        }
    }
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![json!(json::text(object, "/metadata/name")), age(object, now)]
}
