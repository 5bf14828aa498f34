//! JSON merge patch (RFC 7396).

use serde_json::{Map, Value};

/// Applies `patch` to `target`: maps are merged, null removes, everything else replaces.
pub(crate) fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { unreachable!("it was just made an object") };
    for (name, field) in patch {
        match field {
            Value::Null => drop(target.shift_remove(name)),
            field => merge_patch(target.entry(name).or_insert(Value::Null), field),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;

    // The examples of RFC 7396, appendix A.
    #[test_case(json!({"a": "b"}), json!({"a": "c"}) => json!({"a": "c"}))]
    #[test_case(json!({"a": "b", "b": "c"}), json!({"a": null}) => json!({"b": "c"}))]
    #[test_case(json!({"a": [{"b": "c"}]}), json!({"a": [1]}) => json!({"a": [1]}))]
    #[test_case(json!(["a", "b"]), json!(["c", "d"]) => json!(["c", "d"]))]
    #[test_case(json!({"e": null}), json!({"a": 1}) => json!({"e": null, "a": 1}))]
    #[test_case(json!([1, 2]), json!({"a": "b", "c": null}) => json!({"a": "b"}))]
    #[test_case(json!({}), json!({"a": {"bb": {"ccc": null}}}) => json!({"a": {"bb": {}}}))]
    fn merges(mut target: Value, patch: Value) -> Value {
        merge_patch(&mut target, &patch);
        target
    }
}
