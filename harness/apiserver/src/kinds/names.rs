//! Names, labels and annotations: which ones Kubernetes lets in.

use serde_json::Value;

use super::{Findings, NameRule, Resource};
use crate::json;

/// Longest DNS subdomain.
const SUBDOMAIN_MAX: usize = 253;
/// Longest DNS label, and longest label value.
const LABEL_MAX: usize = 63;
/// Largest sum of keys and values of annotations, as Kubernetes limits it.
const ANNOTATIONS_MAX: usize = 256 * 1024;

const SUBDOMAIN_WORDS: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_WORDS: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035_WORDS: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const VALUE_WORDS: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const KEY_WORDS: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// Checks name, labels and annotations.
pub(crate) fn validate_metadata(resource: &Resource, object: &Value, findings: &mut Findings) {
    let name = json::text(object, "/metadata/name");
    if name.is_empty() {
        findings.required("metadata.name", "name or generateName is required");
    } else if let Some(problem) = name_problem(resource.name_rule, name) {
        findings.invalid("metadata.name", &Value::from(name), problem);
    }
    validate_labels(json::map(object, "/metadata/labels"), "metadata.labels", findings);
    let mut size = 0;
    for (key, value) in json::map(object, "/metadata/annotations").into_iter().flatten() {
        if !is_qualified_name(key) {
            findings.invalid("metadata.annotations", &Value::from(key.as_str()), KEY_WORDS);
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_MAX {
        let words = format!("may not be more than {ANNOTATIONS_MAX} bytes");
        findings.invalid("metadata.annotations", &Value::from(size), &words);
    }
}

/// Checks keys and values of labels.
pub(super) fn validate_labels(labels: Option<&serde_json::Map<String, Value>>, field: &str, findings: &mut Findings) {
    for (key, value) in labels.into_iter().flatten() {
        if !is_qualified_name(key) {
            findings.invalid(field, &Value::from(key.as_str()), KEY_WORDS);
        }
        if !value.as_str().is_some_and(|value| value.is_empty() || is_label_value(value)) {
            findings.invalid(field, value, VALUE_WORDS);
        }
    }
}

/// What is wrong with a name, in Kubernetes' words.
pub(super) fn name_problem(rule: NameRule, name: &str) -> Option<&'static str> {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let ends = label.bytes().next().is_some_and(inner) && label.bytes().last().is_some_and(inner);
        ends && label.bytes().all(|byte| inner(byte) || byte == b'-')
    };
    match rule {
        NameRule::Subdomain if name.len() > SUBDOMAIN_MAX => Some("must be no more than 253 characters"),
        NameRule::Label | NameRule::Label1035 if name.len() > LABEL_MAX => Some("must be no more than 63 characters"),
        NameRule::Subdomain => (!name.split('.').all(label)).then_some(SUBDOMAIN_WORDS),
        NameRule::Label => (!label(name)).then_some(LABEL_WORDS),
        NameRule::Label1035 => {
            let alphabetic = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
            (!(label(name) && alphabetic)).then_some(LABEL_1035_WORDS)
        }
    }
}

fn is_qualified_name(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => {
            name_problem(NameRule::Subdomain, &prefix.to_lowercase()).is_none() && is_label_value(name)
        }
        None => is_label_value(key),
    }
}

fn is_label_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    bytes.len() <= LABEL_MAX
        && first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case(NameRule::Subdomain, "rebel-base.v1" => true)]
    #[test_case(NameRule::Subdomain, "Rebel" => false)]
    #[test_case(NameRule::Subdomain, "a..b" => false)]
    #[test_case(NameRule::Subdomain, "-a" => false)]
    #[test_case(NameRule::Label, "a.b" => false)]
    #[test_case(NameRule::Label, "1a" => true)]
    #[test_case(NameRule::Label1035, "1a" => false)]
    #[test_case(NameRule::Label1035, "a1-b" => true)]
    fn names(rule: NameRule, name: &str) -> bool {
        name_problem(rule, name).is_none()
    }

    #[test_case("service.cilium.io/global" => true)]
    #[test_case("io.cilium/global-service" => true)]
    #[test_case("/name" => false)]
    #[test_case("a b" => false)]
    fn qualified_names(key: &str) -> bool {
        is_qualified_name(key)
    }
}
