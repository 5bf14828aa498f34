//! Entries of maps that were wrong or missing, and how long.

use std::collections::BTreeMap;
use std::time::Duration;

use meshbed_events::{MapDifference, Micros};

use crate::Node;

/// An entry of a node's maps that was there and should not have been, or the other way round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleEntry {
    /// Whose maps.
    pub node: Node,
    /// What was different: kind, service, frontend and backend.
    pub difference: MapDifference,
    /// Since when it was wrong although the node could know better.
    pub since: Micros,
    /// When it was right again; `None` when it was still wrong at the end of the run.
    pub until: Option<Micros>,
    /// How long it was wrong.
    pub age: Duration,
}

impl StaleEntry {
    /// An entry that was wrong from `since` until `until`, or until `end` when it never was right again.
    pub(crate) fn new(
        node: Node,
        difference: MapDifference,
        since: Micros,
        until: Option<Micros>,
        end: Micros,
    ) -> Self {
        Self { node, difference, since, until, age: until.unwrap_or(end).since(since) }
    }
}

/// The entries in the making.
///
/// The harness tells the age of every entry when it is right again or the run ends. A record that was cut off lacks
/// the latter: what was wrong in its last event of a node is taken to have lasted to its end.
#[derive(Default)]
pub(crate) struct Fold {
    entries: Vec<StaleEntry>,
    /// What is wrong in each node's maps now, and since when.
    open: BTreeMap<Node, BTreeMap<MapDifference, Micros>>,
}

impl Fold {
    /// The harness said how old an entry became.
    pub(crate) fn aged(&mut self, entry: StaleEntry) {
        if let Some(open) = self.open.get_mut(&entry.node) {
            open.remove(&entry.difference);
        }
        self.entries.push(entry);
    }

    /// A node's maps are wrong in exactly these.
    pub(crate) fn wrong(&mut self, at: Micros, cluster: &str, node: &str, differences: &[MapDifference]) {
        let node = Node { cluster: cluster.to_owned(), name: node.to_owned() };
        let open = self.open.entry(node).or_default();
        let kept = |difference: &MapDifference| open.get(difference).copied().unwrap_or(at);
        *open = differences.iter().map(|difference| (difference.clone(), kept(difference))).collect();
    }

    /// A node's maps are right.
    pub(crate) fn right(&mut self, cluster: &str, node: &str) {
        self.open.remove(&Node { cluster: cluster.to_owned(), name: node.to_owned() });
    }

    /// All entries by the time at which they became wrong; `end` is the end of the run.
    pub(crate) fn into_entries(mut self, end: Micros) -> Vec<StaleEntry> {
        for (node, open) in self.open {
            let still = |(difference, since)| StaleEntry::new(node.clone(), difference, since, None, end);
            self.entries.extend(open.into_iter().map(still));
        }
        self.entries.sort_by_key(|entry| entry.since);
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use meshbed_events::DifferenceKind;

    use super::*;

    fn difference(message: &str) -> MapDifference {
        MapDifference {
            kind: DifferenceKind::StaleBackend,
            service: None,
            frontend: String::new(),
            backend: None,
            cluster: None,
            message: message.to_owned(),
        }
    }

    #[test]
    fn what_is_open_when_the_record_stops_lasts_to_its_end() {
        let mut fold = Fold::default();
        fold.wrong(Micros(10), "alpha", "alpha-1", &[difference("a"), difference("b")]);
        fold.wrong(Micros(20), "alpha", "alpha-1", &[difference("b")]);
        fold.wrong(Micros(15), "beta", "beta-1", &[difference("c")]);
        fold.right("beta", "beta-1");
        let entries = fold.into_entries(Micros(100));
        let told: Vec<_> =
            entries.iter().map(|entry| (entry.difference.message.as_str(), entry.since.0, entry.until)).collect();
        assert_eq!(told, [("b", 10, None)]);
        assert_eq!(entries[0].age, Duration::from_micros(90));
    }

    #[test]
    fn an_age_that_was_told_is_not_told_twice() {
        let mut fold = Fold::default();
        let node = Node { cluster: "alpha".into(), name: "alpha-1".into() };
        fold.wrong(Micros(10), "alpha", "alpha-1", &[difference("a")]);
        fold.aged(StaleEntry::new(node, difference("a"), Micros(12), None, Micros(50)));
        let entries = fold.into_entries(Micros(50));
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].age, Duration::from_micros(38));
    }
}
