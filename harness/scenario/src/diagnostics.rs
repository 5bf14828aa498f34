//! Everything that is wrong with a file, told at once.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::Position;

/// What kind of file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// An agent file.
    Agent,
    /// A file of kernels.
    Kernels,
    /// A topology file.
    Topology,
    /// A scenario file.
    Scenario,
    /// A file with steps for scenarios to include.
    Steps,
    /// A fault that a person typed, in no file.
    Fault,
}

impl FileKind {
    /// All kinds that files say of themselves.
    pub const ALL: [Self; 5] = [Self::Scenario, Self::Steps, Self::Topology, Self::Agent, Self::Kernels];

    /// What `kind:` says in such a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "Agent",
            Self::Kernels => "Kernels",
            Self::Topology => "Topology",
            Self::Scenario => "Scenario",
            Self::Steps => "Steps",
            Self::Fault => "Fault",
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Agent => "agent",
            Self::Kernels => "kernels",
            Self::Topology => "topology",
            Self::Scenario => "scenario",
            Self::Steps => "steps",
            Self::Fault => "fault",
        })
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file that it is in.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// Where in the document, such as `clusters[0].id`; empty for the document as a whole.
    pub path: String,
    /// What was found and what was expected, as a sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// All findings about a file (and the files that it refers to), in the order of lines.
///
/// `Display` prints the whole report, `error: …` and hints included: it is meant for a person's terminal as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    /// What kind of file was read.
    pub kind: FileKind,
    /// The file that was asked for, as it was given.
    pub file: PathBuf,
    /// What is wrong; never empty.
    pub findings: Vec<Finding>,
}

impl std::error::Error for Diagnostics {}

impl Diagnostics {
    /// Findings in the order of first mention of their file, within a file by line and column.
    pub(crate) fn new(kind: FileKind, file: &Path, mut findings: Vec<Finding>) -> Self {
        findings.sort_by(|a, b| {
            let key = |finding: &Finding| (finding.file != file, finding.file.clone(), finding.line, finding.column);
            key(a).cmp(&key(b))
        });
        Self { kind, file: file.to_path_buf(), findings }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: invalid {} `{}`", self.kind, self.file.display())?;
        let width = |finding: &Finding| Position { line: finding.line, column: finding.column }.to_string().len();
        let width = self.findings.iter().map(width).max().unwrap_or(0);
        let mut file = &self.file;
        for finding in &self.findings {
            if finding.file != *file {
                file = &finding.file;
                write!(f, "\nin `{}`", file.display())?;
            }
            let position = Position { line: finding.line, column: finding.column };
            write!(f, "\n  --> {position:width$}  ")?;
            if !finding.path.is_empty() {
                write!(f, "{}: ", finding.path)?;
            }
            write!(f, "{}", finding.message)?;
            if let Some(hint) = &finding.hint {
                write!(f, "\n      {:width$}  hint: {hint}", "")?;
            }
        }
        Ok(())
    }
}
