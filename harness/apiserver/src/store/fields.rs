//! Field selectors: `metadata.name=x,status.phase!=Failed`.

use crate::json;
use crate::kinds::Kind;

use super::Object;

/// A field selector is malformed or names a field that the kind cannot be selected by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FieldSelectorError {
    /// No operator.
    #[error("invalid selector: '{0}'; can't understand '{0}'")]
    Malformed(String),
    /// Selecting by this field is not offered.
    #[error("field label not supported: {0}")]
    Unsupported(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    pointer: String,
    value: String,
    equal: bool,
}

/// Requirements that fields must all meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector(Vec<Requirement>);

impl FieldSelector {
    /// Reads the form of the `fieldSelector` parameter.
    pub(crate) fn parse(kind: Kind, text: &str) -> Result<Self, FieldSelectorError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| requirement(kind, part)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the object's fields meet every requirement; a missing field is `""`.
    pub(crate) fn matches(&self, object: &Object) -> bool {
        self.0
            .iter()
            .all(|Requirement { pointer, value, equal }| (json::text(object.value(), pointer) == value) == *equal)
    }

    /// Whether everything matches.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn requirement(kind: Kind, part: &str) -> Result<Requirement, FieldSelectorError> {
    let (field, value, equal) = if let Some((field, value)) = part.split_once("!=") {
        (field, value, false)
    } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (field, value, true)
    } else {
        return Err(FieldSelectorError::Malformed(part.to_owned()));
    };
    let field = field.trim();
    let common = matches!(field, "metadata.name" | "metadata.namespace");
    if !common && !kind.resource().field_labels.contains(&field) {
        return Err(FieldSelectorError::Unsupported(field.to_owned()));
    }
    // Events name their reporter `source` in selectors and `source.component` in the object.
    let path = if field == "source" { "source.component" } else { field };
    let pointer = format!("/{}", path.replace('.', "/"));
    Ok(Requirement { pointer, value: value.trim().to_owned(), equal })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;

    #[test_case("spec.nodeName=alpha-1" => true)]
    #[test_case("spec.nodeName=alpha-2" => false)]
    #[test_case("status.phase!=Failed,metadata.name==web" => true)]
    #[test_case("status.podIP=" => true; "a missing field is empty")]
    fn selects(text: &str) -> bool {
        let pod = json!({"metadata": {"name": "web"}, "spec": {"nodeName": "alpha-1"}, "status": {"phase": "Running"}});
        FieldSelector::parse(Kind::Pod, text).unwrap().matches(&Object::new(pod))
    }

    #[test]
    fn refuses_fields_that_kubernetes_refuses() {
        let error = FieldSelector::parse(Kind::Service, "spec.nodeName=a").unwrap_err();
        assert_eq!(error.to_string(), "field label not supported: spec.nodeName");
    }
}
