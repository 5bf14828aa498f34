//! Ways in which requests fail.

use std::{collections::BTreeSet, fmt};

use meshbed_events::ErrorKind;

use crate::{Context, Cursor, Json, Term, schema, words};

/// All of them, in the order of the documentation.
const ALL: [ErrorKind; 7] = [
    ErrorKind::Refused,
    ErrorKind::Unreachable,
    ErrorKind::NotPermitted,
    ErrorKind::Reset,
    ErrorKind::TimedOut,
    ErrorKind::Malformed,
    ErrorKind::Other,
];

/// Ways in which requests fail; one that was read has at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorKinds(BTreeSet<ErrorKind>);

impl ErrorKinds {
    /// Whether it is one of them.
    pub fn contains(&self, kind: ErrorKind) -> bool {
        self.0.contains(&kind)
    }

    /// Each of them once.
    pub fn iter(&self) -> impl Iterator<Item = ErrorKind> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<ErrorKind> for ErrorKinds {
    fn from_iter<I: IntoIterator<Item = ErrorKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().collect())
    }
}

/// Words with commas between them.
impl fmt::Display for ErrorKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", "))
    }
}

impl Term for ErrorKinds {
    fn schema() -> Json {
        schema::list(schema::words(&ALL.map(ErrorKind::as_str)), 1)
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        let items = at.items(context.findings())?;
        if items.is_empty() {
            context.report(at, "there is no kind, at least one is needed", None);
        }
        let known = || ALL.iter().map(|kind| (kind.as_str(), *kind));
        Some(items.iter().filter_map(|at| words::read(context.findings(), at, known(), "kind")).collect())
    }
}
