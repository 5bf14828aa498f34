//! The end of the log of a process that did not do what it should: the run takes its logs with it.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::rejection::{Rejection, rejection};

/// How much of the end of a log is told, in bytes.
const TAIL_MAX: usize = 4096;
/// How much of the end of a log is searched, in bytes: what a verifier says of a large program at its lowest log level.
const SEARCHED_MAX: u64 = 1 << 20;

/// See the module. Shown as its last lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEnd {
    /// The log.
    pub path: PathBuf,
    /// Its last lines; empty when it could not be read.
    pub tail: String,
    /// What the kernel's verifier said last in it, if it said anything.
    pub rejection: Option<Rejection>,
}

impl LogEnd {
    /// As it is now.
    pub(crate) fn of(path: &Path) -> Self {
        let searched = last_lines(path);
        Self { path: path.to_owned(), tail: tail(&searched).to_owned(), rejection: rejection(&searched) }
    }
}

impl fmt::Display for LogEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "end of `{}`:\n{}", self.path.display(), self.tail)
    }
}

/// The whole lines among the last [`TAIL_MAX`] bytes.
fn tail(text: &str) -> &str {
    let Some(from) = text.len().checked_sub(TAIL_MAX) else { return text };
    let end = text.as_bytes()[from..].iter().position(|byte| *byte == b'\n');
    end.map_or("", |end| &text[from + end + 1..])
}

/// The whole lines among the last [`SEARCHED_MAX`] bytes of a file; what cannot be read is empty.
fn last_lines(file: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(file)?;
        let length = file.metadata()?.len();
        let start = length.saturating_sub(SEARCHED_MAX);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(SEARCHED_MAX).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        // A line whose beginning is cut off says little.
        let whole = if start == 0 { text.as_ref() } else { text.split_once('\n').map_or("", |(_, rest)| rest) };
        Ok(whole.trim_end().to_owned())
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn tail_has_whole_lines_only() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let tail = |path: &Path| LogEnd::of(path).tail;
        fs::write(&log, "one\ntwo\n").unwrap();
        assert_eq!(tail(&log), "one\ntwo");
        let long = TAIL_MAX;
        fs::write(&log, format!("{}\nlast\n", "x".repeat(long))).unwrap();
        assert_eq!(tail(&log), "last");
        assert_eq!(tail(Path::new("/nonexistent")), "");
    }

    #[test]
    fn a_rejection_is_found_before_what_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::write(&log, format!("R9 !read_ok\nprocessed 1 insns\n{}\n", "more\n".repeat(2000))).unwrap();
        let end = LogEnd::of(&log);
        assert!(!end.tail.contains("read_ok"));
        assert_eq!(end.rejection.map(|rejection| rejection.why), Some("R9 !read_ok".to_owned()));
    }
}
