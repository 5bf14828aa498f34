//! Server-side apply: a configuration is merged by keys, and what its manager applied before but no longer names goes.
//!
//! Ownership is kept as Kubernetes keeps it, in `metadata.managedFields` with one `fieldsV1` tree a manager, but only
//! for managers that apply. There are no conflicts: the last to apply a field has it, as if with `force`.

use serde_json::{Map, Value, json};

use super::PatchError;
use super::schema::{Field, Schema};
use crate::json;

/// Fields that are the server's or identify the object: nobody owns them.
const UNOWNED: [&str; 2] = ["apiVersion", "kind"];
const UNOWNED_METADATA: [&str; 7] =
    ["name", "namespace", "uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"];

/// Applies `config` to `target` (null when there is no object yet) on behalf of `manager`, at time `now`.
pub(crate) fn apply(
    target: &mut Value,
    config: &Value,
    schema: &'static Schema,
    manager: &str,
    now: &str,
) -> Result<(), PatchError> {
    if !config.is_object() {
        return Err(PatchError::Malformed("error decoding configuration: not an object".to_owned()));
    }
    let mut owned = fields(config, schema);
    UNOWNED.iter().for_each(|name| drop(owned.shift_remove(&format!("f:{name}"))));
    if let Some(Value::Object(metadata)) = owned.get_mut("f:metadata") {
        UNOWNED_METADATA.iter().for_each(|name| drop(metadata.shift_remove(&format!("f:{name}"))));
        if metadata.is_empty() {
            owned.shift_remove("f:metadata");
        }
    }
    let mut entries = json::list(target, "/metadata/managedFields").to_vec();
    let mine = entries
        .iter()
        .position(|entry| json::text(entry, "/manager") == manager && json::text(entry, "/operation") == "Apply");
    let before = mine.map(|index| entries.remove(index));
    if let Some(Value::Object(before)) = before.as_ref().and_then(|entry| entry.get("fieldsV1")) {
        let others: Vec<&Map<String, Value>> =
            entries.iter().filter_map(|entry| entry.get("fieldsV1").and_then(Value::as_object)).collect();
        let keep: Vec<&Map<String, Value>> = others.into_iter().chain([&owned]).collect();
        prune(target, before, &keep);
    }
    merge(target, config, schema);
    entries.push(json!({
        "manager": manager, "operation": "Apply", "apiVersion": config.get("apiVersion"), "time": now,
        "fieldsType": "FieldsV1", "fieldsV1": owned,
    }));
    json::child(target, "metadata")["managedFields"] = Value::Array(entries);
    Ok(())
}

fn merge(target: &mut Value, config: &Value, schema: &'static Schema) {
    let Value::Object(config) = config else { return };
    for (name, field) in config {
        let current = json::child_or_null(target, name);
        match (schema.field(name), field) {
            (Some(Field::ByKey(key, item)), Value::Array(elements)) => {
                let mut values = current.as_array_mut().map(std::mem::take).unwrap_or_default();
                for element in elements {
                    match values.iter_mut().find(|value| value.get(key) == element.get(key)) {
                        Some(value) => merge(value, element, item),
                        None => values.push(element.clone()),
                    }
                }
                *current = Value::Array(values);
            }
            (Some(Field::Set), Value::Array(elements)) => {
                let mut values = current.as_array_mut().map(std::mem::take).unwrap_or_default();
                for element in elements {
                    if !values.contains(element) {
                        values.push(element.clone());
                    }
                }
                *current = Value::Array(values);
            }
            (_, Value::Object(_)) => {
                // An object without fields is a value too.
                if !current.is_object() {
                    *current = json!({});
                }
                merge(current, field, schema.below(name));
            }
            (_, field) => *current = field.clone(),
        }
    }
}

/// The `fieldsV1` tree of a configuration.
fn fields(config: &Value, schema: &'static Schema) -> Map<String, Value> {
    let mut tree = Map::new();
    for (name, field) in config.as_object().into_iter().flatten() {
        let below = match (schema.field(name), field) {
            (Some(Field::ByKey(key, item)), Value::Array(elements)) => {
                let mut below = Map::new();
                for element in elements {
                    let mut tree = fields(element, item);
                    tree.insert(".".to_owned(), json!({}));
                    let identity = json!({ key: element.get(key) });
                    below.insert(format!("k:{identity}"), Value::Object(tree));
                }
                below
            }
            (Some(Field::Set), Value::Array(elements)) => {
                elements.iter().map(|element| (format!("v:{element}"), json!({}))).collect()
            }
            (_, Value::Object(_)) => fields(field, schema.below(name)),
            _ => Map::new(),
        };
        tree.insert(format!("f:{name}"), Value::Object(below));
    }
    tree
}

/// Removes what is in the tree `before` and in none of the trees `keep`.
fn prune(target: &mut Value, before: &Map<String, Value>, keep: &[&Map<String, Value>]) {
    for (step, below) in before {
        let kept: Vec<&Map<String, Value>> =
            keep.iter().filter_map(|tree| tree.get(step).and_then(Value::as_object)).collect();
        let below = below.as_object().filter(|below| !below.is_empty());
        if step == "." {
            continue;
        }
        if kept.is_empty() && (below.is_none() || step.starts_with("k:")) {
            remove(target, step);
        } else if let (Some(below), Some(inner)) = (below, find(target, step)) {
            prune(inner, below, &kept);
            let hollow = inner.as_object().is_some_and(Map::is_empty) || inner.as_array().is_some_and(Vec::is_empty);
            if kept.is_empty() && hollow {
                remove(target, step);
            }
        }
    }
}

fn matches(step: &str, element: &Value) -> bool {
    if let Some(value) = step.strip_prefix("v:") {
        return serde_json::from_str::<Value>(value).is_ok_and(|value| value == *element);
    }
    let Some(Ok(Value::Object(key))) = step.strip_prefix("k:").map(serde_json::from_str::<Value>) else { return false };
    key.iter().all(|(name, value)| element.get(name).unwrap_or(&Value::Null) == value)
}

fn find<'v>(target: &'v mut Value, step: &str) -> Option<&'v mut Value> {
    match target {
        Value::Object(map) => map.get_mut(step.strip_prefix("f:")?),
        Value::Array(list) => list.iter_mut().find(|element| matches(step, element)),
        _ => None,
    }
}

fn remove(target: &mut Value, step: &str) {
    match target {
        Value::Object(map) => {
            if let Some(name) = step.strip_prefix("f:") {
                map.shift_remove(name);
            }
        }
        Value::Array(list) => list.retain(|element| !matches(step, element)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::schema::SERVICE;

    fn service(annotations: Value, ports: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "annotations": annotations},
            "spec": {"ports": ports}})
    }

    #[test]
    fn what_a_manager_no_longer_names_goes() {
        let mut object = Value::Null;
        let first = service(json!({"x": "1", "y": "1"}), json!([{"port": 1}, {"port": 2}]));
        apply(&mut object, &first, &SERVICE, "one", "now").unwrap();
        let second = service(json!({"x": "2"}), json!([{"port": 2, "name": "b"}]));
        apply(&mut object, &second, &SERVICE, "one", "now").unwrap();
        assert_eq!(object["metadata"]["annotations"], json!({"x": "2"}));
        assert_eq!(object["spec"]["ports"], json!([{"port": 2, "name": "b"}]));
        assert_eq!(json::list(&object, "/metadata/managedFields").len(), 1);
    }

    #[test]
    fn an_empty_object_is_kept() {
        let mut object = Value::Null;
        let pod =
            json!({"apiVersion": "v1", "kind": "Pod", "spec": {"volumes": [{"emptyDir": {}}], "securityContext": {}}});
        apply(&mut object, &pod, &SERVICE, "one", "now").unwrap();
        assert_eq!(object["spec"], pod["spec"]);
    }

    #[test]
    fn what_another_manager_names_stays() {
        let mut object = Value::Null;
        apply(&mut object, &service(json!({"x": "1", "y": "1"}), json!([])), &SERVICE, "one", "now").unwrap();
        apply(&mut object, &service(json!({"y": "1"}), json!([])), &SERVICE, "two", "now").unwrap();
        apply(&mut object, &service(json!({}), json!([])), &SERVICE, "one", "now").unwrap();
        assert_eq!(object["metadata"]["annotations"], json!({"y": "1"}));
    }
}
