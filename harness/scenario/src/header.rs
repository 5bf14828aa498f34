//! What is common to all files of ours: how they are read, and their first lines.

use std::{io::Read, path::Path};

use crate::{
    FileKind,
    walk::{Fields, Findings},
    yaml::TEXT_BYTES_MAX,
};

/// Version of the language; the only one there is.
const API_VERSION: &str = "meshbed.dev/v1alpha1";

/// The text of the file, or a finding.
pub(crate) fn read(findings: &mut Findings, file: &Path) -> Option<String> {
    // One byte more than allowed, so that the limit of the tree reader notices; never all of a huge file.
    let limit = u64::try_from(TEXT_BYTES_MAX).expect("the limit is small") + 1;
    let mut text = String::new();
    let read = std::fs::File::open(file).and_then(|open| open.take(limit).read_to_string(&mut text));
    match read {
        Ok(_) => Some(text),
        Err(error) => {
            findings.report_at(crate::Position { line: 1, column: 1 }, "", format!("cannot be read: {error}"), None);
            None
        }
    }
}

/// Checks `apiVersion` and `kind`.
pub(crate) fn check(findings: &mut Findings, fields: &Fields<'_>, kind: FileKind) {
    let kind = match kind {
        FileKind::Topology => "Topology",
        FileKind::Scenario => "Scenario",
    };
    for (key, expected) in [("apiVersion", API_VERSION), ("kind", kind)] {
        let Some(value) = fields.required(findings, key) else { continue };
        let Some(found) = value.text(findings) else { continue };
        if found != expected {
            findings.report(&value, format!("expected `{expected}`, found `{found}`"), None);
        }
    }
}
