//! Reading a tree by a schema while collecting what is wrong with it.
//!
//! Every method reports by itself and returns `None` when there is no usable value, so that a reader goes on with the
//! rest and the person at the terminal gets all findings of a file at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use crate::{
    Finding, Located, Position, suggest,
    yaml::{self, Node, Style, SyntaxError, Value},
};

/// Longest duration anywhere in a file: nothing in a run may wait longer than this.
const DURATION_MAX: Duration = Duration::from_secs(3600);
/// What most often is wrong with a line with a parameter that YAML does not understand.
const UNQUOTED: &str = "inside of `{…}` and `[…]`, YAML wants quotes: `\"${name}\"`";
/// Findings that are told; nobody reads more at once.
const FINDINGS_MAX: usize = 1_000;
/// Longest name of anything that becomes part of a file name or a Kubernetes object: a DNS label.
const NAME_LENGTH_MAX: usize = 63;

/// What is wrong with a file and with those that it includes.
#[derive(Debug)]
pub struct Findings {
    file: Arc<Path>,
    list: BTreeSet<Finding>,
}

impl Findings {
    pub(crate) fn new(file: &Path) -> Self {
        Self { file: Arc::from(file), list: BTreeSet::new() }
    }

    /// Reports something about the value at `at`.
    ///
    /// `message` says what was found and what was expected, `hint` what to do about it.
    pub fn report(&mut self, at: &Cursor<'_>, message: impl Into<String>, hint: Option<String>) {
        self.report_at(at, at.position(), message, hint);
    }

    /// Reports something about the value at `at` whose place is another one of the same file: that of its key.
    pub(crate) fn report_at(
        &mut self,
        at: &Cursor<'_>,
        position: Position,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.push(&at.node.file, position, &at.path, message.into(), hint);
    }

    /// Reports something about the file as a whole.
    pub(crate) fn report_file(&mut self, position: Position, message: impl Into<String>) {
        let file = Arc::clone(&self.file);
        self.push(&file, position, "", message.into(), None);
    }

    fn push(&mut self, file: &Path, position: Position, path: &str, message: String, hint: Option<String>) {
        let (path, Position { line, column }) = (path.to_owned(), position);
        self.add([Finding { file: file.to_path_buf(), line, column, path, message, hint }]);
    }

    /// The tree of `text`, or a finding.
    pub(crate) fn tree(&mut self, text: &str) -> Option<Node> {
        let file = Arc::clone(&self.file);
        self.tree_of(text, &file)
    }

    /// The tree of `text`, which is that of another file, or a finding.
    pub(crate) fn tree_of(&mut self, text: &str, file: &Arc<Path>) -> Option<Node> {
        match yaml::parse(text, file) {
            Ok(tree) => Some(tree),
            Err(SyntaxError { position, message }) => {
                let line = text.lines().nth(position.line.saturating_sub(1));
                let hint = line.is_some_and(|line| line.contains("${")).then(|| UNQUOTED.to_owned());
                self.push(file, position, "", message, hint);
                None
            }
        }
    }

    /// The file that was asked for.
    pub(crate) fn file(&self) -> &Arc<Path> {
        &self.file
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What stands once in a file is read many times when it is repeated, and told once.
    pub(crate) fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            if self.list.len() < FINDINGS_MAX {
                self.list.insert(finding);
            }
        }
    }

    pub(crate) fn into_list(self) -> Vec<Finding> {
        self.list.into_iter().collect()
    }
}

/// A value of a file, and its path from the root of the document.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
}

impl<'a> Cursor<'a> {
    pub(crate) fn root(node: &'a Node) -> Self {
        Self { node, path: String::new() }
    }

    /// Where it begins.
    pub fn position(&self) -> Position {
        self.node.position
    }

    /// The path from the root of the document, such as `steps[0].do[1]`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The file that it stands in.
    pub fn file(&self) -> &Path {
        &self.node.file
    }

    /// The folder that file names in it start from.
    pub fn folder(&self) -> &Path {
        self.node.file.parent().unwrap_or(Path::new(""))
    }

    /// `value` with the place of this one.
    pub(crate) fn located<T>(&self, value: T) -> Located<T> {
        Located { file: Arc::clone(&self.node.file), position: self.node.position, value }
    }

    /// The value of a key, and nothing when this is no mapping or does not have it. Reports nothing.
    pub(crate) fn peek(&self, key: &str) -> Option<Cursor<'a>> {
        let Value::Map(entries) = &self.node.value else { return None };
        let entry = entries.iter().find(|entry| entry.key == key)?;
        Some(Cursor { node: &entry.value, path: self.child(key) })
    }

    /// A mapping with no other keys than `known`, each at most once.
    pub fn fields(&self, findings: &mut Findings, known: &[&str]) -> Option<Fields<'a>> {
        let entries = self.entries(findings)?;
        for (key, (position, value)) in &entries {
            if !known.contains(&key.as_str()) {
                let hint = suggest::hint(key, known.iter().copied(), "keys");
                findings.report_at(value, *position, format!("unknown key `{key}`"), Some(hint));
            }
        }
        let values = entries.into_iter().map(|(key, (_, value))| (key, value)).collect();
        Some(Fields { of: self.clone(), values })
    }

    /// A mapping with any keys, each at most once.
    pub fn entries(&self, findings: &mut Findings) -> Option<BTreeMap<String, (Position, Cursor<'a>)>> {
        let pairs = self.pairs(findings)?;
        Some(pairs.into_iter().map(|(key, position, value)| (key, (position, value))).collect())
    }

    /// A mapping with any keys, each at most once, in the order of the file: key, its place, value.
    pub fn pairs(&self, findings: &mut Findings) -> Option<Vec<(String, Position, Cursor<'a>)>> {
        let Value::Map(entries) = &self.node.value else {
            findings.report(self, format!("expected a mapping, found {}", self.kind()), None);
            return None;
        };
        let mut known = BTreeSet::new();
        let mut found = Vec::new();
        for entry in entries {
            let value = Cursor { node: &entry.value, path: self.child(&entry.key) };
            if known.insert(&entry.key) {
                found.push((entry.key.clone(), entry.key_position, value));
            } else {
                let message = format!("key `{}` is here twice", entry.key);
                findings.report_at(&value, entry.key_position, message, None);
            }
        }
        Some(found)
    }

    /// A mapping with exactly one key, which is one of `known`; `what` is its plural.
    pub fn variant(&self, findings: &mut Findings, known: &[&str], what: &str) -> Option<(String, Cursor<'a>)> {
        let mut entries = self.entries(findings)?.into_iter();
        let (Some((key, (position, value))), None) = (entries.next(), entries.next()) else {
            let all: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
            findings.report(self, format!("expected exactly one of {}", all.join(", ")), None);
            return None;
        };
        if !known.contains(&key.as_str()) {
            let hint = suggest::hint(&key, known.iter().copied(), what);
            findings.report_at(&value, position, format!("unknown key `{key}`"), Some(hint));
            return None;
        }
        Some((key, value))
    }

    /// The items of a list.
    pub fn items(&self, findings: &mut Findings) -> Option<Vec<Cursor<'a>>> {
        let Value::List(items) = &self.node.value else {
            findings.report(self, format!("expected a list, found {}", self.kind()), None);
            return None;
        };
        let item = |(index, node)| Cursor { node, path: format!("{}[{index}]", self.path) };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// The text of a scalar, whatever it is. Reports nothing.
    pub fn scalar(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Whether it is a scalar and not a list or a mapping.
    pub fn is_scalar(&self) -> bool {
        self.scalar().is_some()
    }

    /// Whether it is a value that was left out, or `null`.
    pub fn is_nothing(&self) -> bool {
        matches!(&self.node.value, Value::Scalar { text, style: Style::Plain } if is_null(text))
    }

    /// Whether it is this word.
    pub fn is_word(&self, word: &str) -> bool {
        self.scalar() == Some(word)
    }

    /// Whether it is a list without items.
    pub fn is_empty_list(&self) -> bool {
        matches!(&self.node.value, Value::List(items) if items.is_empty())
    }

    /// Text that is not empty. A plain scalar that YAML takes for a number, a boolean or null is none.
    pub fn text(&self, findings: &mut Findings) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, style } if *style != Style::Plain || scalar_kind(text) == "text" => {
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
    pub fn number(&self, findings: &mut Findings, min: u64, max: u64) -> Option<u64> {
        let found = match &self.node.value {
            Value::Scalar { text, style } if *style != Style::Quoted => text.parse::<i128>().ok(),
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

    /// `true` or `false`.
    pub fn boolean(&self, findings: &mut Findings) -> Option<bool> {
        match &self.node.value {
            Value::Scalar { text, style } if *style != Style::Quoted && text == "true" => Some(true),
            Value::Scalar { text, style } if *style != Style::Quoted && text == "false" => Some(false),
            _ => {
                findings.report(self, format!("expected `true` or `false`, found {}", self.kind()), None);
                None
            }
        }
    }

    /// A duration with a unit, such as `100ms`, `1s` or `1m 30s`, from `min` to an hour.
    pub fn duration(&self, findings: &mut Findings, min: Duration) -> Option<Duration> {
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
    pub fn name(&self, findings: &mut Findings) -> Option<&'a str> {
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

    pub(crate) fn child(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// What the value is, with its text if it is short enough to be shown: `the number `5``, `a list`.
    pub(crate) fn kind(&self) -> String {
        match &self.node.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Scalar { text, style: Style::Plain } if is_null(text) => "nothing".to_owned(),
            Value::Scalar { text, style: Style::Quoted } => format!("the text `{text}`"),
            Value::Scalar { text, .. } => format!("the {} `{text}`", scalar_kind(text)),
        }
    }
}

/// The fields of a mapping.
#[derive(Debug)]
pub struct Fields<'a> {
    of: Cursor<'a>,
    values: BTreeMap<String, Cursor<'a>>,
}

impl<'a> Fields<'a> {
    /// The value of `key`.
    pub fn optional(&self, key: &str) -> Option<Cursor<'a>> {
        self.values.get(key).cloned()
    }

    /// The value of `key`; reports when it is missing.
    pub fn required(&self, findings: &mut Findings, key: &str) -> Option<Cursor<'a>> {
        let value = self.optional(key);
        if value.is_none() {
            findings.report(&self.of, format!("key `{key}` is missing"), None);
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
