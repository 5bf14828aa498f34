//! Deleting objects: at once, gracefully (pods), or when finalizers are through.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Mode;
use crate::error::ApiError;
use crate::json;
use crate::kinds::Kind;
use crate::store::{Key, Object, State, timestamp};

/// Longest grace period in seconds that is counted with (68 years); longer ones mean the same to any run.
const GRACE_MAX: i64 = i32::MAX as i64;

/// What becomes of the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// They are deleted as well.
    #[default]
    Background,
    /// They stay, ownerless.
    Orphan,
}

/// How to delete.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    /// Seconds that a pod gets; its own setting when absent.
    pub(crate) grace_period_seconds: Option<i64>,
    /// Only if the object has this UID.
    pub(crate) uid: Option<String>,
    /// Only if the object is at this revision.
    pub(crate) resource_version: Option<String>,
    /// For what the object owns.
    pub(crate) propagation: Propagation,
    /// For real or not.
    pub(crate) mode: Mode,
}

/// What became of the object.
#[derive(Clone, Debug)]
pub(crate) enum Deleted {
    /// It is gone; its last state.
    Gone(Arc<Object>),
    /// It is going.
    Terminating(Arc<Object>),
}

/// Deletes an object, or starts to.
pub(crate) fn delete(state: &mut State, key: &Key, options: &DeleteOptions) -> Result<Deleted, ApiError> {
    let resource = key.kind.resource();
    let name = key.name.name.as_str();
    let object = Arc::clone(state.get(key).ok_or_else(|| ApiError::not_found(resource, name))?);
    let precondition = |what: &str, wanted: &Option<String>, has: &str| match wanted {
        Some(wanted) if wanted != has => {
            let words = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {has}");
            Err(ApiError::conflict(resource, name, &words))
        }
        _ => Ok(()),
    };
    precondition("UID", &options.uid, object.uid())?;
    let revision = json::text(object.value(), "/metadata/resourceVersion");
    precondition("ResourceVersion", &options.resource_version, revision)?;
    if options.mode == Mode::DryRun {
        return Ok(Deleted::Gone(object));
    }
    if options.propagation == Propagation::Orphan {
        orphan(state, object.uid());
    }
    if key.kind == Kind::Namespace {
        if ["default", "kube-system", "kube-public"].contains(&name) {
            return Err(ApiError::forbidden(resource, name, "this namespace may not be deleted"));
        }
        return Ok(Deleted::Terminating(terminate_namespace(state, &object)));
    }
    let grace = match key.kind {
        Kind::Pod => grace_period(object.value(), options.grace_period_seconds),
        _ => 0,
    };
    if grace == 0 && json::list(object.value(), "/metadata/finalizers").is_empty() {
        let gone = state.remove(key).unwrap_or(object);
        return Ok(Deleted::Gone(gone));
    }
    Ok(Deleted::Terminating(terminate(state, key.kind, &object, grace)))
}

/// Seconds that the pod gets: none when nobody runs it.
fn grace_period(pod: &Value, asked: Option<i64>) -> i64 {
    let finished = matches!(json::text(pod, "/status/phase"), "Succeeded" | "Failed");
    if finished || json::text(pod, "/spec/nodeName").is_empty() {
        return 0;
    }
    let own = json::number(pod, "/spec/terminationGracePeriodSeconds");
    asked.unwrap_or(own).clamp(0, GRACE_MAX)
}

fn terminate(state: &mut State, kind: Kind, object: &Arc<Object>, grace: i64) -> Arc<Object> {
    let remaining = json::number(object.value(), "/metadata/deletionGracePeriodSeconds");
    // A second request can only shorten the time.
    if object.is_terminating() && grace >= remaining {
        return Arc::clone(object);
    }
    let mut value = object.value().clone();
    let end = Timestamp::now().saturating_add(SignedDuration::from_secs(grace)).unwrap_or(Timestamp::MAX);
    let metadata = json::child(&mut value, "metadata");
    metadata["deletionTimestamp"] = json!(timestamp(end));
    metadata["deletionGracePeriodSeconds"] = json!(grace);
    state.put(kind, value)
}

fn terminate_namespace(state: &mut State, namespace: &Arc<Object>) -> Arc<Object> {
    if namespace.is_terminating() {
        return Arc::clone(namespace);
    }
    let mut value = namespace.value().clone();
    json::child(&mut value, "metadata")["deletionTimestamp"] = json!(timestamp(Timestamp::now()));
    json::child(&mut value, "status")["phase"] = json!("Terminating");
    state.put(Kind::Namespace, value)
}

/// Takes the owner out of everything it owns.
fn orphan(state: &mut State, uid: &str) {
    for key in state.dependents(uid) {
        let Some(object) = state.get(&key) else { continue };
        let mut value = object.value().clone();
        if let Some(Value::Array(owners)) = value.pointer_mut("/metadata/ownerReferences") {
            owners.retain(|owner| json::text(owner, "/uid") != uid);
        }
        state.put(key.kind, value);
    }
}
