//! Label selectors in their text form, as in `kubectl get --selector`.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

/// Requirements that must all be met; with none, everything fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Requirement>);

/// What one label must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    label: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    Exists,
    DoesNotExist,
    /// Also `=` and `==`.
    In(BTreeSet<String>),
    /// Also `!=`. An absent label fits.
    NotIn(BTreeSet<String>),
    GreaterThan(i64),
    LessThan(i64),
}

/// Why a text is no label selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("label selector `{selector}`: {problem}")]
pub(crate) struct SelectorError {
    selector: String,
    problem: String,
}

impl Selector {
    /// Whether labels meet all requirements.
    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels.get(&requirement.label).map(String::as_str)))
    }
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.operator {
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::GreaterThan(limit) => number().is_some_and(|number| number > *limit),
            Operator::LessThan(limit) => number().is_some_and(|number| number < *limit),
        }
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() {
            return Ok(Self(Vec::new()));
        }
        let requirements: Result<Vec<_>, _> = split(text).into_iter().map(requirement).collect();
        requirements.map(Self).map_err(|problem| SelectorError { selector: text.to_owned(), problem })
    }
}

/// The parts between those commas that are not in brackets.
fn split(text: &str) -> Vec<&str> {
    let mut inside = false;
    text.split(|character| {
        match character {
            '(' => inside = true,
            ')' => inside = false,
            _ => {}
        }
        character == ',' && !inside
    })
    .collect()
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let text = text.trim();
    if let Some(label) = text.strip_prefix('!') {
        return Ok(Requirement { label: name(label)?, operator: Operator::DoesNotExist });
    }
    // Longer operators first: `!=` and `==` contain `=`.
    for symbol in ["!=", "==", "=", ">", "<"] {
        if let Some((label, value)) = text.split_once(symbol) {
            return Ok(Requirement { label: name(label)?, operator: comparison(symbol, value.trim())? });
        }
    }
    match text.split_once(char::is_whitespace) {
        None => Ok(Requirement { label: name(text)?, operator: Operator::Exists }),
        Some((label, rest)) => Ok(Requirement { label: name(label)?, operator: set(rest.trim())? }),
    }
}

fn comparison(symbol: &str, value: &str) -> Result<Operator, String> {
    let number = || value.parse().map_err(|_| format!("`{value}` after `{symbol}` is no number"));
    match symbol {
        ">" => number().map(Operator::GreaterThan),
        "<" => number().map(Operator::LessThan),
        "!=" => Ok(Operator::NotIn([word(value)?].into())),
        _ => Ok(Operator::In([word(value)?].into())),
    }
}

fn set(text: &str) -> Result<Operator, String> {
    let (operator, values) = text.split_at(text.find(|c: char| c.is_whitespace() || c == '(').unwrap_or(text.len()));
    let values = || {
        let values = values.trim().strip_prefix('(').and_then(|values| values.strip_suffix(')'));
        let values = values.ok_or_else(|| format!("expected values in brackets after `{operator}`"))?;
        values.split(',').map(str::trim).map(word).collect::<Result<BTreeSet<_>, _>>()
    };
    match operator {
        "in" => values().map(Operator::In),
        "notin" => values().map(Operator::NotIn),
        _ => Err(format!("unknown operator `{operator}`, expected `in` or `notin`")),
    }
}

fn name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("the name of a label is empty".to_owned()),
        name => word(name),
    }
}

/// A name or a value: the characters that Kubernetes allows in them. Values may be empty.
fn word(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    match text.chars().find(|&c| !allowed(c)) {
        None => Ok(text.to_owned()),
        Some(found) => Err(format!("`{found}` in `{text}` is not allowed")),
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("" => Ok(true) ; "empty fits everything")]
    #[test_case("disk" => Ok(true) ; "exists")]
    #[test_case("gpu" => Ok(false) ; "does not exist")]
    #[test_case("!gpu" => Ok(true) ; "must not exist")]
    #[test_case("! disk" => Ok(false) ; "exists but must not")]
    #[test_case("disk=ssd" => Ok(true) ; "equal")]
    #[test_case("disk == ssd" => Ok(true) ; "equal with two signs")]
    #[test_case("disk=hdd" => Ok(false) ; "not equal")]
    #[test_case("disk!=hdd" => Ok(true) ; "unequal")]
    #[test_case("gpu!=hdd" => Ok(true) ; "an absent label is unequal")]
    #[test_case("empty=" => Ok(true) ; "equal to the empty text")]
    #[test_case("disk in (hdd, ssd)" => Ok(true) ; "one of")]
    #[test_case("disk in(hdd)" => Ok(false) ; "none of")]
    #[test_case("disk notin (hdd),cores>4,cores<16" => Ok(true) ; "all of several")]
    #[test_case("disk notin (hdd,ssd),cores>4" => Ok(false) ; "all but one of several")]
    #[test_case("disk>4" => Ok(false) ; "no number to compare")]
    #[test_case("topology.kubernetes.io/zone=a" => Ok(true) ; "prefixed name")]
    #[test_case("disk within (a)" => Err("unknown operator `within`, expected `in` or `notin`".to_owned()) ; "unknown operator")]
    #[test_case("disk=a b" => Err("` ` in `a b` is not allowed".to_owned()) ; "blank in a value")]
    #[test_case("disk,," => Err("the name of a label is empty".to_owned()) ; "empty requirement")]
    #[test_case("cores>many" => Err("`many` after `>` is no number".to_owned()) ; "text as a number")]
    fn selectors(text: &str) -> Result<bool, String> {
        let labels = [("disk", "ssd"), ("cores", "8"), ("empty", ""), ("topology.kubernetes.io/zone", "a")];
        let labels = labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        text.parse::<Selector>().map(|selector| selector.matches(&labels)).map_err(|error| error.problem)
    }
}
