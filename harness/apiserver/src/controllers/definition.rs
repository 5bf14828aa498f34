//! Custom resource definitions: established as soon as they are there, emptied when they go.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::garbage;
use crate::json;
use crate::kinds::{CustomKind, Kind};
use crate::registry::DeleteOptions;
use crate::store::{Key, Object, State, timestamp};

/// Serves the kind of a definition, and says so in its status.
pub(super) fn reconcile(state: &mut State, name: &str) {
    let key = Key::new(Kind::CustomResourceDefinition, "", name);
    let Some(definition) = state.get(&key).cloned() else { return };
    let served = CustomKind::of(definition.value()).map(Kind::Custom);
    if let Some(kind) = served {
        state.install(kind);
    }
    let stored =
        json::list(definition.value(), "/spec/versions").iter().find(|version| json::flag(version, "/storage"));
    let mut value = definition.value().clone();
    let established = ("Established", served.is_some(), "InitialNamesAccepted");
    let conditions: Vec<Value> = [("NamesAccepted", true, "NoConflicts"), established]
        .into_iter()
        .map(|(kind, holds, reason)| condition(&definition, kind, holds, reason))
        .collect();
    value["status"] = json!({
        "acceptedNames": definition.value()["spec"]["names"], "conditions": conditions,
        "storedVersions": stored.map(|version| &version["name"]).into_iter().collect::<Vec<_>>(),
    });
    if value != *definition.value() {
        state.put(Kind::CustomResourceDefinition, value);
    }
}

/// Deletes the objects of a definition that is gone, and serves its kind no more.
pub(super) fn gone(state: &mut State, definition: &Object) {
    let Some(kind) = CustomKind::of(definition.value()).map(Kind::Custom) else { return };
    let keys: Vec<Key> =
        state.list(kind, None).map(|object| Key::new(kind, object.namespace(), object.name())).collect();
    for key in keys {
        garbage::delete(state, &key, &DeleteOptions::default());
    }
    state.uninstall(kind);
}

fn condition(definition: &Object, kind: &str, holds: bool, reason: &str) -> Value {
    let status = if holds { "True" } else { "False" };
    let conditions = json::list(definition.value(), "/status/conditions");
    let same =
        |condition: &&Value| json::text(condition, "/type") == kind && json::text(condition, "/status") == status;
    let since = conditions.iter().find(same).map(|before| json::text(before, "/lastTransitionTime").to_owned());
    json!({
        "type": kind, "status": status, "reason": reason, "message": "",
        "lastTransitionTime": since.unwrap_or_else(|| timestamp(Timestamp::now())),
    })
}
