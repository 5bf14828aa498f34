//! Changing objects.

use std::sync::Arc;

use serde_json::{Value, json};

use super::admit::{check, check_type, shape};
use super::allocate::allocate;
use super::{Mode, WriteOptions, Written};
use crate::error::ApiError;
use crate::json;
use crate::kinds::{Kind, Resource};
use crate::store::{Key, Object, State};

/// Which part of an object a request may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything but the status.
    Main,
    /// The status only.
    Status,
}

/// Metadata that clients cannot change.
const SERVER_FIELDS: [&str; 6] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "generateName"];

/// Replaces one part of an object.
pub(crate) fn update(
    state: &mut State,
    key: &Key,
    mut body: Value,
    part: Part,
    options: &WriteOptions,
) -> Result<Written, ApiError> {
    let resource = key.kind.resource();
    let name = key.name.name.as_str();
    let old = Arc::clone(state.get(key).ok_or_else(|| ApiError::not_found(resource, name))?);
    check_type(resource, &mut body)?;
    check_identity(resource, key, &old, &mut body)?;
    let mut body = match part {
        Part::Main => keep_status(resource, &old, body),
        Part::Status => {
            let mut whole = old.value().clone();
            json::assign(&mut whole, "status", body.get("status").filter(|status| !status.is_null()).cloned());
            whole
        }
    };
    let metadata = json::child(&mut body, "metadata");
    for field in SERVER_FIELDS {
        json::assign(metadata, field, old.value()["metadata"].get(field).cloned());
    }
    json::assign(metadata, "resourceVersion", old.value()["metadata"].get("resourceVersion").cloned());
    if key.kind == Kind::Service && part == Part::Main {
        // Before the checks: a client that leaves the address out means the one that the service has.
        (resource.default)(&mut body);
        allocate(state, key.kind, &mut body, Some(old.value()))?;
    }
    let warnings = shape(resource, &mut body, options)?;
    check(resource, &body, Some(old.value()))?;
    if resource.has_generation && part == Part::Main && differs(old.value(), &body) {
        let generation = json::number(old.value(), "/metadata/generation") + 1;
        json::child(&mut body, "metadata")["generation"] = json!(generation);
    }
    if body == *old.value() {
        return Ok(Written { object: old, warnings });
    }
    if options.mode == Mode::DryRun {
        return Ok(Written { object: Arc::new(Object::new(body)), warnings });
    }
    let object = state.put(key.kind, body);
    let finished = json::list(object.value(), "/metadata/finalizers").is_empty()
        && json::number(object.value(), "/metadata/deletionGracePeriodSeconds") == 0
        && key.kind != Kind::Namespace;
    if object.is_terminating() && finished {
        let object = state.remove(key).unwrap_or(object);
        return Ok(Written { object, warnings });
    }
    Ok(Written { object, warnings })
}

fn check_identity(resource: &Resource, key: &Key, old: &Object, body: &mut Value) -> Result<(), ApiError> {
    let name = key.name.name.as_str();
    let given = json::text(body, "/metadata/name");
    if !given.is_empty() && given != name {
        let words = format!("the name of the object ({given}) does not match the name on the URL ({name})");
        return Err(ApiError::bad_request(words));
    }
    let given = json::text(body, "/metadata/namespace");
    if !given.is_empty() && given != key.name.namespace {
        let words = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(ApiError::bad_request(words));
    }
    let revision = json::text(body, "/metadata/resourceVersion");
    if !revision.is_empty() && revision != json::text(old.value(), "/metadata/resourceVersion") {
        return Err(ApiError::stale(resource, name));
    }
    let uid = json::text(body, "/metadata/uid");
    if !uid.is_empty() && uid != old.uid() {
        let words = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", old.uid());
        return Err(ApiError::conflict(resource, name, &words));
    }
    let metadata = json::child(body, "metadata");
    metadata["name"] = json!(name);
    if resource.namespaced {
        metadata["namespace"] = json!(key.name.namespace);
    }
    Ok(())
}

fn keep_status(resource: &Resource, old: &Object, mut body: Value) -> Value {
    if resource.has_status {
        json::assign(&mut body, "status", old.value().get("status").cloned());
    }
    body
}

/// Whether anything but metadata and status differs.
fn differs(old: &Value, new: &Value) -> bool {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return old != new };
    let counts = |name: &&String| !matches!(name.as_str(), "metadata" | "status");
    old.keys().chain(new.keys()).filter(counts).any(|name| old.get(name) != new.get(name))
}
