//! The whole cluster at its newest revision.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Change, Collection, Entropy, Key, Name, Object};
use crate::json;
use crate::kinds::Kind;
use crate::network::Network;
use crate::options::Limits;

/// Who makes a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// A client of the API.
    Client,
    /// One of the controllers of this process.
    Controller,
}

/// The whole cluster.
#[derive(Debug)]
pub(crate) struct State {
    revision: u64,
    collections: Vec<Collection>,
    /// Objects by the UID of an owner.
    dependents: BTreeMap<String, BTreeSet<Key>>,
    /// Changes that the controllers have not seen.
    unseen: VecDeque<Arc<Change>>,
    /// Events in the order of their creation.
    events: VecDeque<Key>,
    /// Who makes the changes at the moment.
    pub(crate) actor: Actor,
    /// Names and UIDs.
    pub(crate) entropy: Entropy,
    /// Addresses and ports to hand out.
    pub(crate) network: Network,
}

impl State {
    /// An empty cluster.
    pub(crate) fn new(limits: Limits, entropy: Entropy, network: Network) -> Self {
        let collection = |_: &Kind| Collection::new(limits.watch_history, limits.watch_backlog);
        Self {
            revision: 1,
            collections: Kind::ALL.iter().map(collection).collect(),
            dependents: BTreeMap::new(),
            unseen: VecDeque::new(),
            events: VecDeque::new(),
            actor: Actor::Client,
            entropy,
            network,
        }
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// All objects of a kind.
    pub(crate) fn collection(&self, kind: Kind) -> &Collection {
        &self.collections[kind as usize]
    }

    /// One object.
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.collection(key.kind).get(&key.name)
    }

    /// All objects of a kind, of one namespace if one is named.
    pub(crate) fn list<'s>(
        &'s self,
        kind: Kind,
        namespace: Option<&'s str>,
    ) -> impl Iterator<Item = &'s Arc<Object>> + use<'s> {
        self.collection(kind).iter(namespace, None).map(|(_, object)| object)
    }

    /// The objects of a kind that name `uid` as an owner.
    pub(crate) fn owned(&self, kind: Kind, uid: &str) -> Vec<Arc<Object>> {
        let keys = self.dependents.get(uid).into_iter().flatten().filter(|key| key.kind == kind);
        keys.filter_map(|key| self.get(key)).cloned().collect()
    }

    /// Every object that names `uid` as an owner.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<Key> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Stores an object as it is, but for its new `metadata.resourceVersion`.
    pub(crate) fn put(&mut self, kind: Kind, mut value: Value) -> Arc<Object> {
        self.revision += 1;
        json::child(&mut value, "metadata")["resourceVersion"] = Value::String(self.revision.to_string());
        let object = Arc::new(Object::new(value));
        let name = Name::new(object.namespace(), object.name());
        let previous = self.collection(kind).get(&name).cloned();
        self.index(kind, &name, previous.as_deref(), Some(&object));
        self.commit(kind, name, previous, Arc::clone(&object), false);
        object
    }

    /// Removes an object; returns its last state, under the revision of the removal.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Object>> {
        let previous = Arc::clone(self.get(key)?);
        self.revision += 1;
        let mut value = previous.value().clone();
        json::child(&mut value, "metadata")["resourceVersion"] = Value::String(self.revision.to_string());
        let object = Arc::new(Object::new(value));
        self.index(key.kind, &key.name, Some(&previous), None);
        self.commit(key.kind, key.name.clone(), Some(previous), Arc::clone(&object), true);
        Some(object)
    }

    /// Counts an event that was created, and removes the oldest one when there are more than `limit`.
    pub(crate) fn remember_event(&mut self, key: Key, limit: usize) {
        self.events.push_back(key);
        if self.events.len() > limit
            && let Some(oldest) = self.events.pop_front()
        {
            self.remove(&oldest);
        }
    }

    /// The oldest change that the controllers have not seen.
    pub(crate) fn next_unseen(&mut self) -> Option<Arc<Change>> {
        self.unseen.pop_front()
    }

    /// Completes the metadata of a new object: UID, creation time, first generation.
    pub(crate) fn stamp(&mut self, value: &mut Value) {
        let uid = self.entropy.uid();
        let metadata = json::child(value, "metadata");
        metadata["uid"] = Value::String(uid);
        metadata["creationTimestamp"] = json!(timestamp(Timestamp::now()));
    }

    fn commit(&mut self, kind: Kind, name: Name, previous: Option<Arc<Object>>, object: Arc<Object>, deleted: bool) {
        let change = Arc::new(Change::new((self.revision, kind, self.actor), previous, object, deleted));
        self.collections[kind as usize].commit(name, Arc::clone(&change));
        self.unseen.push_back(change);
    }

    fn index(&mut self, kind: Kind, name: &Name, previous: Option<&Object>, next: Option<&Object>) {
        let owners = |object: &Object| -> BTreeSet<String> {
            let owners = json::list(object.value(), "/metadata/ownerReferences");
            owners.iter().map(|owner| json::text(owner, "/uid").to_owned()).collect()
        };
        let before = previous.map(owners).unwrap_or_default();
        let after = next.map(owners).unwrap_or_default();
        if before == after {
            return;
        }
        let key = Key { kind, name: name.clone() };
        for uid in &before {
            if let Some(keys) = self.dependents.get_mut(uid) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.dependents.remove(uid);
                }
            }
        }
        for uid in after {
            self.dependents.entry(uid).or_default().insert(key.clone());
        }
    }
}

/// A time as the API writes it: RFC 3339, UTC, whole seconds.
pub(crate) fn timestamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
