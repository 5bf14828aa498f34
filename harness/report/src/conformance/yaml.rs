//! The report as YAML, the form that is kept, and its JSON Schema.

use super::{API_VERSION, ConformanceReport, KIND};
use crate::yaml::{YamlError, write};

/// A conformance report could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is no YAML of this shape.
    #[error("failed to read the conformance report")]
    Yaml(#[source] serde_saphyr::Error),
    /// It is another document, or a newer one.
    #[error("document is `{kind}` of `{api_version}`, expected `{KIND}` of `{API_VERSION}`")]
    Kind {
        /// `kind` found.
        kind: String,
        /// `apiVersion` found.
        api_version: String,
    },
}

/// `<agent>-<environment>-<kernel>.yaml`.
pub fn yaml(report: &ConformanceReport) -> Result<String, YamlError> {
    write(report)
}

/// Reads what [`yaml`] wrote.
pub fn read(text: &str) -> Result<ConformanceReport, ReadError> {
    let report: ConformanceReport = serde_saphyr::from_str(text).map_err(ReadError::Yaml)?;
    if report.kind != KIND || report.api_version != API_VERSION {
        return Err(ReadError::Kind { kind: report.kind, api_version: report.api_version });
    }
    Ok(report)
}

/// The JSON Schema of the YAML, as checked in under `harness/report/schema/`.
pub fn schema() -> String {
    crate::schema::of::<ConformanceReport>("meshbed conformance report")
}
