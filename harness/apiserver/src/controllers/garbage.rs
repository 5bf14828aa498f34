//! What is left of owners and nodes that are gone.

use serde_json::Value;

use crate::json;
use crate::kinds::Kind;
use crate::registry::{self, DeleteOptions};
use crate::store::{Key, State};

/// Deletes what only the object with this UID owned, and takes it out of the owners of the rest.
pub(super) fn collect(state: &mut State, uid: &str) {
    for key in state.dependents(uid) {
        let Some(object) = state.get(&key).cloned() else { continue };
        if json::list(object.value(), "/metadata/ownerReferences").len() > 1 {
            let mut value = object.value().clone();
            if let Some(Value::Array(owners)) = value.pointer_mut("/metadata/ownerReferences") {
                owners.retain(|owner| json::text(owner, "/uid") != uid);
            }
            state.put(key.kind, value);
        } else if !object.is_terminating() {
            delete(state, &key, &DeleteOptions::default());
        }
    }
}

/// Removes the pods of a node that is gone: nobody is left to end them.
pub(super) fn node_gone(state: &mut State, node: &str) {
    if state.get(&Key::new(Kind::Node, "", node)).is_some() {
        return;
    }
    let pods = state.list(Kind::Pod, None).filter(|pod| json::text(pod.value(), "/spec/nodeName") == node);
    let pods: Vec<Key> = pods.map(|pod| Key::new(Kind::Pod, pod.namespace(), pod.name())).collect();
    for pod in pods {
        delete(state, &pod, &DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() });
    }
}

/// Deletes an object that was just seen.
pub(super) fn delete(state: &mut State, key: &Key, options: &DeleteOptions) {
    if let Err(error) = registry::delete(state, key, options) {
        tracing::debug!(?key, %error, "not deleted");
    }
}
