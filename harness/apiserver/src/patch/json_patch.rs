//! JSON patch (RFC 6902).

use serde_json::Value;

use super::PatchError;

/// Most operations of one patch; what kube-apiserver allows.
const OPERATIONS_MAX: usize = 10_000;

/// Applies the operations of `patch` to `target`, all or none.
pub(crate) fn json_patch(target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let malformed = |what: &str| PatchError::Malformed(format!("error decoding patch: {what}"));
    let operations = patch.as_array().ok_or_else(|| malformed("not a list of operations"))?;
    if operations.len() > OPERATIONS_MAX {
        return Err(malformed("more than 10000 operations"));
    }
    let mut changed = target.clone();
    for operation in operations {
        let text = |name: &str| operation.get(name).and_then(Value::as_str);
        let path = text("path").ok_or_else(|| malformed("an operation without a path"))?;
        let value = || operation.get("value").cloned().ok_or_else(|| malformed("an operation without a value"));
        let from = || text("from").ok_or_else(|| malformed("an operation without a source"));
        match text("op").unwrap_or_default() {
            "add" => add(&mut changed, path, value()?)?,
            "remove" => drop(remove(&mut changed, path)?),
            "replace" => *changed.pointer_mut(path).ok_or_else(|| missing("replace", path))? = value()?,
            "move" => {
                let moved = remove(&mut changed, from()?)?;
                add(&mut changed, path, moved)?;
            }
            "copy" => {
                let from = from()?;
                let copied = changed.pointer(from).cloned().ok_or_else(|| missing("copy", from))?;
                add(&mut changed, path, copied)?;
            }
            "test" => {
                let expected = value()?;
                if changed.pointer(path).unwrap_or(&Value::Null) != &expected {
                    return Err(PatchError::Unfit(format!("testing value {path} failed")));
                }
            }
            other => return Err(malformed(&format!("unknown operation `{other}`"))),
        }
    }
    *target = changed;
    Ok(())
}

fn missing(operation: &str, path: &str) -> PatchError {
    PatchError::Unfit(format!("{operation} operation does not apply: doc is missing path: {path}"))
}

/// Splits a pointer into the container's pointer and the unescaped last token.
fn split(path: &str) -> Option<(&str, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    let (parent, last) = split(path).ok_or_else(|| missing("add", path))?;
    match target.pointer_mut(parent) {
        Some(Value::Object(map)) => drop(map.insert(last, value)),
        Some(Value::Array(list)) if last == "-" => list.push(value),
        Some(Value::Array(list)) => match last.parse::<usize>() {
            Ok(index) if index <= list.len() => list.insert(index, value),
            _ => return Err(missing("add", path)),
        },
        _ => return Err(missing("add", path)),
    }
    Ok(())
}

fn remove(target: &mut Value, path: &str) -> Result<Value, PatchError> {
    let gone = || missing("remove", path);
    let (parent, last) = split(path).ok_or_else(gone)?;
    match target.pointer_mut(parent) {
        Some(Value::Object(map)) => map.shift_remove(&last).ok_or_else(gone),
        Some(Value::Array(list)) => match last.parse::<usize>() {
            Ok(index) if index < list.len() => Ok(list.remove(index)),
            _ => Err(gone()),
        },
        _ => Err(gone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;

    #[test_case(json!([{"op": "add", "path": "/a/b", "value": 1}]) => Ok(json!({"a": {"b": 1}, "l": [1, 2]})))]
    #[test_case(json!([{"op": "add", "path": "/l/1", "value": 9}]) => Ok(json!({"a": {}, "l": [1, 9, 2]})))]
    #[test_case(json!([{"op": "add", "path": "/l/-", "value": 9}]) => Ok(json!({"a": {}, "l": [1, 2, 9]})))]
    #[test_case(json!([{"op": "remove", "path": "/l/0"}]) => Ok(json!({"a": {}, "l": [2]})))]
    #[test_case(json!([{"op": "move", "from": "/l", "path": "/a/k~1v"}]) => Ok(json!({"a": {"k/v": [1, 2]}})))]
    #[test_case(json!([{"op": "copy", "from": "/l/1", "path": "/c"}]) => Ok(json!({"a": {}, "l": [1, 2], "c": 2})))]
    #[test_case(json!([{"op": "test", "path": "/l/0", "value": 1}, {"op": "replace", "path": "/l", "value": 0}]) => Ok(json!({"a": {}, "l": 0})))]
    #[test_case(json!([{"op": "test", "path": "/l/0", "value": 2}]) => Err(PatchError::Unfit("testing value /l/0 failed".into())))]
    #[test_case(json!([{"op": "remove", "path": "/x"}]) => Err(missing("remove", "/x")))]
    fn patches(patch: Value) -> Result<Value, PatchError> {
        let mut target = json!({"a": {}, "l": [1, 2]});
        json_patch(&mut target, &patch).map(|()| target)
    }

    #[test]
    fn a_failing_operation_undoes_those_before_it() {
        let mut target = json!({"a": 1});
        let patch = json!([{"op": "remove", "path": "/a"}, {"op": "remove", "path": "/a"}]);
        assert!(json_patch(&mut target, &patch).is_err());
        assert_eq!(target, json!({"a": 1}));
    }
}
