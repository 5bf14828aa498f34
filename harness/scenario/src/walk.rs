//! Reading a tree by a schema while collecting what is wrong with it.
//!
//! Every method reports by itself and returns `None` when there is no usable value, so that a reader goes on with the
//! rest and the person at the terminal gets all findings of a file at once.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Finding, Position, suggest,
    yaml::{self, Node, SyntaxError, Value},
};

/// Longest duration anywhere in a file: nothing in a run may wait longer than this.
const DURATION_MAX: Duration = Duration::from_secs(3600);
/// Longest name of anything that becomes part of a file name or a Kubernetes object: a DNS label.
const NAME_LENGTH_MAX: usize = 63;

/// What is wrong with one file.
#[derive(Debug)]
pub(crate) struct Findings {
    file: PathBuf,
    list: Vec<Finding>,
}

impl Findings {
    pub(crate) fn new(file: &Path) -> Self {
        Self { file: file.to_path_buf(), list: Vec::new() }
    }

    /// Reports something about the value at `at`.
    pub(crate) fn report(&mut self, at: &Cursor<'_>, message: impl Into<String>, hint: Option<String>) {
        self.report_at(at.position(), &at.path, message, hint);
    }

    pub(crate) fn report_at(
        &mut self,
        position: Position,
        path: &str,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.list.push(Finding {
            file: self.file.clone(),
            line: position.line,
            column: position.column,
            path: path.to_owned(),
            message: message.into(),
            hint,
        });
    }

    /// The tree of `text`, or a finding.
    pub(crate) fn tree(&mut self, text: &str) -> Option<Node> {
        match yaml::parse(text) {
            Ok(tree) => Some(tree),
            Err(SyntaxError { position, message }) => {
                self.report_at(position, "", message, None);
                None
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn add(&mut self, findings: Vec<Finding>) {
        self.list.extend(findings);
    }

    pub(crate) fn into_list(self) -> Vec<Finding> {
        self.list
    }
}

/// A node and its path from the root of the document.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    node: &'a Node,
    pub(crate) path: String,
}

impl<'a> Cursor<'a> {
    pub(crate) fn root(node: &'a Node) -> Self {
        Self { node, path: String::new() }
    }

    pub(crate) fn position(&self) -> Position {
        self.node.position
    }

    /// A mapping with no other keys than `known`, each at most once.
    pub(crate) fn fields(&self, findings: &mut Findings, known: &[&str]) -> Option<Fields<'a>> {
        let entries = self.entries(findings)?;
        for (key, (position, value)) in &entries {
            if !known.contains(&key.as_str()) {
                let hint = suggest::hint(key, known.iter().copied(), "keys");
                findings.report_at(*position, &value.path, format!("unknown key `{key}`"), Some(hint));
            }
        }
        let values = entries.into_iter().map(|(key, (_, value))| (key, value)).collect();
        Some(Fields { position: self.position(), path: self.path.clone(), values })
    }

    /// A mapping with any keys, each at most once.
    pub(crate) fn entries(&self, findings: &mut Findings) -> Option<BTreeMap<String, (Position, Cursor<'a>)>> {
        let Value::Map(entries) = &self.node.value else {
            findings.report(self, format!("expected a mapping, found {}", self.kind()), None);
            return None;
        };
        let mut found = BTreeMap::new();
        for entry in entries {
            let value = Cursor { node: &entry.value, path: self.child(&entry.key) };
            if found.contains_key(&entry.key) {
                let message = format!("key `{}` is here twice", entry.key);
                findings.report_at(entry.key_position, &value.path, message, None);
            } else {
                found.insert(entry.key.clone(), (entry.key_position, value));
            }
        }
        Some(found)
    }

    /// A mapping with exactly one key, which is one of `known`; `what` is its plural.
    pub(crate) fn variant(&self, findings: &mut Findings, known: &[&str], what: &str) -> Option<(String, Cursor<'a>)> {
        let mut entries = self.entries(findings)?.into_iter();
        let (Some((key, (position, value))), None) = (entries.next(), entries.next()) else {
            let all: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
            findings.report(self, format!("expected exactly one of {}", all.join(", ")), None);
            return None;
        };
        if !known.contains(&key.as_str()) {
            let hint = suggest::hint(&key, known.iter().copied(), what);
            findings.report_at(position, &value.path, format!("unknown key `{key}`"), Some(hint));
            return None;
        }
        Some((key, value))
    }

    /// The items of a list.
    pub(crate) fn items(&self, findings: &mut Findings) -> Option<Vec<Cursor<'a>>> {
        let Value::List(items) = &self.node.value else {
            findings.report(self, format!("expected a list, found {}", self.kind()), None);
            return None;
        };
        let item = |(index, node)| Cursor { node, path: format!("{}[{index}]", self.path) };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// Text that is not empty. A plain scalar that YAML takes for a number, a boolean or null is none.
    pub(crate) fn text(&self, findings: &mut Findings) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, quoted } if *quoted || scalar_kind(text) == "text" => {
                if text.trim().is_empty() {
                    findings.report(self, "expected text, found nothing", None);
                    return None;
                }
                Some(text)
            }
            Value::Scalar { text, .. } => {
                let hint = (!is_null(text)).then(|| format!("quote it: \"{text}\""));
                findings.report(self, format!("expected text, found {}", self.kind()), hint);
                None
            }
            Value::List(_) | Value::Map(_) => {
                findings.report(self, format!("expected text, found {}", self.kind()), None);
                None
            }
        }
    }

    /// A whole number of `min..=max`.
    pub(crate) fn number(&self, findings: &mut Findings, min: u64, max: u64) -> Option<u64> {
        let found = match &self.node.value {
            Value::Scalar { text, quoted: false } => text.parse::<i128>().ok(),
            _ => None,
        };
        let Some(found) = found else {
            findings.report(self, format!("expected a whole number, found {}", self.kind()), None);
            return None;
        };
        match u64::try_from(found).ok().filter(|number| (min..=max).contains(number)) {
            Some(number) => Some(number),
            None => {
                findings.report(self, format!("expected a number from {min} to {max}, found {found}"), None);
                None
            }
        }
    }

    /// A duration with a unit, such as `100ms`, `1s` or `1m 30s`, from `min` to an hour.
    pub(crate) fn duration(&self, findings: &mut Findings, min: Duration) -> Option<Duration> {
        let Value::Scalar { text, .. } = &self.node.value else {
            findings.report(self, format!("expected a duration, found {}", self.kind()), None);
            return None;
        };
        if text.parse::<f64>().is_ok() {
            let hint = format!("write `{text}s` or `{text}ms`");
            findings.report(self, format!("`{text}` has no unit"), Some(hint));
            return None;
        }
        match humantime::parse_duration(text) {
            Err(_) => {
                let hint = Some("a duration is like `100ms`, `1s` or `1m 30s`".to_owned());
                findings.report(self, format!("`{text}` is no duration"), hint);
                None
            }
            Ok(duration) if duration < min || duration > DURATION_MAX => {
                let (min, max) = (humantime::format_duration(min), humantime::format_duration(DURATION_MAX));
                findings.report(self, format!("expected a duration from {min} to {max}, found `{text}`"), None);
                None
            }
            Ok(duration) => Some(duration),
        }
    }

    /// A name: a DNS label, as Kubernetes has it for most names.
    pub(crate) fn name(&self, findings: &mut Findings) -> Option<&'a str> {
        let text = self.text(findings)?;
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let message = if text.chars().count() > NAME_LENGTH_MAX {
            format!("name has {} characters, at most {NAME_LENGTH_MAX} are allowed", text.chars().count())
        } else if let Some(found) = text.chars().find(|&c| !allowed(c)) {
            format!("name contains `{found}`, only lower-case letters, digits and `-` are allowed")
        } else if text.starts_with('-') || text.ends_with('-') {
            "name must start and end with a lower-case letter or a digit".to_owned()
        } else {
            return Some(text);
        };
        findings.report(self, format!("`{text}`: {message}"), None);
        None
    }

    fn child(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// What the value is, with its text if it is short enough to be shown: `the number `5``, `a list`.
    fn kind(&self) -> String {
        match &self.node.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Scalar { text, quoted: false } if is_null(text) => "nothing".to_owned(),
            Value::Scalar { text, quoted: true } => format!("the text `{text}`"),
            Value::Scalar { text, quoted: false } => format!("the {} `{text}`", scalar_kind(text)),
        }
    }
}

/// The fields of a mapping.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    position: Position,
    path: String,
    values: BTreeMap<String, Cursor<'a>>,
}

impl<'a> Fields<'a> {
    pub(crate) fn optional(&self, key: &str) -> Option<Cursor<'a>> {
        self.values.get(key).cloned()
    }

    /// Reports when it is missing.
    pub(crate) fn required(&self, findings: &mut Findings, key: &str) -> Option<Cursor<'a>> {
        let value = self.optional(key);
        if value.is_none() {
            findings.report_at(self.position, &self.path, format!("key `{key}` is missing"), None);
        }
        value
    }
}

/// What YAML's core schema takes a plain scalar for.
fn scalar_kind(text: &str) -> &'static str {
    if is_null(text) {
        "null"
    } else if matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE") {
        "boolean"
    } else if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) && is_number(text) {
        "number"
    } else {
        "text"
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0o"));
    text.parse::<f64>().is_ok() || digits.is_some_and(|digits| u64::from_str_radix(digits, 16).is_ok())
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}
