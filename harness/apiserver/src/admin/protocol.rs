//! The lines on the admin socket: one request, one reply, in turn.

use serde::{Deserialize, Serialize};

use super::rule::{Rule, RuleReport};

/// Longest line in bytes, in either direction: a report of all rules with all their user agents fits many times over.
pub(super) const LINE_MAX: usize = 4 * 1024 * 1024;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, tag = "command")]
pub(super) enum Request {
    /// Put a rule into force.
    Add {
        /// The rule.
        rule: Rule,
    },
    /// Take a rule out of force.
    Remove {
        /// Its name.
        name: String,
    },
    /// Take all rules out of force.
    Clear,
    /// Tell of the rules in force.
    Report,
    /// Forget all changes until now.
    Compact,
}

/// What the server replies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, tag = "outcome")]
pub(super) enum Reply {
    /// It is done. The reports are of the rules in force, or of those that were taken out of force.
    Done {
        /// By name of the rule.
        reports: Vec<RuleReport>,
    },
    /// The changes until now are forgotten.
    Compacted {
        /// The newest revision: watches can continue from here.
        revision: u64,
    },
    /// It is not done.
    Refused {
        /// Why not.
        problem: String,
    },
}
