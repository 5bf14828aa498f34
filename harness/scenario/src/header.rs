//! What is common to all files of ours: how they are read, and their first lines.

use std::{io::Read, path::Path};

use crate::{
    Diagnostics, FileKind,
    walk::{Fields, Findings},
    yaml::TEXT_BYTES_MAX,
};

/// Version of the language; the only one there is.
pub(crate) const API_VERSION: &str = "meshbed.dev/v1alpha1";

/// The text of the file. Of a huge file only so much that the limit of the tree reader notices.
pub(crate) fn text(file: &Path) -> std::io::Result<String> {
    let limit = u64::try_from(TEXT_BYTES_MAX).expect("the limit is small") + 1;
    let mut text = String::new();
    std::fs::File::open(file)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

/// The text of the file, or a finding.
pub(crate) fn read(findings: &mut Findings, file: &Path) -> Option<String> {
    match text(file) {
        Ok(text) => Some(text),
        Err(error) => {
            findings.report_file(crate::Position { line: 1, column: 1 }, format!("cannot be read: {error}"));
            None
        }
    }
}

/// What a file of this kind says, or everything that is wrong with it.
pub(crate) fn load<T>(
    kind: FileKind,
    file: &Path,
    reader: impl FnOnce(&mut Findings, &str) -> Option<T>,
) -> Result<T, Diagnostics> {
    let mut findings = Findings::new(file);
    let value = read(&mut findings, file).and_then(|text| reader(&mut findings, &text));
    finish(kind, file, findings, value)
}

/// The same of a text; `file` is what findings call it.
pub(crate) fn parse<T>(
    kind: FileKind,
    text: &str,
    file: &Path,
    reader: impl FnOnce(&mut Findings, &str) -> Option<T>,
) -> Result<T, Diagnostics> {
    let mut findings = Findings::new(file);
    let value = reader(&mut findings, text);
    finish(kind, file, findings, value)
}

/// What was read, unless something is wrong with it.
pub(crate) fn finish<T>(kind: FileKind, file: &Path, findings: Findings, value: Option<T>) -> Result<T, Diagnostics> {
    match value {
        Some(value) if findings.is_empty() => Ok(value),
        _ => Err(Diagnostics::new(kind, file, findings.into_list())),
    }
}

/// Checks `apiVersion` and `kind`.
pub(crate) fn check(findings: &mut Findings, fields: &Fields<'_>, kind: FileKind) {
    for (key, expected) in [("apiVersion", API_VERSION), ("kind", kind.name())] {
        let Some(value) = fields.required(findings, key) else { continue };
        let Some(found) = value.text(findings) else { continue };
        if found != expected {
            findings.report(&value, format!("expected `{expected}`, found `{found}`"), None);
        }
    }
}
