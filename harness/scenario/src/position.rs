//! Places in a file.

use std::{fmt, path::Path, sync::Arc};

/// A place in a YAML file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.line, self.column))
    }
}

/// A value and where it stands: a scenario may include steps from other files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The file that it was read from.
    pub file: Arc<Path>,
    /// Where it begins.
    pub position: Position,
    /// The value.
    pub value: T,
}

impl<T> Located<T> {
    /// The place in words, such as `scenarios/failover.yaml:12:3`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.position)
    }
}
