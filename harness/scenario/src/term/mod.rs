//! Types of fields. Each reads itself from a value of a file, and has a JSON Schema.

mod clusters;
mod error_kinds;
mod link_change;
mod manifest_files;
mod nodes;
mod number;
mod object_key;
mod texts;

use std::time::Duration;

use crate::{Context, Cursor, Json, schema};

pub use clusters::{ClusterSet, Clusters};
pub use error_kinds::ErrorKinds;
pub use link_change::LinkChange;
pub use manifest_files::{ManifestFile, ManifestFiles};
pub use nodes::{NodeRef, Nodes, PodRef};
pub use number::{Count, Number, Ratio};
pub use object_key::DeploymentKey;
pub use texts::{Name, StringMap, Strings};

/// Shortest duration of a field: what the stopwatch can tell from zero.
const DURATION_MIN: Duration = Duration::from_micros(1);

/// The type of a field.
pub trait Term: Sized {
    /// Whether the field need not be given.
    const OPTIONAL: bool = false;

    /// Its JSON Schema, without the documentation of the field.
    fn schema() -> Json;

    /// Reads it and reports everything that is wrong with it. `None` only after a finding.
    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self>;

    /// What stands for a field that is not given; only of those that need not be.
    fn absent() -> Option<Self> {
        None
    }
}

impl<T: Term> Term for Option<T> {
    const OPTIONAL: bool = true;

    fn schema() -> Json {
        T::schema()
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        T::read(at, context).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// A list, which may be empty.
impl<T: Term> Term for Vec<T> {
    fn schema() -> Json {
        schema::list(T::schema(), 0)
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        let items = at.items(context.findings())?;
        let read: Vec<Option<T>> = items.iter().map(|item| T::read(item, context)).collect();
        read.into_iter().collect()
    }
}

/// Text that is not empty.
impl Term for String {
    fn schema() -> Json {
        schema::text()
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        at.text(context.findings()).map(str::to_owned)
    }
}

/// `true` or `false`.
impl Term for bool {
    fn schema() -> Json {
        schema::boolean()
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        at.boolean(context.findings())
    }
}

/// A whole number from 0 on.
impl Term for u64 {
    fn schema() -> Json {
        schema::integer(0, Self::MAX)
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        at.number(context.findings(), 0, Self::MAX)
    }
}

/// A time with a unit, such as `100ms`, `1s` or `1m 30s`; from a microsecond to an hour.
impl Term for Duration {
    fn schema() -> Json {
        schema::duration()
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        at.duration(context.findings(), DURATION_MIN)
    }
}
