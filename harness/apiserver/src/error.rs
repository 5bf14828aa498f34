//! What goes wrong with a request, as the `Status` object that Kubernetes answers with.

use serde_json::{Value, json};

use crate::admin::RefusedStatus;
use crate::kinds::{Findings, Resource};
use crate::patch::PatchError;
use crate::store::{FieldSelectorError, HistoryLost, LabelSelectorError};

/// A request that is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ApiError {
    /// HTTP status.
    pub(crate) code: u16,
    reason: &'static str,
    message: String,
    details: Option<Value>,
}

impl ApiError {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    fn about(mut self, resource: &Resource, kind: &str, name: &str) -> Self {
        self.details = Some(json!({"name": name, "group": resource.group, "kind": kind}));
        self
    }

    /// There is no such object.
    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(404, "NotFound", message).about(resource, resource.plural, name)
    }

    /// There is no such path.
    pub(crate) fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// The name is taken.
    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).about(resource, resource.plural, name)
    }

    /// The object is no longer what the client thinks.
    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::new(409, "Conflict", message).about(resource, resource.plural, name)
    }

    /// The object was changed since the client read it.
    pub(crate) fn stale(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// The object is wrong in itself.
    pub(crate) fn invalid(resource: &Resource, name: &str, findings: Findings) -> Self {
        let findings = findings.into_vec();
        let texts: Vec<String> =
            findings.iter().map(|finding| format!("{}: {}", finding.field, finding.message)).collect();
        let all = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let causes: Vec<Value> = findings
            .iter()
            .map(|finding| json!({"reason": finding.kind.reason(), "message": finding.message, "field": finding.field}))
            .collect();
        let message = format!("{} \"{name}\" is invalid: {all}", resource.qualified_kind());
        let mut error = Self::new(422, "Invalid", message).about(resource, resource.kind, name);
        if let Some(details) = &mut error.details {
            details["causes"] = Value::Array(causes);
        }
        error
    }

    /// The request makes no sense.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// Nobody said who is asking.
    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// The request is understood and not allowed.
    pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {why}", resource.qualified());
        Self::new(403, "Forbidden", message).about(resource, resource.plural, name)
    }

    /// The resource cannot be used in that way.
    pub(crate) fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    }

    /// A body of a sort that is not read.
    pub(crate) fn unsupported_media_type(problem: &str) -> Self {
        let words = "the body of the request was in an unknown format - accepted media types include:";
        let types = "application/json, application/yaml, application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";
        Self::new(415, "UnsupportedMediaType", format!("{words} {types} ({problem})"))
    }

    /// The body is larger than the limit.
    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// The revision asked for is not known any more, or not yet: the client must list again.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// The server does not serve, on order.
    pub(crate) fn refused(status: RefusedStatus, retry_after_seconds: Option<u32>) -> Self {
        let (reason, message) = match status {
            RefusedStatus::TooManyRequests => ("TooManyRequests", "too many requests, please try again later"),
            RefusedStatus::InternalError => ("InternalError", "Internal error occurred: ordered to fail"),
            RefusedStatus::ServiceUnavailable => {
                ("ServiceUnavailable", "the server is currently unable to handle the request")
            }
        };
        let details = retry_after_seconds.map(|seconds| json!({"retryAfterSeconds": seconds}));
        Self { details, ..Self::new(u16::from(status), reason, message) }
    }

    /// A pod may not be evicted, because a disruption budget is used up.
    pub(crate) fn disruption_budget(cause: &str) -> Self {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        let causes = json!([{"reason": "DisruptionBudget", "message": cause}]);
        Self { details: Some(json!({"causes": causes})), ..Self::new(429, "TooManyRequests", message) }
    }

    /// The server cannot do it, through no fault of the client's.
    pub(crate) fn internal(message: &str) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
    }

    /// Nothing is left of what is handed out.
    pub(crate) fn exhausted(what: &str) -> Self {
        Self::internal(&format!("failed to allocate {what}: range is full"))
    }

    /// The `Status` object.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "details": self.details, "code": self.code,
        });
        if self.details.is_none()
            && let Value::Object(map) = &mut status
        {
            map.shift_remove("details");
        }
        status
    }
}

impl From<HistoryLost> for ApiError {
    fn from(lost: HistoryLost) -> Self {
        Self::expired(lost.to_string())
    }
}

impl From<LabelSelectorError> for ApiError {
    fn from(error: LabelSelectorError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<FieldSelectorError> for ApiError {
    fn from(error: FieldSelectorError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<PatchError> for ApiError {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::Malformed(message) => Self::bad_request(message),
            PatchError::Unfit(message) => Self::new(422, "Invalid", message),
        }
    }
}
