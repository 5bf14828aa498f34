//! What scenarios are made of: actions, faults and expectations.
//!
//! The scenario language does not know them. Each is an [`Element`] with a key, a reader and a schema, and whoever runs
//! scenarios lists them in a [`Language`]; so a new one is a new file there and a line in a list.

use std::fmt;

use crate::{Context, Cursor, Json};

/// The elements that scenarios are made of. A type without values: the engine has the real one, tests have small ones.
pub trait Language: fmt::Debug + Clone + 'static {
    /// Something that a step does.
    type Action: fmt::Debug + fmt::Display + Clone + Send + Sync + 'static;
    /// Something that is broken on purpose.
    type Fault: fmt::Debug + fmt::Display + Clone + Send + Sync + 'static;
    /// Something that a step expects.
    type Expect: fmt::Debug + fmt::Display + Clone + Send + Sync + 'static;

    /// All actions, apart from those that every language has: probes, faults, `parallel`.
    fn actions() -> &'static [Element<Self::Action>];
    /// All kinds of faults.
    fn faults() -> &'static [Element<Self::Fault>];
    /// All expectations.
    fn expectations() -> &'static [Element<Self::Expect>];
}

/// One action, fault or expectation of a [`Language`]. Made by [`element!`](crate::element!).
pub struct Element<T> {
    /// Its key in YAML, such as `podKill`.
    pub key: &'static str,
    /// What it does, for people.
    pub doc: &'static str,
    /// What it looks at. Only matters for expectations.
    pub looks_at: LooksAt,
    /// The JSON Schema of the value after its key.
    pub schema: fn() -> Json,
    /// Reads the value after its key. `None` only after a finding.
    pub read: fn(&Cursor<'_>, &mut Context<'_>) -> Option<T>,
}

impl<T> fmt::Debug for Element<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Element").field("key", &self.key).field("looks_at", &self.looks_at).finish_non_exhaustive()
    }
}

/// What an element looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LooksAt {
    /// How something is at the moment of looking, or nothing at all.
    State,
    /// Requests of probes: it means nothing before one was started.
    Requests,
}

/// An [`Element`] made of a [`Record`](crate::Record): `element!("podKill", PodKill)`. Its value is made `From`
/// the record.
///
/// `element!("answers", Answers, requests)` is an expectation that looks at requests of probes.
#[macro_export]
macro_rules! element {
    ($key:literal, $record:ty) => {
        $crate::element!(@ $key, $record, $crate::LooksAt::State)
    };
    ($key:literal, $record:ty, requests) => {
        $crate::element!(@ $key, $record, $crate::LooksAt::Requests)
    };
    (@ $key:literal, $record:ty, $looks_at:expr) => {
        $crate::Element {
            key: $key,
            doc: <$record as $crate::Record>::DOC,
            looks_at: $looks_at,
            schema: <$record as $crate::Term>::schema,
            read: |at, context| {
                let record = <$record as $crate::Term>::read(at, context)?;
                Some(::std::convert::From::from(record))
            },
        }
    };
}
