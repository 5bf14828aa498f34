//! What our cluster's keys should be, what they are, and which request comes next. No I/O.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mesh_planted::{Defect, planted};
use mesh_wire::{Layout, Resource};

/// A value in the etcd and the lease that it hangs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// The value.
    pub(crate) value: Vec<u8>,
    /// The lease, 0 for none (which is nobody's doing here).
    pub(crate) lease: i64,
}

/// One request to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The key.
    pub(crate) key: String,
    /// The value to put; `None` deletes.
    pub(crate) value: Option<Vec<u8>>,
}

/// The keys of our cluster.
///
/// At most one request for a key is under way at any time, so that requests for one key cannot overtake each other;
/// changes that arrive meanwhile leave only the last one to be made.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    desired: BTreeMap<String, Vec<u8>>,
    written: BTreeMap<String, Written>,
    waiting: VecDeque<String>,
    /// The keys in `waiting`.
    queued: BTreeSet<String>,
    under_way: BTreeSet<String>,
}

impl Keys {
    /// Wants `key` to have `value`.
    pub(crate) fn put(&mut self, key: String, value: Vec<u8>) {
        self.desired.insert(key.clone(), value);
        self.queue(key);
    }

    /// Wants `key` to be gone.
    pub(crate) fn delete(&mut self, key: String) {
        self.desired.remove(&key);
        self.queue(key);
    }

    /// Has no wish for `key` any more and leaves it as it is.
    pub(crate) fn release(&mut self, key: &str) {
        self.desired.remove(key);
        self.written.remove(key);
    }

    /// No longer trusts that `key` is as written: somebody else changed it.
    pub(crate) fn distrust(&mut self, key: &str) {
        self.written.remove(key);
        if self.desired.contains_key(key) {
            self.queue(key.to_owned());
        }
    }

    /// Begins a session with an etcd that holds `actual`: everything wanted that is not there with one of `leases`
    /// is put. Requests of the session before are forgotten: `actual` tells what became of them.
    pub(crate) fn adopt(&mut self, actual: BTreeMap<String, Written>, leases: &BTreeSet<i64>) {
        let before = std::mem::replace(&mut self.written, actual);
        self.written.retain(|_, written| leases.contains(&written.lease));
        if planted(Defect::KeysNotRewritten) {
            let services = format!("{}/{}/", Layout::State.base(), Resource::Services.path());
            self.written.extend(before.into_iter().filter(|(key, _)| key.starts_with(&services)));
        }
        self.waiting.clear();
        self.queued.clear();
        self.under_way.clear();
        let wanted: Vec<String> = self.desired.keys().cloned().collect();
        for key in wanted {
            self.queue(key);
        }
    }

    /// Notes that the kvstore holds `key`; as in [`Self::adopt`], it counts only with one of `leases`. What was written on
    /// this connection is known better.
    pub(crate) fn found(&mut self, key: String, written: Written, leases: &BTreeSet<i64>) {
        if leases.contains(&written.lease) && !self.under_way.contains(&key) {
            self.written.entry(key.clone()).or_insert(written);
            self.queue(key);
        }
    }

    /// Wants every key of `found` to be gone that has no wanted value.
    pub(crate) fn prune<'a>(&mut self, found: impl IntoIterator<Item = &'a String>) -> usize {
        if planted(Defect::ExporterNeverDeletes) {
            return 0;
        }
        let stale: Vec<String> = found.into_iter().filter(|key| !self.desired.contains_key(*key)).cloned().collect();
        for key in &stale {
            // A placeholder: what it holds does not matter, only that it is there.
            self.written.entry(key.clone()).or_insert(Written { value: Vec::new(), lease: 0 });
            self.queue(key.clone());
        }
        stale.len()
    }

    /// The next request, now under way; `None` when nothing can be started.
    pub(crate) fn next(&mut self) -> Option<Request> {
        // Keys with a request under way are queued again when that ends.
        while let Some(key) = self.waiting.pop_front() {
            self.queued.remove(&key);
            if self.under_way.contains(&key) || self.is_right(&key) {
                continue;
            }
            self.under_way.insert(key.clone());
            let value = self.desired.get(&key).cloned();
            return Some(Request { key, value });
        }
        None
    }

    /// Notes that a request succeeded.
    pub(crate) fn done(&mut self, key: String, written: Option<Written>) {
        self.under_way.remove(&key);
        match written {
            Some(written) => self.written.insert(key.clone(), written),
            None => self.written.remove(&key),
        };
        self.queue(key);
    }

    /// Whether everything wanted under `prefix` is written.
    pub(crate) fn is_idle(&self, prefix: &str) -> bool {
        let first =
            |keys: &BTreeSet<String>| keys.range(prefix.to_owned()..).next().is_some_and(|key| key.starts_with(prefix));
        !first(&self.queued) && !first(&self.under_way)
    }

    /// Keys under `prefix` that are wanted.
    pub(crate) fn wanted(&self, prefix: &str) -> Vec<String> {
        let range = self.desired.range(prefix.to_owned()..);
        range.take_while(|(key, _)| key.starts_with(prefix)).map(|(key, _)| key.clone()).collect()
    }

    /// The value that `key` shall have.
    pub(crate) fn desired(&self, key: &str) -> Option<&[u8]> {
        self.desired.get(key).map(Vec::as_slice)
    }

    fn queue(&mut self, key: String) {
        if !self.is_right(&key) && !self.under_way.contains(&key) && self.queued.insert(key.clone()) {
            self.waiting.push_back(key);
        }
    }

    fn is_right(&self, key: &str) -> bool {
        match (self.desired.get(key), self.written.get(key)) {
            (None, None) => true,
            (Some(desired), Some(written)) => *desired == written.value,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &str, lease: i64) -> Written {
        Written { value: value.into(), lease }
    }

    fn request(key: &str, value: Option<&str>) -> Option<Request> {
        Some(Request { key: key.into(), value: value.map(Into::into) })
    }

    #[test]
    fn changes_come_in_order_and_one_key_at_a_time() {
        let mut keys = Keys::default();
        keys.put("a".into(), "1".into());
        keys.put("b".into(), "1".into());
        assert_eq!(keys.next(), request("a", Some("1")));
        keys.put("a".into(), "2".into());
        keys.put("a".into(), "3".into());
        assert_eq!(keys.next(), request("b", Some("1")), "`a` waits for its first request");
        assert_eq!(keys.next(), None);
        keys.done("a".into(), Some(written("1", 7)));
        assert_eq!(keys.next(), request("a", Some("3")), "the value between is skipped");
        keys.delete("a".into());
        keys.done("a".into(), Some(written("3", 7)));
        assert_eq!(keys.next(), request("a", None), "deleted after the put, never before");
        keys.done("a".into(), None);
        keys.done("b".into(), Some(written("1", 7)));
        assert!(keys.is_idle(""));
    }

    #[test]
    fn what_is_there_already_is_not_written_again() {
        let mut keys = Keys::default();
        keys.put("a".into(), "1".into());
        keys.put("b".into(), "1".into());
        keys.put("c".into(), "1".into());
        let actual = [("a", written("1", 7)), ("b", written("1", 6)), ("c", written("0", 7))];
        let actual = actual.map(|(key, written)| (key.to_owned(), written)).into();
        keys.adopt(actual, &[7].into());
        assert_eq!(keys.next(), request("b", Some("1")), "its lease is not ours any more");
        assert_eq!(keys.next(), request("c", Some("1")), "other value");
        assert_eq!(keys.next(), None);
    }

    #[test]
    fn pruning_deletes_what_nobody_wants() {
        let mut keys = Keys::default();
        keys.put("a".into(), "1".into());
        let found = ["a".to_owned(), "b".to_owned()];
        assert_eq!(keys.prune(&found), 1);
        assert_eq!(keys.next(), request("a", Some("1")));
        assert_eq!(keys.next(), request("b", None));
    }

    #[test]
    fn a_distrusted_key_is_written_again() {
        let mut keys = Keys::default();
        keys.put("a".into(), "1".into());
        keys.next();
        keys.done("a".into(), Some(written("1", 7)));
        assert!(keys.is_idle(""));
        keys.distrust("a");
        assert_eq!(keys.next(), request("a", Some("1")));
    }
}
