//! Namespaces: furnished when they are new, emptied when they go.

use serde_json::json;

use super::garbage;
use crate::kinds::Kind;
use crate::registry::{self, DeleteOptions, WriteOptions};
use crate::store::{Key, State};

/// Furnishes or empties a namespace.
pub(super) fn reconcile(state: &mut State, name: &str) {
    let key = Key::new(Kind::Namespace, "", name);
    let Some(namespace) = state.get(&key).cloned() else { return };
    if !namespace.is_terminating() {
        furnish(state, name);
        return;
    }
    let kinds: Vec<Kind> = state.kinds().filter(|kind| kind.resource().namespaced).collect();
    for kind in kinds.iter().copied() {
        let objects = state.list(kind, Some(name)).filter(|object| !object.is_terminating());
        let objects: Vec<Key> = objects.map(|object| Key::new(kind, name, object.name())).collect();
        for object in objects {
            garbage::delete(state, &object, &DeleteOptions::default());
        }
    }
    let empty = kinds.into_iter().all(|kind| {
        let found = state.list(kind, Some(name)).next();
        found.is_none()
    });
    if empty {
        state.remove(&key);
    }
}

fn furnish(state: &mut State, name: &str) {
    if state.get(&Key::new(Kind::ServiceAccount, name, "default")).is_some() {
        return;
    }
    let account = json!({"metadata": {"name": "default"}});
    if let Err(error) = registry::create(state, Kind::ServiceAccount, Some(name), account, &WriteOptions::default()) {
        tracing::debug!(namespace = name, %error, "no default service account");
    }
}
