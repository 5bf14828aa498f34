//! One zip of everything that is known about a run: what is attached to an issue.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};

use meshbed_events::RunRecord;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::formats::{self, FormatError};

/// Bytes of one extra file; of a larger one the end is taken, which is nearest to the failure.
const EXTRA_MAX: usize = 32 << 20;
/// Bytes of all extra files together; what goes beyond is left out and named in `LEFT-OUT.txt`.
const EXTRAS_MAX: usize = 256 << 20;

/// A zip could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A report could not be made.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The archive could not be written.
    #[error("failed to pack `{path}`")]
    Pack {
        /// The file's path in the archive.
        path: String,
        /// Why.
        #[source]
        source: zip::result::ZipError,
    },
}

/// A zip of the record, all its reports, and `extra` files (logs, manifests, dumps) by their path in it.
///
/// Paths cannot leave the folder that the zip is unpacked into. No file has a time, so that equal runs give equal zips.
pub fn bundle(record: &RunRecord, extra: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, BundleError> {
    let mut archive = Archive { zip: ZipWriter::new(Cursor::new(Vec::new())) };
    archive.add("record.jsonl", &lines(record))?;
    for (path, text) in formats::all(record)? {
        archive.add(&path, text.as_bytes())?;
    }
    let mut left = EXTRAS_MAX;
    let mut left_out = String::new();
    for (path, bytes) in extra {
        let skipped = bytes.len().saturating_sub(EXTRA_MAX);
        let part = bytes.get(skipped..).unwrap_or_default();
        if part.len() > left {
            left_out.push_str(&format!("{path}: {} bytes\n", bytes.len()));
            continue;
        }
        if skipped > 0 {
            left_out.push_str(&format!("{path}: the first {skipped} bytes\n"));
        }
        left -= part.len();
        archive.add(&format!("extra/{}", inside(path)), part)?;
    }
    if !left_out.is_empty() {
        archive.add("LEFT-OUT.txt", left_out.as_bytes())?;
    }
    archive.finish()
}

struct Archive {
    zip: ZipWriter<Cursor<Vec<u8>>>,
}

impl Archive {
    fn add(&mut self, path: &str, bytes: &[u8]) -> Result<(), BundleError> {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        let fail = |source| BundleError::Pack { path: path.to_owned(), source };
        self.zip.start_file(path, options).map_err(fail)?;
        self.zip.write_all(bytes).map_err(|source| fail(source.into()))
    }

    fn finish(self) -> Result<Vec<u8>, BundleError> {
        let written = self.zip.finish().map_err(|source| BundleError::Pack { path: "the directory".into(), source })?;
        Ok(written.into_inner())
    }
}

/// The record as `meshbed report` reads it.
fn lines(record: &RunRecord) -> Vec<u8> {
    let mut bytes = Vec::new();
    let every = "a Vec takes every write, and events are plain data";
    RunRecord::write_header(&mut bytes).expect(every);
    for event in &record.events {
        RunRecord::write_event(&mut bytes, event).expect(every);
    }
    bytes
}

/// `path` without anything that leads out of a folder.
fn inside(path: &str) -> String {
    let parts = path.split(['/', '\\']).filter(|part| !matches!(*part, "" | "." | ".."));
    parts.map(|part| part.replace([':', '\0'], "_")).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(inside("../../etc/./passwd"), "etc/passwd");
        assert_eq!(inside("C:\\logs\\agent.log"), "C_/logs/agent.log");
    }
}
