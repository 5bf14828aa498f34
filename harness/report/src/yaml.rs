//! `report.yaml` and its normalised form. The only module that knows the YAML library.

mod full;
mod normalised;
mod percentiles;

pub(crate) use percentiles::Percentiles;

use meshbed_events::RunRecord;
use serde::Serialize;

use crate::Summary;

/// A report could not be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the report as YAML")]
pub struct YamlError {
    #[source]
    source: serde_saphyr::ser::Error,
}

/// The whole report for programs: keys in a fixed order, times in milliseconds since the start of the run.
pub fn report(record: &RunRecord) -> Result<String, YamlError> {
    write(&full::Report::of(&Summary::of(record)))
}

/// The report without anything that varies between good runs: the same for each of them, another one when behaviour drifts.
///
/// It leaves out times, counts, names of pods, addresses, the run's ID and what is true of the machine only; what is left
/// is listed in `yaml/normalised.rs`.
pub fn normalised(record: &RunRecord) -> Result<String, YamlError> {
    write(&normalised::Report::of(record, &Summary::of(record)))
}

/// The JSON Schema of [`report`], as checked in under `harness/report/schema/`.
pub fn schema() -> String {
    crate::schema::of::<full::Report<'_>>("meshbed report")
}

pub(crate) fn write(value: &impl Serialize) -> Result<String, YamlError> {
    let options = serde_saphyr::ser_options! {
        // Sentences stay on one line: folded ones make noisy diffs.
        prefer_block_scalars: false,
    };
    serde_saphyr::to_string_with_options(value, options).map_err(|source| YamlError { source })
}
