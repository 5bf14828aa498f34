//! Strategic merge patch: what `kubectl apply`, `annotate` and `label` send.
//!
//! Like a merge patch, but lists that the schema names are merged by key, and directives inside of the patch say
//! more: `$patch` (`replace`, `delete`, `merge`), `$retainKeys`, `$setElementOrder/<list>` and
//! `$deleteFromPrimitiveList/<list>`.

use serde_json::{Map, Value};

use super::PatchError;
use super::schema::{Field, Schema};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

/// Applies `patch` to `target` by the rules of `schema`.
pub(crate) fn strategic_merge_patch(target: &mut Value, patch: &Value, schema: &Schema) -> Result<(), PatchError> {
    let Value::Object(patch) = patch else {
        return Err(PatchError::Malformed("error decoding patch: not an object".to_owned()));
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { unreachable!("it was just made an object") };
    merge_map(target, patch, schema)
}

fn merge_map(target: &mut Map<String, Value>, patch: &Map<String, Value>, schema: &Schema) -> Result<(), PatchError> {
    match patch.get(PATCH).map(|directive| directive.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => {
            *target = patch.iter().filter(|(name, _)| !name.starts_with('$')).map(own).collect();
            return Ok(());
        }
        Some("delete") => {
            target.clear();
            return Ok(());
        }
        Some(other) => return Err(unknown_directive(other)),
    }
    if let Some(keys) = patch.get(RETAIN_KEYS).and_then(Value::as_array) {
        target.retain(|name, _| keys.iter().any(|key| key == name));
    }
    let lists_before: Vec<(&str, Value)> = patch
        .keys()
        .filter_map(|name| name.strip_prefix(ORDER))
        .map(|list| (list, target.get(list).cloned().unwrap_or_default()))
        .collect();
    for (name, field) in patch {
        if let Some(list) = name.strip_prefix(DELETE) {
            let gone = field.as_array().map_or(&[][..], Vec::as_slice);
            if let Some(Value::Array(values)) = target.get_mut(list) {
                values.retain(|value| !gone.contains(value));
            }
        } else if !name.starts_with('$') {
            merge_field(target, name, field, schema)?;
        }
    }
    for (list, before) in lists_before {
        let order = patch.get(&format!("{ORDER}{list}")).and_then(Value::as_array);
        let key = match schema.field(list) {
            Some(Field::ByKey(key, _)) => Some(key),
            _ => None,
        };
        if let (Some(Value::Array(values)), Some(order)) = (target.get_mut(list), order) {
            let before = before.as_array().map_or(&[][..], Vec::as_slice);
            *values = reorder(std::mem::take(values), before, order, key);
        }
    }
    Ok(())
}

fn own((name, field): (&String, &Value)) -> (String, Value) {
    (name.clone(), field.clone())
}

fn unknown_directive(directive: &str) -> PatchError {
    PatchError::Malformed(format!("unable to find api field in struct: unrecognized $patch value `{directive}`"))
}

fn merge_field(target: &mut Map<String, Value>, name: &str, field: &Value, schema: &Schema) -> Result<(), PatchError> {
    if field.is_null() {
        target.shift_remove(name);
        return Ok(());
    }
    let current = target.entry(name).or_insert(Value::Null);
    match (schema.field(name), field) {
        (_, Value::Object(patch)) => {
            if !current.is_object() {
                *current = Value::Object(Map::new());
            }
            let Value::Object(map) = current else { unreachable!("it was just made an object") };
            if patch.get(PATCH).is_some_and(|directive| directive == "delete") {
                target.shift_remove(name);
                return Ok(());
            }
            merge_map(map, patch, schema.below(name))
        }
        (Some(Field::ByKey(key, item)), Value::Array(patch)) => {
            let values = current.as_array_mut().map(std::mem::take).unwrap_or_default();
            *current = Value::Array(merge_list(values, patch, key, item)?);
            Ok(())
        }
        (Some(Field::Set), Value::Array(patch)) => {
            let mut values = current.as_array_mut().map(std::mem::take).unwrap_or_default();
            values.extend(patch.iter().filter(|value| !values.contains(value)).cloned().collect::<Vec<_>>());
            *current = Value::Array(values);
            Ok(())
        }
        (_, field) => {
            *current = field.clone();
            Ok(())
        }
    }
}

fn merge_list(mut values: Vec<Value>, patch: &[Value], key: &str, item: &Schema) -> Result<Vec<Value>, PatchError> {
    let directive = |element: &Value| element.get(PATCH).and_then(Value::as_str).map(str::to_owned);
    if patch.iter().any(|element| directive(element).as_deref() == Some("replace")) {
        values.clear();
    }
    for element in patch {
        let Value::Object(fields) = element else {
            return Err(PatchError::Malformed("expected a list of maps in the patch".to_owned()));
        };
        let directive = directive(element);
        let Some(identity) = fields.get(key) else {
            match directive.as_deref() {
                Some("replace") => continue,
                _ => {
                    let words = format!("map: {element} does not contain declared merge key: {key}");
                    return Err(PatchError::Malformed(words));
                }
            }
        };
        let position = values.iter().position(|value| value.get(key) == Some(identity));
        match (directive.as_deref(), position) {
            (Some("delete"), _) => values.retain(|value| value.get(key) != Some(identity)),
            (None | Some("merge"), Some(position)) => {
                if let Value::Object(map) = &mut values[position] {
                    merge_map(map, fields, item)?;
                }
            }
            (None | Some("merge" | "replace"), _) => {
                let mut map = Map::new();
                let fields: Map<_, _> = fields.iter().filter(|(name, _)| *name != PATCH).map(own).collect();
                merge_map(&mut map, &fields, item)?;
                values.push(Value::Object(map));
            }
            (Some(other), _) => return Err(unknown_directive(other)),
        }
    }
    Ok(values)
}

/// Puts the elements that `order` names into that order; those it does not name stay before what they were `before`.
fn reorder(values: Vec<Value>, before: &[Value], order: &[Value], key: Option<&str>) -> Vec<Value> {
    let same = |one: &Value, other: &Value| match key {
        Some(key) => one.get(key) == other.get(key),
        None => one == other,
    };
    let place = |list: &[Value], value: &Value| list.iter().position(|other| same(other, value));
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        values.into_iter().partition(|value| place(order, value).is_some());
    named.sort_by_key(|value| place(order, value));
    let mut merged = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for value in named {
        // What is new was before nothing.
        if let Some(position) = place(before, &value) {
            while let Some(other) = others.next_if(|other| place(before, other) < Some(position)) {
                merged.push(other);
            }
        }
        merged.push(value);
    }
    merged.extend(others);
    merged
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;
    use crate::patch::schema::{POD, SERVICE, WORKLOAD};

    fn patched(mut target: Value, patch: Value, schema: &Schema) -> Value {
        strategic_merge_patch(&mut target, &patch, schema).unwrap();
        target
    }

    fn pod(containers: Value) -> Value {
        json!({"spec": {"containers": containers}})
    }

    #[test_case(json!([{"name": "b", "image": "3"}]) => json!([{"name": "a", "image": "1"}, {"name": "b", "image": "3"}]); "merged by name")]
    #[test_case(json!([{"name": "c"}]) => json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c"}]); "added")]
    #[test_case(json!([{"name": "a", "$patch": "delete"}]) => json!([{"name": "b", "image": "2"}]); "deleted")]
    #[test_case(json!([{"$patch": "replace"}, {"name": "z"}]) => json!([{"name": "z"}]); "replaced")]
    #[test_case(json!([{"name": "a", "image": null}]) => json!([{"name": "a"}, {"name": "b", "image": "2"}]); "a field removed")]
    fn containers(patch: Value) -> Value {
        let target = pod(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]));
        patched(target, pod(patch), &POD)["spec"]["containers"].clone()
    }

    #[test]
    fn order_of_elements_is_that_of_the_directive() {
        let target = json!({"spec": {"ports": [{"port": 1}, {"port": 2}, {"port": 3}]}});
        let patch = json!({"spec": {"$setElementOrder/ports": [{"port": 3}, {"port": 4}, {"port": 1}],
            "ports": [{"port": 4}]}});
        assert_eq!(
            patched(target, patch, &SERVICE),
            json!({"spec": {"ports": [{"port": 2}, {"port": 3}, {"port": 4}, {"port": 1}]}})
        );
    }

    #[test]
    fn sets_grow_and_shrink() {
        let target = json!({"metadata": {"finalizers": ["a", "b"]}});
        let patch = json!({"metadata": {"finalizers": ["c", "b"], "$deleteFromPrimitiveList/finalizers": ["a"],
            "$setElementOrder/finalizers": ["c", "b"]}});
        assert_eq!(patched(target, patch, &POD), json!({"metadata": {"finalizers": ["c", "b"]}}));
    }

    #[test]
    fn retained_keys_are_all_that_stays() {
        let target = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
        assert_eq!(patched(target, patch, &WORKLOAD), json!({"spec": {"strategy": {"type": "Recreate"}}}));
    }

    #[test_case(json!({"a": {"$patch": "replace", "y": 2}}) => json!({"a": {"y": 2}}); "replaced")]
    #[test_case(json!({"a": {"$patch": "delete"}}) => json!({}); "deleted")]
    #[test_case(json!({"a": {"x": null, "y": 2}}) => json!({"a": {"y": 2}}); "merged")]
    #[test_case(json!({"a": null}) => json!({}); "removed")]
    #[test_case(json!({"b": {"c": null, "d": {"e": 1}}}) => json!({"a": {"x": 1}, "b": {"d": {"e": 1}}}); "nulls are not stored")]
    fn maps(patch: Value) -> Value {
        patched(json!({"a": {"x": 1}}), patch, &POD)
    }

    #[test]
    fn an_element_without_its_key_is_refused() {
        let error = strategic_merge_patch(&mut pod(json!([])), &pod(json!([{"image": "a"}])), &POD).unwrap_err();
        assert!(error.to_string().ends_with("does not contain declared merge key: name"), "{error}");
    }

    #[test]
    fn other_lists_are_replaced() {
        let patch = json!({"spec": {"tolerations": [{"key": "b"}]}});
        assert_eq!(patched(json!({"spec": {"tolerations": [{"key": "a"}]}}), patch.clone(), &POD), patch);
    }
}
