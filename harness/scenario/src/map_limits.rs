//! How long a node's maps may differ from the truth.

use std::time::Duration;

use crate::{Context, Cursor, Json, Term, record, schema};

/// How long a wrong entry may stay when nothing is said: a hundred times what propagation takes.
const LIMIT_DEFAULT: Duration = Duration::from_secs(1);
/// The words for no limit. Older YAML takes the first for the second.
const OFF: [&str; 2] = ["off", "false"];

/// How old a difference between a node's maps and the truth may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapLimits {
    /// For entries that are there and should not be; `None`: any age.
    pub stale_max: Option<Duration>,
    /// For entries that should be there and are not; `None`: any age.
    pub missing_max: Option<Duration>,
}

impl Default for MapLimits {
    fn default() -> Self {
        Self { stale_max: Some(LIMIT_DEFAULT), missing_max: Some(LIMIT_DEFAULT) }
    }
}

record! {
    /// How long entries of the nodes' maps may be wrong.
    pub(crate) struct MapLimitsRecord {
        /// Entries that are there and should not be.
        pub(crate) stale: Option<MapLimitRecord>,
        /// Entries that should be there and are not.
        pub(crate) missing: Option<MapLimitRecord>,
    }
}

record! {
    /// A limit.
    pub(crate) struct MapLimitRecord {
        /// The age that is still allowed, or `off`.
        pub(crate) max: Limit,
    }
}

impl MapLimitsRecord {
    /// What is not said is as in `outer`.
    pub(crate) fn within(&self, outer: MapLimits) -> MapLimits {
        MapLimits {
            stale_max: self.stale.as_ref().map_or(outer.stale_max, |limit| limit.max.0),
            missing_max: self.missing.as_ref().map_or(outer.missing_max, |limit| limit.max.0),
        }
    }
}

/// A duration, or `off` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(Option<Duration>);

impl Term for Limit {
    fn schema() -> Json {
        schema::any_of([serde_json::json!({ "enum": ["off", false] }), schema::duration()])
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        if OFF.iter().any(|word| at.is_word(word)) {
            Some(Self(None))
        } else {
            Duration::read(at, context).map(|limit| Self(Some(limit)))
        }
    }
}
