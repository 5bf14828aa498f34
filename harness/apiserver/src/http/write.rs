//! Requests that change something.

use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::api::{Api, Call};
use super::body::{self, Body};
use super::list::{Filter, present};
use super::path::Subresource;
use crate::error::ApiError;
use crate::json;
use crate::kinds::Kind;
use crate::patch::{apply, json_patch, merge_patch, strategic_merge_patch};
use crate::registry::{self, DeleteOptions, Deleted, Mode, Part, Propagation, WriteOptions, Written};
use crate::store::{Key, State, timestamp};

/// How a patch is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchType {
    fn parse(content_type: &str) -> Result<Self, ApiError> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            other => Err(ApiError::unsupported_media_type(&format!("got `{other}`"))),
        }
    }
}

impl Api {
    /// `POST` of a new object.
    pub(super) fn create(&self, call: &Call) -> Result<Response<Body>, ApiError> {
        let options = call.query.write_options()?;
        let (kind, namespace) = (call.target.kind, call.target.namespace.as_deref());
        let value = call.value()?;
        let written = self.cluster.write(|state| registry::create(state, kind, namespace, value, &options))?;
        Ok(answer(call, StatusCode::CREATED, &written))
    }

    /// `PUT` of an object or a part of it.
    pub(super) fn replace(
        &self,
        call: &Call,
        name: &str,
        part: Option<Subresource>,
    ) -> Result<Response<Body>, ApiError> {
        let options = call.query.write_options()?;
        let key = key(call, name);
        let value = call.value()?;
        let written = self.cluster.write(|state| write_part(state, &key, value, part, &options))?;
        Ok(respond(call, part, &written))
    }

    /// `PATCH` of an object or a part of it.
    pub(super) fn patch(&self, call: &Call, name: &str, part: Option<Subresource>) -> Result<Response<Body>, ApiError> {
        let options = call.query.write_options()?;
        let patch_type = PatchType::parse(&call.content_type)?;
        if patch_type == PatchType::Strategic && matches!(call.target.kind, Kind::Custom(_)) {
            return Err(ApiError::unsupported_media_type("custom resources know no strategic merge patch"));
        }
        let patch = call.value()?;
        let manager = call.query.get("fieldManager").unwrap_or_default();
        if patch_type == PatchType::Apply && manager.is_empty() {
            return Err(ApiError::bad_request(
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
            ));
        }
        let key = key(call, name);
        let resource = key.kind.resource();
        let (created, written) = self.cluster.write(|state| {
            let Some(current) = state.get(&key).cloned() else {
                if patch_type != PatchType::Apply || part.is_some() {
                    return Err(ApiError::not_found(resource, name));
                }
                let mut value = Value::Null;
                apply(&mut value, &patch, resource.schema, manager, &timestamp(Timestamp::now()))?;
                json::child(&mut value, "metadata")["name"] = json!(name);
                let namespace = call.target.namespace.as_deref();
                return registry::create(state, key.kind, namespace, value, &options).map(|written| (true, written));
            };
            let mut value = match part {
                Some(Subresource::Scale) => registry::scale_of(&current),
                _ => current.value().clone(),
            };
            match patch_type {
                PatchType::Json => json_patch(&mut value, &patch)?,
                PatchType::Merge => merge_patch(&mut value, &patch),
                PatchType::Strategic => strategic_merge_patch(&mut value, &patch, resource.schema)?,
                PatchType::Apply => {
                    apply(&mut value, &patch, resource.schema, manager, &timestamp(Timestamp::now()))?;
                }
            }
            write_part(state, &key, value, part, &options).map(|written| (false, written))
        })?;
        match created {
            true => Ok(answer(call, StatusCode::CREATED, &written)),
            false => Ok(respond(call, part, &written)),
        }
    }

    /// `POST` of a pod's binding: what a scheduler of somebody's own does.
    pub(super) fn bind(&self, call: &Call, name: &str) -> Result<Response<Body>, ApiError> {
        let binding = call.value()?;
        let node = json::text(&binding, "/target/name");
        let key = key(call, name);
        self.cluster.write(|state| {
            let pod = state.get(&key).ok_or_else(|| ApiError::not_found(Kind::Pod.resource(), name))?;
            let bound = json::text(pod.value(), "/spec/nodeName");
            if !bound.is_empty() {
                let words = format!("pod {name} is already assigned to node \"{bound}\"");
                return Err(ApiError::conflict(Kind::Pod.resource(), name, &words));
            }
            let mut value = pod.value().clone();
            json::child(&mut value, "spec")["nodeName"] = json!(node);
            registry::update(state, &key, value, Part::Main, &WriteOptions::default())
        })?;
        Ok(body::value(StatusCode::CREATED, &json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})))
    }

    /// `POST` of a pod's eviction: what `kubectl drain` does.
    pub(super) fn evict(&self, call: &Call, name: &str) -> Result<Response<Body>, ApiError> {
        let options = delete_options(call)?;
        let key = key(call, name);
        self.cluster.write(|state| registry::evict(state, &key, &options))?;
        let success = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
        Ok(body::value(StatusCode::CREATED, &success))
    }

    /// `DELETE` of an object.
    pub(super) fn delete(&self, call: &Call, name: &str) -> Result<Response<Body>, ApiError> {
        let options = delete_options(call)?;
        let key = key(call, name);
        let resource = key.kind.resource();
        match self.cluster.write(|state| registry::delete(state, &key, &options))? {
            Deleted::Terminating(object) => Ok(present(call, StatusCode::OK, &object)),
            // Pods come back as they were, as from kube-apiserver; for the rest the fact is enough.
            Deleted::Gone(object) if key.kind == Kind::Pod => Ok(present(call, StatusCode::OK, &object)),
            Deleted::Gone(object) => {
                let details = json!({
                    "name": name, "group": resource.group, "kind": resource.plural, "uid": object.uid(),
                });
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
                });
                Ok(body::value(StatusCode::OK, &status))
            }
        }
    }

    /// `DELETE` of a list.
    pub(super) fn delete_all(&self, call: &Call) -> Result<Response<Body>, ApiError> {
        let options = delete_options(call)?;
        let filter = Filter::new(call)?;
        let kind = call.target.kind;
        let deleted = self.cluster.write(|state| {
            let keys: Vec<Key> =
                filter.objects(state, kind, None).map(|(name, _)| Key { kind, name: name.clone() }).collect();
            keys.iter().map(|key| registry::delete(state, key, &options)).collect::<Result<Vec<_>, _>>()
        })?;
        let items: Vec<&Value> =
            deleted.iter().map(|(Deleted::Gone(object) | Deleted::Terminating(object))| object.value()).collect();
        let resource = kind.resource();
        let list = json!({
            "kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(),
            "metadata": {"resourceVersion": self.cluster.read(State::revision).to_string()}, "items": items,
        });
        Ok(body::value(StatusCode::OK, &list))
    }
}

fn key(call: &Call, name: &str) -> Key {
    Key::new(call.target.kind, call.target.namespace.clone().unwrap_or_default(), name)
}

fn write_part(
    state: &mut State,
    key: &Key,
    value: Value,
    part: Option<Subresource>,
    options: &WriteOptions,
) -> Result<Written, ApiError> {
    match part {
        None | Some(Subresource::Finalize) => registry::update(state, key, value, Part::Main, options),
        Some(Subresource::Status) => registry::update(state, key, value, Part::Status, options),
        Some(Subresource::Scale) => registry::set_scale(state, key, &value, options),
        Some(Subresource::Binding | Subresource::Eviction) => Err(ApiError::method_not_allowed()),
    }
}

fn respond(call: &Call, part: Option<Subresource>, written: &Written) -> Response<Body> {
    match part {
        Some(Subresource::Scale) => body::value(StatusCode::OK, &registry::scale_of(&written.object)),
        _ => answer(call, StatusCode::OK, written),
    }
}

fn answer(call: &Call, status: StatusCode, written: &Written) -> Response<Body> {
    let mut response = present(call, status, &written.object);
    body::warn(&mut response, &written.warnings);
    response
}

/// Reads `DeleteOptions` from the body (of an eviction: inside of it) and the query.
fn delete_options(call: &Call) -> Result<DeleteOptions, ApiError> {
    let body = match call.body.is_empty() {
        true => Value::Null,
        false => call.value()?,
    };
    let body = match call.target.subresource {
        Some(Subresource::Eviction) => body.get("deleteOptions").cloned().unwrap_or_default(),
        _ => body,
    };
    let propagation = match json::text(&body, "/propagationPolicy") {
        "" => call.query.get("propagationPolicy").unwrap_or_default(),
        given => given,
    };
    let orphan = propagation == "Orphan" || json::flag(&body, "/orphanDependents");
    let grace = body.get("gracePeriodSeconds").and_then(Value::as_i64);
    let asked = call.query.number("gracePeriodSeconds")?.and_then(|grace| i64::try_from(grace).ok());
    let text = |pointer| Some(json::text(&body, pointer).to_owned()).filter(|text: &String| !text.is_empty());
    let dry_run = !json::list(&body, "/dryRun").is_empty() || call.query.mode()? == Mode::DryRun;
    Ok(DeleteOptions {
        grace_period_seconds: grace.or(asked),
        uid: text("/preconditions/uid"),
        resource_version: text("/preconditions/resourceVersion"),
        propagation: if orphan { Propagation::Orphan } else { Propagation::Background },
        mode: if dry_run { Mode::DryRun } else { Mode::Commit },
    })
}
