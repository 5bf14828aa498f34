//! `parameters`: names, and the values that they have when nobody says otherwise.

use std::collections::{BTreeMap, BTreeSet};

use super::scope::is_name;
use crate::{
    suggest,
    walk::{Cursor, Findings},
};

/// Parameters of a file.
const PARAMETERS_MAX: usize = 100;
/// Bytes of the value of a parameter: names, numbers, durations and file names are shorter.
pub(crate) const VALUE_BYTES_MAX: usize = 1_024;

/// The parameters of a file, by name.
#[derive(Debug, Default)]
pub(crate) struct Parameters<'a> {
    declared: BTreeMap<String, Declared<'a>>,
}

#[derive(Debug)]
struct Declared<'a> {
    at: Cursor<'a>,
    /// `None`: whoever uses the file has to say.
    default: Option<String>,
}

impl<'a> Parameters<'a> {
    /// Reads the value of `parameters`.
    pub(crate) fn read(findings: &mut Findings, at: Option<&Cursor<'a>>) -> Self {
        let Some(at) = at else { return Self::default() };
        let pairs = at.pairs(findings).unwrap_or_default();
        if pairs.len() > PARAMETERS_MAX {
            findings.report(at, format!("there are {} parameters, at most {PARAMETERS_MAX} can be", pairs.len()), None);
            return Self::default();
        }
        let mut declared = BTreeMap::new();
        for (name, position, value) in pairs {
            if !is_name(&name) {
                let hint = Some("names are of letters, digits, `_` and `-`, and begin with a letter".to_owned());
                findings.report_at(&value, position, format!("`{name}` is no name of a parameter"), hint);
                continue;
            }
            // One that could not be read has been reported: it has a value, whatever it is.
            let default = if value.is_nothing() { None } else { Some(value_of(findings, &value).unwrap_or_default()) };
            declared.insert(name, Declared { at: value, default });
        }
        Self { declared }
    }

    /// The values, with those of `given` instead of the defaults; `unknown` is told of names that are not declared,
    /// `missing` of those that have no value.
    pub(crate) fn values(
        &self,
        given: &BTreeMap<String, String>,
        mut unknown: impl FnMut(&str, String),
        mut missing: impl FnMut(&str, &Cursor<'a>),
    ) -> BTreeMap<String, String> {
        for name in given.keys().filter(|name| !self.declared.contains_key(*name)) {
            unknown(name, suggest::hint(name, self.declared.keys().map(String::as_str), "parameters"));
        }
        let mut values = BTreeMap::new();
        for (name, declared) in &self.declared {
            match given.get(name).or(declared.default.as_ref()) {
                Some(value) => drop(values.insert(name.clone(), value.clone())),
                None => missing(name, &declared.at),
            }
        }
        values
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.declared.keys().map(String::as_str)
    }

    /// Whether all of them have values without anybody saying so.
    pub(crate) fn are_complete(&self) -> bool {
        self.declared.values().all(|declared| declared.default.is_some())
    }

    /// Reports those that nothing uses.
    pub(crate) fn report_unused(&self, findings: &mut Findings, used: &BTreeSet<String>) {
        for (name, declared) in self.declared.iter().filter(|(name, _)| !used.contains(*name)) {
            let hint = Some(format!("write `${{{name}}}` where its value belongs, or leave it out"));
            findings.report(&declared.at, format!("parameter `{name}` is not used"), hint);
        }
    }
}

/// The text of a scalar; a value that is left out is empty.
pub(crate) fn value_of(findings: &mut Findings, at: &Cursor<'_>) -> Option<String> {
    let Some(text) = at.scalar() else {
        findings.report(at, format!("expected one value, found {}", at.kind()), None);
        return None;
    };
    if text.len() > VALUE_BYTES_MAX {
        let message = format!("the value has {} bytes, at most {VALUE_BYTES_MAX} are allowed", text.len());
        findings.report(at, message, None);
        return None;
    }
    Some(if at.is_nothing() { String::new() } else { text.to_owned() })
}
