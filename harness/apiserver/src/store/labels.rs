//! Label selectors: the string form of queries and the object form inside specs.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::json;

/// A label selector's text or object is malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse requirement: {0}")]
pub(crate) struct LabelSelectorError(pub(crate) String);

/// What one label must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Exists(String),
    Missing(String),
}

impl Requirement {
    fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        match self {
            Self::In(key, values) => label(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => label(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => label(key).is_some(),
            Self::Missing(key) => label(key).is_none(),
        }
    }
}

/// Requirements that labels must all meet; without any, everything matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector(Vec<Requirement>);

impl LabelSelector {
    /// Reads the form of the `labelSelector` parameter: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    pub(crate) fn parse(text: &str) -> Result<Self, LabelSelectorError> {
        split(text).into_iter().map(requirement).collect::<Result<_, _>>().map(Self)
    }

    /// Reads a `LabelSelector` object (`matchLabels`, `matchExpressions`).
    pub(crate) fn from_object(selector: &Value) -> Self {
        let mut requirements = Self::from_map(json::map(selector, "/matchLabels")).0;
        for expression in json::list(selector, "/matchExpressions") {
            let key = json::text(expression, "/key").to_owned();
            let values = json::list(expression, "/values");
            let values = values.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            requirements.push(match json::text(expression, "/operator") {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                _ => Requirement::Missing(key),
            });
        }
        Self(requirements)
    }

    /// Reads the plain map of a service's `spec.selector`.
    pub(crate) fn from_map(map: Option<&Map<String, Value>>) -> Self {
        let requirement = |(key, value): (&String, &Value)| {
            let value = value.as_str().unwrap_or_default().to_owned();
            Requirement::In(key.clone(), BTreeSet::from([value]))
        };
        Self(map.into_iter().flatten().map(requirement).collect())
    }

    /// Whether the object with this value has labels that meet every requirement.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = json::map(object, "/metadata/labels");
        self.0.iter().all(|requirement| requirement.matches(labels))
    }

    /// Whether everything matches.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Splits at the commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_usize, 0, Vec::new());
    for (index, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn requirement(part: &str) -> Result<Requirement, LabelSelectorError> {
    let bad = || LabelSelectorError(part.to_owned());
    let one = |value: &str| BTreeSet::from([value.trim().to_owned()]);
    let parsed = if let Some(open) = part.find('(') {
        let values = part[open + 1..].strip_suffix(')').ok_or_else(bad)?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, operator) = part[..open].trim().rsplit_once(char::is_whitespace).ok_or_else(bad)?;
        match operator {
            "in" => Requirement::In(key.trim().to_owned(), values),
            "notin" => Requirement::NotIn(key.trim().to_owned(), values),
            _ => return Err(bad()),
        }
    } else if let Some((key, value)) = part.split_once("!=") {
        Requirement::NotIn(key.trim().to_owned(), one(value))
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        Requirement::In(key.trim().to_owned(), one(value))
    } else if let Some(key) = part.strip_prefix('!') {
        Requirement::Missing(key.trim().to_owned())
    } else {
        Requirement::Exists(part.to_owned())
    };
    let (Requirement::In(key, _) | Requirement::NotIn(key, _) | Requirement::Exists(key) | Requirement::Missing(key)) =
        &parsed;
    match key.is_empty() || key.contains(|letter: char| letter.is_whitespace() || "()!=,".contains(letter)) {
        true => Err(bad()),
        false => Ok(parsed),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use test_case::test_case;

    use super::*;

    #[test_case("" => true; "empty")]
    #[test_case("app=web" => true)]
    #[test_case("app==web,tier!=back" => true)]
    #[test_case("app!=web" => false)]
    #[test_case("other!=web" => true; "absence satisfies inequality")]
    #[test_case("app in (api, web)" => true)]
    #[test_case("app notin (web)" => false)]
    #[test_case("app notin (api),!zone,tier" => true)]
    #[test_case("!app" => false)]
    #[test_case("zone" => false)]
    fn selects(text: &str) -> bool {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "front"}}});
        LabelSelector::parse(text).unwrap().matches(&object)
    }

    #[test_case("a in b")]
    #[test_case("a like (b)")]
    #[test_case("=b")]
    #[test_case("a b")]
    fn refuses(text: &str) {
        assert_eq!(LabelSelector::parse(text), Err(LabelSelectorError(text.to_owned())));
    }

    #[test]
    fn object_form_means_the_same() {
        let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["front"]}, {"key": "zone", "operator": "DoesNotExist"}]});
        let parsed = LabelSelector::parse("app=web,tier in (front),!zone").unwrap();
        assert_eq!(LabelSelector::from_object(&selector), parsed);
    }
}
