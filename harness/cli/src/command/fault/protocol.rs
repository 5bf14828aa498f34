//! What the process that holds a fault says: to who started it, and to who tells it to heal.

use serde::{Deserialize, Serialize};

/// What it is told.
pub(super) const HEAL: &[u8] = b"heal\n";

/// How injecting ended, one line on its stdout.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Injected {
    /// The fault took effect.
    InForce {
        /// What it hit.
        targets: Vec<String>,
        /// What showed it, in the same order.
        witnesses: Vec<String>,
    },
    /// Nothing showed that it took effect, or there was nothing to hit.
    NoWitness {
        /// What was looked for.
        why: String,
    },
    /// Somebody else was faster.
    NameTaken,
    /// Something else went wrong.
    Failed {
        /// What.
        why: String,
    },
}

/// How healing ended, on the socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Healed {
    /// All is as before.
    Done {
        /// What showed it.
        witnesses: Vec<String>,
    },
    /// It is not.
    Failed {
        /// Why.
        why: String,
    },
}
