//! The subresource `scale`.

use serde_json::{Value, json};

use super::update::{Part, update};
use super::{WriteOptions, Written};
use crate::error::ApiError;
use crate::json;
use crate::store::{Key, Object, State};

/// The `Scale` object of a workload.
pub(crate) fn scale_of(object: &Object) -> Value {
    let value = object.value();
    let labels = json::map(value, "/spec/selector/matchLabels");
    let selector: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let metadata = &value["metadata"];
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {"replicas": json::number(value, "/spec/replicas")},
        "status": {"replicas": json::number(value, "/status/replicas"), "selector": selector.join(",")},
    })
}

/// Sets the count of a workload to that of a `Scale` object.
pub(crate) fn set_scale(
    state: &mut State,
    key: &Key,
    scale: &Value,
    options: &WriteOptions,
) -> Result<Written, ApiError> {
    let object = state.get(key).ok_or_else(|| ApiError::not_found(key.kind.resource(), &key.name.name))?;
    let mut value = object.value().clone();
    let revision = json::text(scale, "/metadata/resourceVersion");
    if !revision.is_empty() {
        json::child(&mut value, "metadata")["resourceVersion"] = json!(revision);
    }
    json::child(&mut value, "spec")["replicas"] = json!(json::number(scale, "/spec/replicas"));
    update(state, key, value, Part::Main, options)
}
