//! Which objects of one kind were reported and not taken back. No I/O.

use std::collections::BTreeSet;

use mesh_planted::{Defect, planted};

/// Ends of the keys of objects that the receiver has.
///
/// What is known changes only by what the receiver really got, so that an event which never reached it is made
/// again by the next listing. It outlives connections.
#[derive(Debug, Default)]
pub(crate) struct Known(BTreeSet<Box<str>>);

impl Known {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is one with this end.
    pub(crate) fn contains(&self, tail: &str) -> bool {
        self.0.contains(tail)
    }

    /// The receiver has it.
    pub(crate) fn insert(&mut self, tail: &str) {
        if !self.0.contains(tail) {
            self.0.insert(tail.into());
        }
    }

    /// The receiver was told that it is gone.
    pub(crate) fn remove(&mut self, tail: &str) {
        self.0.remove(tail);
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Box<str>> {
        self.0.iter().cloned().collect()
    }

    /// Those that are not in a complete listing any more. A value that cannot be read does not protect the old one here,
    /// as in Cilium: its key counts as not listed.
    pub(crate) fn stale(&self, listed: &BTreeSet<Box<str>>) -> Vec<Box<str>> {
        if planted(Defect::RelistDoesNotPrune) {
            return Vec::new();
        }
        self.0.difference(listed).cloned().collect()
    }
}
