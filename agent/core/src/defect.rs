//! Defects that can be planted on purpose, to prove that the oracle finds them.

use std::{fmt, str::FromStr};

/// A way for the agent to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Defect {
    /// The reader ignores the backends of remote clusters.
    RemoteBackendsDropped,
    /// A backend that was once seen stays in its frontend for ever.
    DeadBackendsKept,
    /// The exporter exports services that say `shared: "false"`.
    SharedIgnored,
}

impl Defect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::RemoteBackendsDropped, Self::DeadBackendsKept, Self::SharedIgnored];
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RemoteBackendsDropped => "remote-backends-dropped",
            Self::DeadBackendsKept => "dead-backends-kept",
            Self::SharedIgnored => "shared-ignored",
        })
    }
}

impl FromStr for Defect {
    type Err = UnknownDefect;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|defect| defect.to_string() == name);
        found.ok_or_else(|| UnknownDefect(name.to_owned()))
    }
}

/// A name that is none of [`Defect::ALL`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown defect `{0}`, expected `remote-backends-dropped`, `dead-backends-kept` or `shared-ignored`")]
pub struct UnknownDefect(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for defect in Defect::ALL {
            assert_eq!(defect.to_string().parse(), Ok(defect));
        }
        assert_eq!("typo".parse::<Defect>(), Err(UnknownDefect("typo".to_owned())));
    }
}
