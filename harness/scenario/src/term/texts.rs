//! Names, and lists and maps of texts.

use std::{collections::BTreeMap, fmt, ops::Deref};

use crate::{Context, Cursor, Json, Term, schema};

/// A name: lower-case letters, digits and `-`, as Kubernetes has it for most names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Term for Name {
    fn schema() -> Json {
        schema::name()
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        at.name(context.findings()).map(|name| Self(name.to_owned()))
    }
}

/// A list of texts; one that was read has at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings(Vec<String>);

impl Term for Strings {
    fn schema() -> Json {
        schema::list(schema::text(), 1)
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        if at.is_empty_list() {
            context.report(at, "the list is empty, at least one text is needed", None);
            return None;
        }
        Vec::read(at, context).map(Self)
    }
}

impl Deref for Strings {
    type Target = Vec<String>;

    fn deref(&self) -> &Vec<String> {
        &self.0
    }
}

impl<S: Into<String>> FromIterator<S> for Strings {
    fn from_iter<I: IntoIterator<Item = S>>(texts: I) -> Self {
        Self(texts.into_iter().map(Into::into).collect())
    }
}

impl<'a> IntoIterator for &'a Strings {
    type Item = &'a String;
    type IntoIter = std::slice::Iter<'a, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Texts by name, such as annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StringMap(BTreeMap<String, String>);

impl Term for StringMap {
    fn schema() -> Json {
        serde_json::json!({ "type": "object", "additionalProperties": schema::text() })
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        let entries = at.entries(context.findings())?;
        let read = |(key, (_, value)): (String, (crate::Position, Cursor<'_>))| {
            Some((key, value.text(context.findings())?.to_owned()))
        };
        let read: Vec<Option<(String, String)>> = entries.into_iter().map(read).collect();
        read.into_iter().collect::<Option<_>>().map(Self)
    }
}

impl Deref for StringMap {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for StringMap {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl<'a> IntoIterator for &'a StringMap {
    type Item = (&'a String, &'a String);
    type IntoIter = std::collections::btree_map::Iter<'a, String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
