//! Typed decoding: mistyped fields are refused, unknown ones dropped, exactly as a typed API server does.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A value does not have the shape of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub(crate) struct DecodeError {
    path: String,
    problem: String,
}

/// Brings `value` into the shape of `T` and back.
pub(super) fn decode<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, DecodeError> {
    let typed: T = serde_path_to_error::deserialize(value)
        .map_err(|error| DecodeError { path: error.path().to_string(), problem: error.inner().to_string() })?;
    serde_json::to_value(typed).map_err(|error| DecodeError { path: ".".to_owned(), problem: error.to_string() })
}

/// The paths of fields in `given` that decoding dropped.
pub(crate) fn unknown_fields(given: &Value, decoded: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    collect(given, decoded, &mut String::new(), &mut paths);
    paths
}

fn collect(given: &Value, decoded: &Value, path: &mut String, paths: &mut Vec<String>) {
    let length = path.len();
    match (given, decoded) {
        (Value::Object(given), Value::Object(decoded)) => {
            for (name, field) in given {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
                match decoded.get(name) {
                    Some(decoded) => collect(field, decoded, path, paths),
                    // A null field is as good as a missing one.
                    None if field.is_null() => {}
                    None => paths.push(path.clone()),
                }
                path.truncate(length);
            }
        }
        (Value::Array(given), Value::Array(decoded)) => {
            for (index, (given, decoded)) in given.iter().zip(decoded).enumerate() {
                path.push_str(&format!("[{index}]"));
                collect(given, decoded, path, paths);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_are_named_by_path() {
        let given = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "creationTimestamp": null},
            "spec": {"replica": 2, "selector": {}, "template": {"spec": {"containers": [{"name": "a", "imag": "b"}]}}}});
        let decoded = decode::<Deployment>(&given).unwrap();
        assert_eq!(unknown_fields(&given, &decoded), ["spec.replica", "spec.template.spec.containers[0].imag"]);
    }

    #[test]
    fn mistyped_fields_are_refused_by_path() {
        let given = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {}, "spec": {"replicas": "2"}});
        assert!(decode::<Deployment>(&given).unwrap_err().to_string().starts_with("spec.replicas: invalid type"));
    }
}
