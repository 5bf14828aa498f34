//! What client and router say to each other: one JSON value a line, an answer for each request.

use mesh_types::ClusterName;
use meshbed_scenario::LinkConditions;
use serde::{Deserialize, Serialize};

use crate::Direction;

/// Longest line. The answer with all directions has some hundred bytes for each.
pub(crate) const LINE_MAX: usize = 64 << 20;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Request {
    /// Replace the conditions of one direction.
    Set {
        /// Where its packets come from.
        from: ClusterName,
        /// Where they go to.
        to: ClusterName,
        /// What happens to them.
        conditions: LinkConditions,
    },
    /// Tell all directions that are not clear or have seen packets.
    Get,
    /// Make all directions as they were at the start.
    Reset,
}

/// What the router answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Response {
    /// It is done.
    Done,
    /// What was asked for.
    Directions(Vec<Direction>),
    /// It is not done, and why.
    Refused(String),
}
