//! What is wrong with an object: all of it at once, in the words of Kubernetes' field errors.

use serde_json::Value;

/// What sort of thing is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FindingKind {
    /// It must be there.
    Required,
    /// Its value cannot be.
    Invalid,
    /// Its value is not one of a list.
    NotSupported,
    /// It must not be there, or must not change.
    Forbidden,
    /// It repeats another.
    Duplicate,
}

impl FindingKind {
    /// The `reason` of the cause in a status object.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What sort.
    pub(crate) kind: FindingKind,
    /// Path of the field.
    pub(crate) field: String,
    /// What is wrong, with the value where that helps.
    pub(crate) message: String,
}

/// Everything that is wrong with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    /// A field is missing.
    pub(crate) fn required(&mut self, field: impl Into<String>, detail: &str) {
        self.push(FindingKind::Required, field, None, detail);
    }

    /// A field's value cannot be.
    pub(crate) fn invalid(&mut self, field: impl Into<String>, value: &Value, detail: &str) {
        self.push(FindingKind::Invalid, field, Some(value), detail);
    }

    /// A field's value is not one of those supported.
    pub(crate) fn one_of(&mut self, field: impl Into<String>, value: &str, supported: &[&str]) {
        if !supported.contains(&value) {
            let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
            let detail = format!("supported values: {}", supported.join(", "));
            self.push(FindingKind::NotSupported, field, Some(&Value::from(value)), &detail);
        }
    }

    /// A field must not be there or must not change.
    pub(crate) fn forbidden(&mut self, field: impl Into<String>, detail: &str) {
        self.push(FindingKind::Forbidden, field, None, detail);
    }

    /// A field repeats another.
    pub(crate) fn duplicate(&mut self, field: impl Into<String>, value: &Value) {
        self.push(FindingKind::Duplicate, field, Some(value), "");
    }

    /// A field must stay what it was.
    pub(crate) fn immutable(&mut self, field: &str, old: Option<&Value>, new: Option<&Value>) {
        if old != new {
            self.invalid(field, new.unwrap_or(&Value::Null), "field is immutable");
        }
    }

    /// All of them, in the order of finding.
    pub(crate) fn into_vec(self) -> Vec<Finding> {
        self.0
    }

    fn push(&mut self, kind: FindingKind, field: impl Into<String>, value: Option<&Value>, detail: &str) {
        let mut message = kind.words().to_owned();
        if let Some(value) = value {
            message.push_str(&format!(": {value}"));
        }
        if !detail.is_empty() {
            message.push_str(": ");
            message.push_str(detail);
        }
        self.0.push(Finding { kind, field: field.into(), message });
    }
}
