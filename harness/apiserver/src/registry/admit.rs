//! From what a client sent to what can be stored: defaults, shape, checks.

use serde_json::Value;

use super::{FieldValidation, WriteOptions};
use crate::error::ApiError;
use crate::json;
use crate::kinds::{Findings, Resource, unknown_fields, validate_metadata};

/// Longest list of unknown fields that one answer names; Kubernetes stops there as well.
const UNKNOWN_FIELDS_MAX: usize = 16;

/// Completes and shapes `value`; returns warnings.
pub(super) fn shape(resource: &Resource, value: &mut Value, options: &WriteOptions) -> Result<Vec<String>, ApiError> {
    (resource.default)(value);
    let about = |problem: String| {
        let (kind, version) = (resource.kind, resource.version);
        ApiError::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {problem}"))
    };
    let decoded = (resource.decode)(value).map_err(|error| about(error.to_string()))?;
    let mut warnings = Vec::new();
    if options.field_validation != FieldValidation::Ignore {
        let unknown = unknown_fields(value, &decoded).into_iter().take(UNKNOWN_FIELDS_MAX);
        warnings = unknown.map(|path| format!("unknown field \"{path}\"")).collect();
    }
    if options.field_validation == FieldValidation::Strict && !warnings.is_empty() {
        return Err(about(format!("strict decoding error: {}", warnings.join(", "))));
    }
    *value = decoded;
    Ok(warnings)
}

/// Checks a complete value, against the object that it replaces if there is one.
pub(super) fn check(resource: &Resource, value: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    let mut findings = Findings::default();
    validate_metadata(resource, value, &mut findings);
    (resource.validate)(value, old, &mut findings);
    match findings == Findings::default() {
        true => Ok(()),
        false => Err(ApiError::invalid(resource, json::text(value, "/metadata/name"), findings)),
    }
}

/// Makes sure that the body is of the kind that the path names.
pub(super) fn check_type(resource: &Resource, body: &mut Value) -> Result<(), ApiError> {
    if !body.is_object() {
        return Err(ApiError::bad_request("the object provided is unrecognized: it is not a JSON object"));
    }
    let (given, expected) = (json::text(body, "/apiVersion"), resource.api_version());
    if !given.is_empty() && given != expected {
        let words =
            format!("the API version in the data ({given}) does not match the expected API version ({expected})");
        return Err(ApiError::bad_request(words));
    }
    let given = json::text(body, "/kind");
    if !given.is_empty() && given != resource.kind {
        let words = format!("the kind in the data ({given}) does not match the expected kind ({})", resource.kind);
        return Err(ApiError::bad_request(words));
    }
    body["apiVersion"] = Value::from(expected);
    body["kind"] = Value::from(resource.kind);
    Ok(())
}
