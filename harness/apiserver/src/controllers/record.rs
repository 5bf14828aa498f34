//! Events that controllers tell people, as `kubectl describe` shows them.

use jiff::Timestamp;
use serde_json::json;

use crate::kinds::Kind;
use crate::registry::{self, WriteOptions};
use crate::store::{Object, State, timestamp};

/// Whether what happened is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// It is.
    Normal,
    /// It is not.
    Warning,
}

/// Records an event about an object.
pub(super) fn record(
    state: &mut State,
    (kind, object): (Kind, &Object),
    tone: Tone,
    (component, reason): (&str, &str),
    message: &str,
) {
    let resource = kind.resource();
    let now = timestamp(Timestamp::now());
    // Events about objects without a namespace are in the one that is always there.
    let namespace = if object.namespace().is_empty() { "default" } else { object.namespace() };
    let event = json!({
        "metadata": {"generateName": format!("{}.", object.name())},
        "involvedObject": {
            "apiVersion": resource.api_version(), "kind": resource.kind, "name": object.name(),
            "namespace": object.namespace(), "uid": object.uid(),
            "resourceVersion": object.value()["metadata"]["resourceVersion"],
        },
        "type": match tone { Tone::Normal => "Normal", Tone::Warning => "Warning" },
        "reason": reason,
        "message": message,
        "source": {"component": component},
        "reportingComponent": component,
        "reportingInstance": "",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    });
    // In a namespace that is going no event can be made any more, and nobody misses it.
    if let Err(error) = registry::create(state, Kind::Event, Some(namespace), event, &WriteOptions::default()) {
        tracing::trace!(%error, reason, "event not recorded");
    }
}
