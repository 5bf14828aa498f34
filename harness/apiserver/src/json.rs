//! Short ways to read and complete JSON objects of the Kubernetes API.
//!
//! Missing and mistyped fields read as empty: the typed decoding in [`crate::kinds`] has already refused mistyped
//! ones by the time that anything but defaulting looks at a value.

use serde_json::{Map, Value};

/// The value at a JSON pointer whose tokens need no unescaping and name no list elements.
///
/// [`Value::pointer`] makes two strings for each token; this makes none, and controllers ask for many fields.
pub(crate) fn get<'v>(value: &'v Value, pointer: &str) -> Option<&'v Value> {
    let path = pointer.strip_prefix('/').unwrap_or(pointer);
    path.split('/').try_fold(value, |value, token| value.as_object()?.get(token))
}

/// The string at a JSON pointer, or `""`.
pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    get(value, pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The integer at a JSON pointer, or 0.
pub(crate) fn number(value: &Value, pointer: &str) -> i64 {
    get(value, pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// The boolean at a JSON pointer, or `false`.
pub(crate) fn flag(value: &Value, pointer: &str) -> bool {
    get(value, pointer).and_then(Value::as_bool).unwrap_or_default()
}

/// The list at a JSON pointer, or an empty one.
pub(crate) fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    get(value, pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The map at a JSON pointer, if there is a non-empty one.
pub(crate) fn map<'v>(value: &'v Value, pointer: &str) -> Option<&'v Map<String, Value>> {
    get(value, pointer).and_then(Value::as_object).filter(|map| !map.is_empty())
}

/// The field `name` as a map, made when it is missing or null.
pub(crate) fn child<'v>(value: &'v mut Value, name: &str) -> &'v mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Value::Object(map) = value else { unreachable!("it was just made an object") };
    let field = map.entry(name).or_insert(Value::Null);
    if field.is_null() {
        *field = Value::Object(Map::new());
    }
    field
}

/// Sets the field `name` unless it has a value; null and `""` are none.
pub(crate) fn default(value: &mut Value, name: &str, otherwise: impl Into<Value>) {
    if let Value::Object(map) = value {
        let field = map.entry(name).or_insert(Value::Null);
        if field.is_null() || field == "" {
            *field = otherwise.into();
        }
    }
}

/// The elements of list field `name`, to be changed in place.
pub(crate) fn each<'v>(value: &'v mut Value, name: &str) -> impl Iterator<Item = &'v mut Value> {
    value.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Sets field `name`, or removes it when there is nothing to set.
pub(crate) fn assign(value: &mut Value, name: &str, field: Option<Value>) {
    if let Value::Object(map) = value {
        match field {
            Some(field) => drop(map.insert(name.to_owned(), field)),
            None => drop(map.shift_remove(name)),
        }
    }
}

/// The field `name` as it is, made null when it is missing.
pub(crate) fn child_or_null<'v>(value: &'v mut Value, name: &str) -> &'v mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Value::Object(map) = value else { unreachable!("it was just made an object") };
    map.entry(name).or_insert(Value::Null)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_fields() {
        let value = json!({"a": {"b": "c", "n": 3, "l": [1]}});
        assert_eq!(text(&value, "/a/b"), "c");
        assert_eq!(number(&value, "/a/n"), 3);
        assert_eq!(list(&value, "/a/l").len(), 1);
        assert_eq!(get(&value, "/a/b/c"), None);
        assert_eq!(get(&value, "/x"), None);
    }
}
