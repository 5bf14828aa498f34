//! Creating objects.

use std::sync::Arc;

use serde_json::{Value, json};

use super::admit::{check, check_type, shape};
use super::allocate::allocate;
use super::{Mode, WriteOptions, Written};
use crate::error::ApiError;
use crate::json;
use crate::kinds::{Kind, Resource};
use crate::store::{Key, Object, State};

/// Tries to find a free name for `metadata.generateName`; Kubernetes gives up after as many.
const NAME_ATTEMPTS: usize = 8;
/// Longest generated name's prefix: 63 less the suffix.
const PREFIX_MAX: usize = 58;
/// Events that are kept; beyond that the oldest one goes, as it would after an hour in a real cluster.
pub(super) const EVENTS_MAX: usize = 2048;

/// Creates an object in the namespace that the request names.
pub(crate) fn create(
    state: &mut State,
    kind: Kind,
    namespace: Option<&str>,
    mut body: Value,
    options: &WriteOptions,
) -> Result<Written, ApiError> {
    let resource = kind.resource();
    if !state.kinds().any(|served| served == kind) {
        return Err(ApiError::no_such_path());
    }
    check_type(resource, &mut body)?;
    place(state, resource, namespace, &mut body)?;
    let metadata = json::child(&mut body, "metadata");
    if !json::text(metadata, "/resourceVersion").is_empty() {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    for field in
        ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"]
    {
        json::assign(metadata, field, None);
    }
    name(state, kind, &mut body);
    // Kubelets register their node complete with status; for all other kinds status is the controllers' own.
    if resource.has_status && kind != Kind::Node {
        json::assign(&mut body, "status", None);
    }
    let warnings = shape(resource, &mut body, options)?;
    check(resource, &body, None)?;
    let key = key(kind, &body);
    if state.get(&key).is_some() {
        return Err(ApiError::already_exists(resource, &key.name.name));
    }
    allocate(state, kind, &mut body, None)?;
    if resource.has_generation {
        json::child(&mut body, "metadata")["generation"] = json!(1);
    }
    state.stamp(&mut body);
    let object = match options.mode {
        Mode::DryRun => Arc::new(Object::new(body)),
        Mode::Commit => state.put(kind, body),
    };
    if kind == Kind::Event && options.mode == Mode::Commit {
        state.remember_event(key, EVENTS_MAX);
    }
    Ok(Written { object, warnings })
}

/// The key of an object by its own metadata.
pub(super) fn key(kind: Kind, value: &Value) -> Key {
    Key::new(kind, json::text(value, "/metadata/namespace"), json::text(value, "/metadata/name"))
}

/// Puts the object into its namespace, which must be there and stay.
fn place(state: &State, resource: &Resource, namespace: Option<&str>, body: &mut Value) -> Result<(), ApiError> {
    let given = json::text(body, "/metadata/namespace").to_owned();
    if !resource.namespaced {
        json::assign(json::child(body, "metadata"), "namespace", None);
        return Ok(());
    }
    let namespace = namespace.unwrap_or(&given);
    if !given.is_empty() && given != namespace {
        let words = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(ApiError::bad_request(words));
    }
    if namespace.is_empty() {
        return Err(ApiError::bad_request("an empty namespace may not be set during creation"));
    }
    let Some(home) = state.get(&Key::new(Kind::Namespace, "", namespace)) else {
        return Err(ApiError::not_found(Kind::Namespace.resource(), namespace));
    };
    if home.is_terminating() {
        let words = format!("unable to create new content in namespace {namespace} because it is being terminated");
        return Err(ApiError::forbidden(resource, json::text(body, "/metadata/name"), &words));
    }
    json::assign(json::child(body, "metadata"), "namespace", Some(json!(namespace)));
    Ok(())
}

/// Makes a name out of `generateName` when there is none.
fn name(state: &mut State, kind: Kind, body: &mut Value) {
    let prefix = json::text(body, "/metadata/generateName");
    if !json::text(body, "/metadata/name").is_empty() || prefix.is_empty() {
        return;
    }
    let prefix: String = prefix.chars().take(PREFIX_MAX).collect();
    for _ in 0..NAME_ATTEMPTS {
        let name = format!("{prefix}{}", state.entropy.suffix());
        json::child(body, "metadata")["name"] = json!(name);
        if state.get(&key(kind, body)).is_none() {
            return;
        }
    }
}
