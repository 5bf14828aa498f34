//! All objects of one kind, and the changes that led to them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::broadcast;

use super::{Change, Name, Object};

/// The changes since a revision are no longer all known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub(crate) struct HistoryLost {
    /// The revision that the watcher knows.
    pub(crate) asked: u64,
    /// The oldest revision that can be continued from.
    pub(crate) oldest: u64,
}

/// Changes that are past, and a receiver of those to come, with nothing between them.
pub(crate) type Continuation = (Vec<Arc<Change>>, broadcast::Receiver<Arc<Change>>);

/// All objects of one kind.
#[derive(Debug)]
pub(crate) struct Collection {
    objects: BTreeMap<Name, Arc<Object>>,
    history: VecDeque<Arc<Change>>,
    history_limit: usize,
    /// The newest revision whose change was forgotten: continuing from it, or from later, loses nothing.
    forgotten: u64,
    live: broadcast::Sender<Arc<Change>>,
}

impl Collection {
    /// An empty one that remembers `history_limit` changes and lets each watcher lag `backlog` of them behind.
    pub(crate) fn new(history_limit: usize, backlog: usize) -> Self {
        let (live, _) = broadcast::channel(backlog.max(1));
        Self { objects: BTreeMap::new(), history: VecDeque::new(), history_limit, forgotten: 0, live }
    }

    /// One object.
    pub(crate) fn get(&self, name: &Name) -> Option<&Arc<Object>> {
        self.objects.get(name)
    }

    /// All objects by namespace and name; of one namespace if one is named; those after `after` only, if given.
    pub(crate) fn iter<'c>(
        &'c self,
        namespace: Option<&'c str>,
        after: Option<Name>,
    ) -> impl Iterator<Item = (&'c Name, &'c Arc<Object>)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = match (after, namespace) {
            (Some(after), _) => Excluded(after),
            (None, Some(namespace)) => Included(Name::new(namespace, "")),
            (None, None) => Unbounded,
        };
        self.objects
            .range((from, Unbounded))
            .take_while(move |(name, _)| namespace.is_none_or(|namespace| namespace == name.namespace))
    }

    /// Takes in an object that was there before this process, whose history is not known.
    pub(super) fn restore(&mut self, name: Name, object: Arc<Object>) {
        self.objects.insert(name, object);
    }

    /// Forgets everything up to a revision: whoever knows only that must list again.
    pub(super) fn forget(&mut self, revision: u64) {
        self.history.clear();
        self.forgotten = revision;
    }

    /// Applies a change and tells whoever listens.
    pub(crate) fn commit(&mut self, name: Name, change: Arc<Change>) {
        if change.deleted {
            self.objects.remove(&name);
        } else {
            self.objects.insert(name, Arc::clone(&change.object));
        }
        if self.history.len() >= self.history_limit
            && let Some(oldest) = self.history.pop_front()
        {
            self.forgotten = oldest.revision;
        }
        self.history.push_back(Arc::clone(&change));
        if self.live.receiver_count() > 0 {
            // It fails only when the last receiver leaves at this very moment, and then nobody misses it.
            drop(self.live.send(change));
        }
    }

    /// The changes after `revision`, and a receiver of those to come.
    pub(crate) fn since(&self, revision: u64) -> Result<Continuation, HistoryLost> {
        self.check(revision)?;
        let start = self.history.partition_point(|change| change.revision <= revision);
        Ok((self.history.range(start..).cloned().collect(), self.live.subscribe()))
    }

    /// Whether the changes since `revision` are all known.
    pub(crate) fn check(&self, revision: u64) -> Result<(), HistoryLost> {
        match revision < self.forgotten {
            true => Err(HistoryLost { asked: revision, oldest: self.forgotten }),
            false => Ok(()),
        }
    }

    /// A receiver of the changes to come.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Change>> {
        self.live.subscribe()
    }
}
